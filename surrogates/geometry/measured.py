"""All cheap numbers of a surrogate's geometry at once, by name, to store beside its success rates."""

from collections.abc import Sequence

from carom.draws import stream
from carom.errors import InputError
from carom.zoo.models.classifier import Classifier, weights
from carom.zoo.tasks.images import ImageSet
from carom.zoo.training.ground import Ground
from carom.zoo.training.state import Passes

from .hessian import BATCH, hessian_trace, top_eigenvalues
from .paths import loss_along_rays, weight_spectrum
from .similarity import input_curvature, similarity

RAY_POINTS = 4
COMPONENTS = 3


def measured(
    classifiers: Sequence[Classifier],
    images: ImageSet,
    *,
    seed: int,
    victims: Sequence[Classifier] = (),
    ground: Ground | None = None,
    members: int = 3,
    draws: int = 30,
    rays: int = 5,
    batch: int = BATCH,
) -> dict[str, float]:
    """Flatness, smoothness, diversity and similarity of a surrogate's members.

    What is of one network (Hessian, rays, input curvature) is the mean over a few members, spread evenly with the last
    among them, as the first one that a trajectory collects is not like the rest; gradients, losses
    and principal components are of all. A name that asks for more than there is, such as the alignment of one member,
    is left out. Names:

    - `loss`, `accuracy`: on the images, mean over members.
    - `hessian_top`: eigenvalue of largest magnitude; `hessian_top_converged`: share of members for which it is found.
    - `hessian_trace`, `hessian_trace_se`: with the standard error of the drawn vectors.
    - `ray_norm`; `ray_loss_25`, `ray_loss_50`, `ray_loss_75`, `ray_loss_100`: length of the rays, and mean loss over
      rays at these percentages of it.
    - `gradient_norm`, `zero_gradients`, `input_curvature`: in the image.
    - `alignment`, `loss_variance`: from two members on. `victim_alignment`: with victims.
    - `weight_pca_1` to `weight_pca_3`: shares of variance; `weight_dimension`: effective number of directions. From
      two members of one architecture on.
    - `members`, `measured_members`, `images`; `forward`, `backward`: image passes that all of this took.

    Args:
        classifiers: In eval mode, as they were trained: folded into its convolution, as crafting does, batch norm is no
            parameter any more, and the Hessian another.
        images: Training images, not augmented; a few hundred.
        seed: Of all draws.
        victims: To compare gradients with.
        ground: For batch norm's statistics along the rays; None keeps each member's own.
        members: How many the Hessian, the rays and the input curvature are taken of.
        draws: Vectors of the trace.
        rays: Directions.
        batch: Images at a time.

    Raises:
        InputError: No classifier, no images, images of another shape, training mode, or a number out of range.
        ModelError: A loss is not finite.
    """
    if members < 1:
        raise InputError(f"measured: members={members}; expected at least 1")
    shared = similarity(classifiers, images, victims=victims, batch=batch)
    found = {
        "loss": shared.loss,
        "accuracy": shared.accuracy,
        "gradient_norm": shared.gradient_norm,
        "zero_gradients": shared.zero_gradients,
        "members": float(len(classifiers)),
        "images": float(len(images)),
    }
    found |= {
        name: value
        for name, value in (
            ("alignment", shared.alignment),
            ("loss_variance", shared.loss_variance),
            ("victim_alignment", shared.victim_alignment),
        )
        if value is not None
    }
    passes = [shared.passes]
    single: list[dict[str, float]] = []
    variance = 0.0
    few = min(members, len(classifiers))
    for i in range(few):
        classifier = classifiers[(i + 1) * len(classifiers) // few - 1]
        top = top_eigenvalues(classifier, images, seed=seed, batch=batch)
        # draws of its own for each member, so that standard errors add in quadrature
        trace = hessian_trace(classifier, images, seed=stream(seed, "member", i), draws=draws, batch=batch)
        path = loss_along_rays(classifier, images, seed=seed, rays=rays, points=RAY_POINTS, ground=ground, batch=batch)
        curvature, cost = input_curvature(classifier, images, seed=seed, batch=batch)
        passes += [top.passes, trace.passes, path.passes, cost]
        variance += trace.standard_error**2
        single.append(
            {
                "hessian_top": top.top,
                "hessian_top_converged": float(top.converged),
                "hessian_trace": trace.value,
                "ray_norm": float(path.places[-1]),
                **{
                    f"ray_loss_{100 * point // RAY_POINTS}": float(loss)
                    for point, loss in enumerate(path.losses.mean(0).tolist(), start=1)
                },
                "input_curvature": curvature,
            }
        )
    count = len(single)
    found |= {name: sum(one[name] for one in single) / count for name in single[0]}
    found |= {"hessian_trace_se": variance**0.5 / count, "measured_members": float(count)}
    found |= _spectrum(classifiers)
    return found | _total(passes)


def _spectrum(classifiers: Sequence[Classifier]) -> dict[str, float]:
    first = classifiers[0]
    names = [name for name, _ in first.network.named_parameters()]
    if len(classifiers) < 2 or any(c.architecture != first.architecture for c in classifiers):
        return {}
    spectrum = weight_spectrum([weights(c) for c in classifiers], names)
    shares = {f"weight_pca_{i + 1}": share for i, share in enumerate(spectrum.shares[:COMPONENTS])}
    return {**shares, "weight_dimension": spectrum.dimension}


def _total(passes: Sequence[Passes]) -> dict[str, float]:
    return {
        "forward": float(sum(p.forward for p in passes)),
        "backward": float(sum(p.backward for p in passes)),
    }
