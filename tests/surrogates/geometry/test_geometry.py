"""Geometry of surrogates: against dense Hessians, hand-made cases and exact identities."""

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.surrogates.conftest import ground, images, plain
from torch import Tensor
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from carom.errors import InputError, ModelError
from carom.surrogates.builder import Chain, build
from carom.surrogates.flatness.sam import SAM
from carom.surrogates.geometry import (
    hessian_trace,
    input_curvature,
    loss_along_rays,
    loss_between,
    measured,
    similarity,
    top_eigenvalues,
    weight_spectrum,
)
from carom.surrogates.networks.single import Single
from carom.surrogates.stack import vector
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import Classifier, create, weights
from carom.zoo.tasks.images import ImageSet


def network(name: str = "mlp", seed: int = 0, **fields: Any) -> Classifier:
    """Untrained, in eval mode, frozen as for crafting; statistics of batch norm are not those of a fresh network."""
    fields = fields or {"width": 4, "depth": 1}
    classifier = create(architecture({"name": name, **fields}), shape=(1, 8, 8), classes=3, seed=seed)
    if any(isinstance(m, torch.nn.BatchNorm2d) for m in classifier.modules()):
        with torch.no_grad():
            classifier.train()(images(32, seed=3).pixels)
    return classifier.eval().requires_grad_(False)


def dense_hessian(classifier: Classifier, data: ImageSet) -> Tensor:
    """Of the mean cross-entropy, in float64."""
    double = create(classifier.architecture, shape=(1, 8, 8), classes=3)
    double.load_state_dict(classifier.state_dict())
    double = double.double().eval()
    names = [name for name, _ in double.named_parameters()]
    given = {name: p.detach() for name, p in double.named_parameters()}

    def loss(flat: Tensor) -> Tensor:
        parts = torch.split(flat, [given[n].numel() for n in names])
        tensors = {n: part.reshape(given[n].shape) for n, part in zip(names, parts, strict=True)}
        return cross_entropy(functional_call(double, tensors, (data.pixels.double(),)), data.labels)

    flat = torch.cat([given[n].flatten() for n in names])
    hessian: Tensor = torch.autograd.functional.hessian(loss, flat)  # type: ignore[no-untyped-call]
    return hessian


SMALL = {
    "mlp": {"width": 4, "depth": 1},
    "resnet-small": {"width": 2, "stages": 1},
    "vit-small": {"width": 4, "depth": 1, "heads": 1},
}


@pytest.mark.thorough
@pytest.mark.parametrize("name", list(SMALL))
@pytest.mark.parametrize("batch", [256, 7], ids=["held", "in pieces"])
def test_hessian_is_the_dense_one(name: str, batch: int) -> None:
    """Top eigenvalues by size and by value, and the trace within its standard error, with batch norm and attention."""
    data = images(20)
    classifier = network(name, **SMALL[name])
    hessian = dense_hessian(classifier, data)
    values = torch.linalg.eigvalsh(hessian)
    by_size = values[values.abs().argsort(descending=True)]
    found = top_eigenvalues(classifier, data, seed=0, count=2, tolerance=1e-4, batch=batch)
    assert found.converged
    assert list(found.values) == pytest.approx(by_size[:2].tolist(), rel=1e-3)
    largest = top_eigenvalues(classifier, data, seed=0, which="algebraic", tolerance=1e-4, batch=batch)
    assert largest.top == pytest.approx(float(values[-1]), rel=1e-3)
    trace = hessian_trace(classifier, data, seed=0, draws=40, batch=batch)
    assert abs(trace.value - float(hessian.trace())) < 4 * trace.standard_error
    # with random signs, only what is off the diagonal varies
    expected = math.sqrt(2 * float((hessian - hessian.diag().diag()).square().sum()) / 40)
    assert trace.standard_error == pytest.approx(expected, rel=0.5)


