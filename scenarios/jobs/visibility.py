"""How far an adversarial set went from the clean images, and how visible it is."""

import torch

from carom.budget import Budget


def visibility(adversarial: torch.Tensor, clean: torch.Tensor, budget: Budget) -> dict[str, float]:
    """How far a set went and how visible it is: means over images of L2, Linf, size / eps, and SSIM.

    Sizes are counted in grey levels, so that no image on the border of the ball is said to be outside.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    a, c = adversarial.float() / 255, clean.float() / 255
    levels = (adversarial.short() - clean.short()).flatten(1)
    linf, l2 = levels.abs().amax(1).double().mean(), levels.long().square().sum(1).double().sqrt().mean()
    size, radius = float(linf if budget.norm == "linf" else l2), float(budget.eps * 255)
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
        "l2": float(l2) / 255,
        "linf": float(linf) / 255,
        "size_over_eps": size / radius if radius > 0 else 0.0,
        "ssim": float(torch.as_tensor(ssim).mean()),
    }
