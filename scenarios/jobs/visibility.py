"""How far an adversarial set went from the clean images, and how visible it is."""

import torch

from carom.budget import Budget


def visibility(adversarial: torch.Tensor, clean: torch.Tensor, budget: Budget) -> dict[str, float]:
    """How far a set went and how visible it is: means over images of L2, Linf, size / eps, and SSIM."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    a, c = adversarial.float() / 255, clean.float() / 255
    delta = (a - c).flatten(1)
    eps = float(budget.eps)
    # the Gaussian window of Wang et al. 2004 is 11 wide; narrower images get the widest plain one that fits
    narrow = min(a.shape[-2:])
    ssim = structural_similarity_index_measure(
        a,
        c,
        data_range=1.0,
        reduction="none",
        gaussian_kernel=narrow >= 11,
        kernel_size=min(11, (narrow - 1) // 2 * 2 + 1),
    )
    return {
        "l2": float(delta.square().sum(1).sqrt().mean()),
        "linf": float(delta.abs().amax(1).mean()),
        "size_over_eps": float(budget.size(a, c).mean()) / eps if eps > 0 else 0.0,
        "ssim": float(torch.as_tensor(ssim).mean()),
    }