def sure_and_wrong(name: str, seed: int, bias: float) -> tuple[Classifier, ImageSet]:
    """A network that is sure of class 0, and images of class 1: its loss is not convex around it."""
    classifier = network(name, seed=seed, **SMALL[name])
    last = [m for m in classifier.modules() if isinstance(m, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(3)
        last.bias.add_(torch.tensor([bias, 0.0, 0.0]))
    data = images(12)
    return classifier, ImageSet(data.images, torch.ones(12, dtype=torch.int64), data.ids)


def test_magnitude_keeps_the_sign_and_algebraic_leaves_it() -> None:
    """Where the most curved direction curves down, the two differ."""
    classifier, data = sure_and_wrong("vit-small", seed=1, bias=2.0)
    values = torch.linalg.eigvalsh(dense_hessian(classifier, data))
    assert -values[0] > 1.5 * values[-1] > 0
    assert top_eigenvalues(classifier, data, seed=0, tolerance=1e-4).top == pytest.approx(float(values[0]), rel=1e-3)
    largest = top_eigenvalues(classifier, data, seed=0, which="algebraic", tolerance=1e-4)
    assert largest.top == pytest.approx(float(values[-1]), rel=1e-3)


def test_opposite_eigenvalues_of_one_size_are_told_apart() -> None:
    """Nearly +-3.18: a power iteration stays between them."""
    classifier, data = sure_and_wrong("mlp", seed=0, bias=8.0)
    values = torch.linalg.eigvalsh(dense_hessian(classifier, data))
    assert -values[0] / values[-1] == pytest.approx(1, rel=0.01)
    found = top_eigenvalues(classifier, data, seed=0, count=2)
    assert found.converged
    assert sorted(found.values) == pytest.approx([float(values[0]), float(values[-1])], rel=1e-2)


def test_passes_of_hessians_are_exact() -> None:
    """A product costs two of each where the graph cannot be kept, and one of each after the first where it can."""
    data, classifier = images(20), network()
    held = top_eigenvalues(classifier, data, seed=0)
    assert held.passes.forward == held.passes.backward == 20 * (1 + held.iterations)
    pieces = top_eigenvalues(classifier, data, seed=0, batch=8)
    assert pieces.passes.forward == pieces.passes.backward == 20 * 2 * pieces.iterations
    assert hessian_trace(classifier, data, seed=0, draws=5).passes.forward == 20 * 6


def test_few_iterations_are_reported_as_not_converged() -> None:
    found = top_eigenvalues(network(), images(20), seed=0, iterations=2, tolerance=1e-6)
    assert not found.converged
    assert found.iterations == 2


def test_a_whole_space_is_searched_at_most_once() -> None:
    """A network of a handful of parameters: the search ends where there is no further direction."""
    classifier = create(architecture({"name": "mlp", "width": 1, "depth": 1}), shape=(1, 2, 2), classes=2).eval()
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (6, 1, 2, 2), generator=generator).to(torch.uint8)
    found = top_eigenvalues(classifier, ImageSet(pixels, torch.arange(6) % 2, torch.arange(6)), seed=0, tolerance=1e-12)
    assert found.converged
    assert found.iterations <= sum(p.numel() for p in classifier.parameters())


def test_measuring_leaves_the_network_as_it_is() -> None:
    classifier = network("resnet-small", width=2)
    before, state = weights(classifier), torch.random.get_rng_state()
    measured([classifier, network("resnet-small", seed=1, width=2)], images(20), seed=0, draws=2, rays=1)
    assert all(torch.equal(before[n], t) for n, t in weights(classifier).items())
    assert not any(p.requires_grad or p.grad is not None for p in classifier.parameters())
    assert torch.equal(state, torch.random.get_rng_state())


def test_rays_start_at_the_loss_and_have_their_length() -> None:
    data, classifier = images(20), network()
    with torch.no_grad():
        loss = float(cross_entropy(classifier(data.pixels), data.labels))
    tiny = loss_along_rays(classifier, data, seed=0, rays=2, points=3, longest=1e-4)
    assert torch.allclose(tiny.losses, torch.full((2, 3), loss), atol=1e-3)
    size = sum(p.numel() for p in classifier.parameters())
    path = loss_along_rays(classifier, data, seed=0, rays=3, points=4)
    assert path.places.tolist() == pytest.approx([0.02 * math.sqrt(size) * i / 4 for i in (1, 2, 3, 4)])
    assert path.passes.forward == 3 * 4 * 20
    assert path.passes.backward == 0
    assert not torch.allclose(path.losses[0], path.losses[1])


def test_rays_bend_as_the_hessian_says() -> None:
    """To second order the mean loss on a sphere rises by r^2 trace / 2d: the two estimates meet."""
    data, classifier = images(20), network("mlp", width=2, depth=1)
    size = sum(p.numel() for p in classifier.parameters())
    with torch.no_grad():
        loss = float(cross_entropy(classifier(data.pixels), data.labels))
    trace = float(dense_hessian(classifier, data).trace())
    path = loss_along_rays(classifier, data, seed=0, rays=1500, points=1, longest=0.3)
    rise = path.losses.double() - loss
    error = float(rise.std()) / math.sqrt(1500)
    assert abs(float(rise.mean()) - 0.09 * trace / (2 * size)) < 4 * error


def test_batch_norm_is_fitted_where_asked() -> None:
    """A network of other statistics along the way costs the images that they come from."""
    where = ground("resnet-small")
    classifier = where.classifier(weights(create(where.architecture, shape=(1, 8, 8), classes=3)))
    data = images(20)
    own = loss_along_rays(classifier, data, seed=0, rays=1, points=2)
    fitted = loss_along_rays(classifier, data, seed=0, rays=1, points=2, ground=where)
    assert fitted.passes.forward == own.passes.forward + 2 * 32
    assert not torch.allclose(own.losses, fitted.losses)


def test_interpolation_meets_both_networks() -> None:
    where = ground("resnet-small")
    ends = [
        where.classifier(weights(create(where.architecture, shape=(1, 8, 8), classes=3, seed=seed))) for seed in (0, 1)
    ]
    for i, end in enumerate(ends):  # different statistics, which belong to the ends
        with torch.no_grad():
            end.train()(images(32, seed=i).pixels)
        end.eval()
    data = images(20)
    path = loss_between(ends[0], ends[1], data, shares=[0.0, 0.5, 1.0], ground=where)
    for place, end in ((0, ends[0]), (2, ends[1])):
        with torch.no_grad():
            logits = end(data.pixels)
        assert float(path.losses[0, place]) == pytest.approx(float(cross_entropy(logits, data.labels)), rel=1e-5)
        assert float(path.accuracies[0, place]) == float((logits.argmax(1) == data.labels).float().mean())
    assert path.passes.forward == 3 * 20 + 32
    default = loss_between(ends[0], ends[1], data)
    assert [len(default.places), float(default.places[0]), float(default.places[-1])] == [40, -1.0, 2.0]


def test_spectrum_of_made_up_weights() -> None:
    """Two directions of variance 9 and 1; equal sets span nothing."""
    base = {"w": torch.randn(6, generator=torch.Generator().manual_seed(0)), "buffer": torch.zeros(1)}
    moves = [(3.0, 0), (-3.0, 0), (1.0, 1), (-1.0, 1)]
    members = [{**base, "w": base["w"] + by * torch.eye(6)[axis]} for by, axis in moves]
    found = weight_spectrum(members, ["w"])
    assert found.shares == pytest.approx((0.9, 0.1, 0.0), abs=1e-6)
    assert found.dimension == pytest.approx(1 / (0.81 + 0.01), rel=1e-5)
    same = weight_spectrum([base, base, base], ["w"])
    assert same.shares == (0.0, 0.0)
    assert same.dimension == 0.0
    with pytest.raises(InputError, match="at least two"):
        weight_spectrum([base], ["w"])


def test_spectrum_is_that_of_numpy() -> None:
    members = [weights(network(seed=seed)) for seed in range(4)]
    names = [name for name, _ in network().network.named_parameters()]
    rows = torch.stack([vector(m, names) for m in members]).double()
    variances = torch.linalg.svdvals(rows - rows.mean(0)) ** 2
    assert weight_spectrum(members, names).shares == pytest.approx((variances / variances.sum())[:3].tolist(), rel=1e-5)


def reference_gradients(classifiers: list[Classifier], data: ImageSet) -> Tensor:
    """`members images pixels`, one image and one network at a time."""
    rows = []
    for classifier in classifiers:
        for i in range(len(data)):
            x = data.pixels[i : i + 1].requires_grad_()
            cross_entropy(classifier(x), data.labels[i : i + 1]).backward()  # type: ignore[no-untyped-call]
            assert x.grad is not None
            rows.append(x.grad.flatten())
    return torch.stack(rows).reshape(len(classifiers), len(data), -1)


def test_similarity_is_that_of_single_gradients() -> None:
    """Pair by pair and image by image, with a victim, in pieces."""
    data = images(10)
    members = [network(seed=s) for s in range(3)]
    victim = network("lenet", seed=7, width=2, hidden=4)
    found = similarity(members, data, victims=[victim], batch=4)
    gradients = reference_gradients([*members, victim], data)
    cosine = torch.nn.functional.cosine_similarity
    pairs = [cosine(gradients[a], gradients[b], dim=1).mean() for a, b in ((0, 1), (0, 2), (1, 2))]
    assert found.alignment == pytest.approx(float(torch.stack(pairs).mean()), rel=1e-4)
    toward = cosine(gradients[:3].mean(0), gradients[3], dim=1).mean()
    assert found.victim_alignment == pytest.approx(float(toward), rel=1e-4, abs=1e-6)
    assert found.gradient_norm == pytest.approx(float(gradients[:3].norm(dim=2).mean()), rel=1e-4)
    with torch.no_grad():
        losses = torch.stack([cross_entropy(m(data.pixels), data.labels, reduction="none") for m in members])
    assert found.loss_variance == pytest.approx(float(losses.var(0).mean()), rel=1e-4)
    assert found.loss == pytest.approx(float(losses.mean()), rel=1e-5)
    assert found.zero_gradients == pytest.approx(float((gradients[:3].norm(dim=2) == 0).float().mean()))
    assert found.passes.forward == found.passes.backward == 4 * 10


def test_a_member_is_aligned_with_itself() -> None:
    one = network()
    found = similarity([one, one], images(10), victims=[one])
    assert found.alignment == pytest.approx(1.0, abs=1e-6)
    assert found.victim_alignment == pytest.approx(1.0, abs=1e-6)
    assert found.loss_variance == 0.0


def test_gradients_that_vanish_have_no_direction() -> None:
    """A network whose last layer is 0 has no gradient in the image, and no cosine that is not a number."""
    flat = network()
    with torch.no_grad():
        flat.network[-1].weight.zero_()  # type: ignore[index]
    found = similarity([flat, network(seed=1)], images(10), victims=[flat])
    assert found.zero_gradients == 0.5
    assert found.alignment == 0.0
    assert found.victim_alignment == 0.0


def test_input_curvature_is_that_of_dense_hessians() -> None:
    data, classifier = images(6), network()
    expected = []
    for i in range(len(data)):
        label = data.labels[i : i + 1]

        def loss(x: Tensor, label: Tensor = label) -> Tensor:
            return cross_entropy(classifier(x), label)

        hessian = torch.autograd.functional.hessian(loss, data.pixels[i : i + 1])  # type: ignore[no-untyped-call]
        expected.append(torch.linalg.eigvalsh(hessian.reshape(64, 64)).abs().max())
    value, passes = input_curvature(classifier, data, seed=0, iterations=60)
    assert value == pytest.approx(float(torch.stack(expected).mean()), rel=1e-2)
    assert passes.forward == passes.backward == 6 * 61


def test_measured_names_what_there_is() -> None:
    """One member has no pairs; several have all; it is JSON, finite, and the same twice."""
    data = images(12)
    several = [network(seed=s) for s in range(4)]
    one = measured(several[:1], data, seed=0, draws=3, rays=1)
    assert not {"alignment", "loss_variance", "victim_alignment", "weight_pca_1", "weight_dimension"} & set(one)
    found = measured(several, data, seed=0, victims=[network(seed=9)], members=2, draws=3, rays=1)
    assert set(found) - set(one) == {
        "alignment",
        "loss_variance",
        "victim_alignment",
        "weight_pca_1",
        "weight_pca_2",
        "weight_pca_3",
        "weight_dimension",
    }
    assert found["measured_members"] == 2
    assert found["hessian_top_converged"] == 1
    tops = [top_eigenvalues(several[i], data, seed=0).top for i in (1, 3)]  # spread, the last among them
    assert found["hessian_top"] == pytest.approx(sum(tops) / 2)
    assert found["ray_norm"] == pytest.approx(0.02 * math.sqrt(sum(p.numel() for p in several[0].parameters())))
    assert {f"ray_loss_{p}" for p in (25, 50, 75, 100)} <= set(found)
    assert all(type(v) is float and math.isfinite(v) for v in found.values())
    assert json.loads(json.dumps(found)) == found
    assert found == measured(several, data, seed=0, victims=[network(seed=9)], members=2, draws=3, rays=1)


def test_measured_over_architectures_has_no_components() -> None:
    found = measured([network(), network("lenet", width=2, hidden=4)], images(12), seed=0, draws=2, rays=1)
    assert "alignment" in found
    assert "weight_pca_1" not in found


@pytest.mark.thorough
def test_sam_ends_where_it_is_flatter() -> None:
    """On top eigenvalue and trace, by a margin: both trainings fit all images."""
    where = ground("lenet", n=120, seed=2, recipe=plain(epochs=20))
    plainly, flat = (
        where.classifier(build(Chain(first=first), where).members[0]) for first in (Single(), SAM(rho=0.05))
    )
    for numbers in zip(*(_flatness(c, where.train) for c in (flat, plainly)), strict=True):
        assert numbers[0] < 0.8 * numbers[1]


def _flatness(classifier: Classifier, data: ImageSet) -> tuple[float, float]:
    with torch.no_grad():
        assert bool((classifier(data.pixels).argmax(1) == data.labels).all())
    return top_eigenvalues(classifier, data, seed=0).top, hessian_trace(classifier, data, seed=0, draws=60).value


def diverged() -> Classifier:
    classifier = network()
    with torch.no_grad():
        classifier.network[-1].bias.fill_(float("nan"))  # type: ignore[index]
    return classifier


BAD: dict[str, tuple[Callable[[], object], str]] = {
    "no images": (lambda: measured([network()], images(12).select(torch.arange(0)), seed=0), "no images"),
    "no member": (lambda: measured([], images(12), seed=0), "no classifier"),
    "members": (lambda: measured([network()], images(12), seed=0, members=0), "members=0"),
    "shape": (lambda: measured([network()], images(12, size=10), seed=0), "task"),
    "training mode": (lambda: top_eigenvalues(network().train(), images(12), seed=0), "training mode"),
    "draws": (lambda: hessian_trace(network(), images(12), seed=0, draws=1), "draws=1"),
    "count": (lambda: top_eigenvalues(network(), images(12), seed=0, count=0), "count=0"),
    "tolerance": (lambda: top_eigenvalues(network(), images(12), seed=0, tolerance=0.0), "tolerance=0"),
    "rays": (lambda: loss_along_rays(network(), images(12), seed=0, rays=0), "rays=0"),
    "longest": (lambda: loss_along_rays(network(), images(12), seed=0, longest=-1.0), "longest=-1"),
    "shares": (lambda: loss_between(network(), network(), images(12), shares=[]), "no shares"),
    "architectures": (
        lambda: loss_between(network(), network("lenet", width=2, hidden=4), images(12)),
        "different architectures",
    ),
    "curvature": (lambda: input_curvature(network(), images(12), seed=0, iterations=0), "iterations=0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_says_what_to_do(case: str) -> None:
    act, message = BAD[case]
    with pytest.raises(InputError, match=message) as caught:
        act()
    assert "\n" not in str(caught.value)


def test_a_network_that_diverged_is_refused() -> None:
    with pytest.raises(ModelError, match="not finite"):
        top_eigenvalues(diverged(), images(12), seed=0)
