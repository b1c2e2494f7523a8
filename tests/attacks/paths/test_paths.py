"""Model paths: where the gradient flows inside a network, and that nothing else changes."""

import re
from collections.abc import Callable
from pathlib import Path as File
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from carom.attacks import (
    FIA,
    PAS,
    SGM,
    SVRE,
    CrossEntropy,
    Ghost,
    Gradients,
    Iterative,
    LinBP,
    Momentum,
    Path,
    craft_images,
    parse_attack,
)
from carom.attacks.members.mean import Mean
from carom.attacks.paths import knobs
from carom.attacks.paths.anatomy import anatomy
from carom.attacks.paths.pas import known_paths
from carom.attacks.reading.networks import Ready
from carom.attacks.slots import Redrawn
from carom.budget import Budget
from carom.draws import Draws
from carom.errors import InputError, ModelError
from carom.zoo.architectures import architecture
from carom.zoo.models.classifier import create
from carom.zoo.models.prepare import prepare

LINF = Budget.parse("linf", "16/255")
ZOO = ["resnet-small", "resnet-thin", "vgg-small", "lenet", "mixer-small", "vit-small"]
OTHERS = ["timm:resnet18", "timm:convnext_atto", "timm:vit_tiny_patch16_224", "torchvision:resnet18"]
# what lies in each: residual branches, of these first blocks of a stage, calls of activations, of these behind a sum
INSIDES = {
    "resnet-small": (3, 3, 7, 3), "resnet-thin": (9, 3, 19, 9),
    "vgg-small": (0, 0, 4, 0), "lenet": (0, 0, 3, 0), "mixer-small": (6, 0, 6, 0),
    "vit-small": (4, 0, 2, 0), "timm:resnet18": (8, 4, 17, 8), "timm:resnetv2_50": (16, 4, 49, 0),
    "timm:convnext_atto": (12, 0, 12, 0), "timm:vit_tiny_patch16_224": (24, 0, 12, 0),
    "torchvision:resnet18": (8, 4, 17, 8), "torchvision:resnet50": (16, 4, 49, 16),
    "torchvision:densenet121": (58, 0, 120, 0), "torchvision:convnext_tiny": (18, 0, 18, 0),
    "torchvision:mobilenet_v2": (10, 0, 35, 0),
}  # fmt: skip


def redraw(built: nn.Module, seed: int, step: int, copy: int, member: int = 0) -> None:
    """What `Ready.redraw` does with the parts that it knows."""
    for module in built.modules():
        if isinstance(module, Redrawn):
            module.redraw(Draws(seed, torch.zeros(1, dtype=torch.int64)), step, copy, member)


def make(name: str) -> nn.Module:
    """A classifier with weights of its own, also in what an initialisation leaves at one or nearly zero."""
    net = create(architecture(name), shape=(3, 16, 16), classes=5, seed=1, pretrained=False).eval()
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 2, generator=generator)
            module.weight.detach().uniform_(0.5, 1.5, generator=generator)  # timm's branches begin with zeros
    for label, parameter in net.named_parameters():
        if label.endswith("gamma"):  # ConvNeXt begins with branches of a millionth
            parameter.detach().fill_(0.5)
    return net.requires_grad_(False)


def images(n: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(3)).to(dtype)


def read(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of their log-sum-exp."""
    point = x.clone().requires_grad_()
    logits: Tensor = net(point)
    (gradient,) = torch.autograd.grad(logits.logsumexp(1).sum(), point)
    return logits.detach(), gradient


def spread(count: int) -> tuple[float, ...]:
    """Different coefficients, the ends among them."""
    return tuple(round(i / max(1, count - 1), 3) for i in range(count))


def paths(net: nn.Module) -> dict[str, Path]:
    """Every kind that leaves values as they are, where the network has what it changes."""
    found: dict[str, Path] = {"linbp": LinBP(), "linbp-all": LinBP(start=next(iter(anatomy(net, where="x").first)))}
    found["pas"] = PAS(coefficients=spread(len(knobs(net))))
    found["pas-half"] = PAS(coefficients=(0.5,))
    if anatomy(net, where="x").branches:
        found["sgm"] = SGM(gamma=0.3, first_blocks=True)
    return found


@pytest.mark.parametrize("name", INSIDES)
def test_residual_branches_and_activations_are_found(name: str) -> None:
    found = anatomy(make(name), where="test")
    first, outer = sum(branch.first for branch in found.branches), sum(call.outer for call in found.activations)
    assert (len(found.branches), first, len(found.activations), outer) == INSIDES[name]
    assert found.beyond == 0
    assert len({branch.end for branch in found.branches}) == len(found.branches)


@pytest.mark.parametrize("name", [*ZOO, *OTHERS])
def test_values_stay_bit_for_bit_and_gradients_change(name: str) -> None:
    net, x = make(name), images()
    logits, gradient = read(net, x)
    for kind, path in paths(net).items():
        new_logits, new_gradient = read(path(net), x)
        assert torch.equal(new_logits, logits), kind
        assert not torch.allclose(new_gradient, gradient, rtol=0.01), kind
    assert all(torch.equal(a, b) for a, b in zip(read(net, x), (logits, gradient), strict=True))


@pytest.mark.parametrize("name", [*ZOO, "torchvision:resnet18"])
def test_coefficients_of_one_are_the_plain_gradient_bit_for_bit(name: str) -> None:
    net, x = make(name), images()
    plain = read(net, x)[1]
    unchanged: list[Path] = [PAS(coefficients=(1.0,)), Ghost(spread=0.0, drop=0.0)]
    if anatomy(net, where="x").branches:
        unchanged.append(SGM(gamma=1.0, first_blocks=True))
    for path in unchanged:
        assert torch.equal(read(path(net), x)[1], plain)


@pytest.mark.parametrize("name", ["resnet-small", "resnet-thin", "vgg-small", "torchvision:resnet18", "timm:resnet18"])
def test_folding_after_a_path_keeps_values_and_gradients(name: str) -> None:
    net, x = make(name).double(), images(dtype=torch.float64)
    for kind, path in {**paths(net), "ghost": Ghost()}.items():
        built = path(net)
        folded = prepare(built)
        for a, b in zip(read(folded, x), read(built, x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * float(b.abs().max()))
        # past a kernel and its batch norm together no gradient can go: only those norms stay
        norms = sum(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
        kept = len(anatomy(net, where="x").convolutions) if kind.startswith("pas") else 0
        assert norms <= kept, kind


class Block(nn.Module):
    """x + b(x), everything in place that can be."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv2(self.relu(self.conv1(x)))
        out += x
        after: Tensor = self.relu(out)
        return after


def tiny(*, plain: bool = False) -> nn.Module:
    """Two blocks, each value as often positive as negative before it is rectified."""

    def centre(conv: nn.Module, value: Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        conv.bias -= value.mean((0, 2, 3))

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        stem, one, two, head = nn.Conv2d(3, 3, 1), Block(), Block(), nn.Linear(3 * 16 * 16, 5)
        layers = [stem, nn.ReLU(inplace=True)] if plain else [stem, one, two]
        net = nn.Sequential(*layers, nn.Flatten(), head).double().eval().requires_grad_(False)
        x = images(dtype=torch.float64)
        centre(stem, stem(x))
        for block in () if plain else (one, two):
            h = net[: 1 + (block is two)](x)
            centre(block.conv1, block.conv1(h))
            centre(block.conv2, block.conv2(block.conv1(h).relu()) + h)
    return net


def by_hand(net: nn.Module, x: Tensor, gamma: float, conv: float = 1.0) -> Tensor:
    """The gradient of `read` by a chain of transposed layers, written out for networks of `tiny`."""
    layers: list[Any] = list(net.children())
    stem, one, two, flatten, head = layers

    def transposed(layer: Any, g: Tensor) -> Tensor:
        return nn.functional.conv_transpose2d(g, layer.weight, padding=1)

    def back(block: Any, g: Tensor, kept: tuple[Tensor, Tensor]) -> Tensor:
        inner, outer = kept
        g = g * (outer > 0)
        branch = gamma * g
        branch = conv * transposed(block.conv2, branch) + (1 - conv) * branch
        branch = branch * (inner > 0)
        branch = conv * transposed(block.conv1, branch) + (1 - conv) * branch
        return g + branch

    h0 = stem(x)
    i1 = one.conv1(h0).relu()
    h1 = (one.conv2(i1) + h0).relu()
    i2 = two.conv1(h1).relu()
    h2 = (two.conv2(i2) + h1).relu()
    g = (head(flatten(h2)).softmax(1) @ head.weight).reshape(h2.shape)
    g = back(two, g, (i2, h2))
    g = back(one, g, (i1, h1))
    return nn.functional.conv_transpose2d(g, stem.weight)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_sgm_is_gamma_once_for_each_branch_with_everything_in_place(gamma: float) -> None:
    net, x = tiny(), images(dtype=torch.float64)
    torch.testing.assert_close(read(SGM(gamma=gamma)(net), x)[1], by_hand(net, x, gamma))


def straight(x: Tensor) -> Tensor:
    """The value of a ReLU and the gradient of the identity, as automatic differentiation has it."""
    return x + (x.relu() - x).detach()


@pytest.mark.parametrize(("start", "first"), [("1", 1), ("2", 2), ("4", 3)])
def test_linbp_drops_the_masks_inside_the_branches_from_its_start_on(start: str, first: int) -> None:
    net, x = tiny(), images(dtype=torch.float64)
    layers: list[Any] = list(net.children())
    stem, *blocks, flatten, head = layers
    at = x.clone().requires_grad_()
    h = stem(at)
    for number, block in enumerate(blocks, start=1):
        act = straight if number >= first else torch.relu
        h = torch.relu(h + block.conv2(act(block.conv1(h))))
    (expected,) = torch.autograd.grad(head(flatten(h)).logsumexp(1).sum(), at)
    torch.testing.assert_close(read(LinBP(start=start, rescale=False)(net), x)[1], expected)


def test_linbp_keeps_the_length_of_each_branch_and_image() -> None:
    net, x = tiny(), images(dtype=torch.float64)
    layers: list[Any] = list(net.children())
    stem, one, two, flatten, head = layers
    at = x.clone().requires_grad_()
    before = torch.relu(stem(at) + one.conv2(torch.relu(one.conv1(stem(at)))))
    h = before.detach().requires_grad_()
    usual, linear = (two.conv2(act(two.conv1(h))) for act in (torch.relu, straight))
    total = (h.detach() + usual.detach()).requires_grad_()
    (g,) = torch.autograd.grad(head(flatten(torch.relu(total))).logsumexp(1).sum(), total)
    short, long = (torch.autograd.grad(branch, h, g)[0] for branch in (usual, linear))
    ratio = short.flatten(1).norm(dim=1) / long.flatten(1).norm(dim=1)
    assert float(ratio.max() - ratio.min()) > 1e-6  # each image has its own
    (expected,) = torch.autograd.grad(before, at, g + ratio[:, None, None, None] * long)
    torch.testing.assert_close(read(LinBP(start="2")(net), x)[1], expected)


def test_linbps_second_way_back_costs_what_the_page_says() -> None:
    page = (File(__file__).parents[3] / "docs" / "attacks.md").read_text()
    said = re.search(r"on a ResNet-50 a\s+backward pass has ([\d.]+) times its usual work", page)
    assert said is not None
    shape = (3, 64, 64)
    net = create(architecture("torchvision:resnet50"), shape=shape, classes=10, seed=0, pretrained=False)
    net.eval().requires_grad_(False)

    def work(net: nn.Module) -> tuple[int, int]:
        point = torch.zeros(1, *shape).requires_grad_()
        with FlopCounterMode(display=False) as there:
            loss = net(point).logsumexp(1).sum()
        with FlopCounterMode(display=False) as back:
            torch.autograd.grad(loss, point)
        return there.get_total_flops(), back.get_total_flops()

    (forward, backward), (same, more) = work(net), work(LinBP()(net))
    assert same == forward
    assert more / backward == pytest.approx(float(said[1]), abs=0.005)
    assert work(LinBP(rescale=False)(net)) == (forward, backward)


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18", "resnet-small", "vgg-small"])
def test_the_search_begins_with_sgm_and_with_linbp_before_it_rescales(name: str) -> None:
    net, x = make(name), images(1)
    found = anatomy(net, where="test")
    plain, *others = known_paths(found)
    assert set(plain) == {1.0}
    same: list[Path] = [LinBP(rescale=False)]
    if any(not branch.first for branch in found.branches):
        same.insert(0, SGM())
    for path, coefficients in zip(same, others, strict=True):
        torch.testing.assert_close(
            read(PAS(coefficients=coefficients)(net), x)[1], read(path(net), x)[1], rtol=1e-4, atol=1e-7
        )


class OneForAll(nn.Module):
    """A plain network with a single ReLU, in place, under two names; `again` more calls than at its first pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(768, 6), nn.Linear(6, 6), nn.Linear(6, 5)
        self.act = nn.ReLU(inplace=True)
        self.same = self.act
        self.again, self.broken = 0, False

    def forward(self, x: Tensor) -> Tensor:
        h = self.second(self.act(self.first(x.flatten(1))))
        if self.broken:
            raise RuntimeError("in the middle")
        h = self.same(h)
        for _ in range(self.again):
            h = self.act(h)
        logits: Tensor = self.head(h)
        return logits


def one_for_all() -> OneForAll:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return OneForAll().double().requires_grad_(False)


def test_calls_of_one_module_are_told_apart_under_any_of_its_names_and_after_a_pass_that_broke() -> None:
    net, x = one_for_all(), images(dtype=torch.float64)
    assert knobs(net, (3, 16, 16)) == ["activation:act[0]", "activation:act[1]"]
    at = x.clone().requires_grad_()
    h = straight(net.second(net.first(at.flatten(1)).relu()))
    (expected,) = torch.autograd.grad(net.head(h).logsumexp(1).sum(), at)
    for path in (LinBP(), PAS(coefficients=(1.0, 0.0))):
        built: Any = path(net, (3, 16, 16))
        for _ in range(2):
            torch.testing.assert_close(read(built, x)[1], expected)
        built.broken = True
        with pytest.raises(RuntimeError, match="in the middle"):
            built(x)
        built.broken = False
        torch.testing.assert_close(read(built, x)[1], expected)
        built.again = 1
        with pytest.raises(ModelError, match="its module 'act' runs more than the 2 times seen before"):
            built(x)


def test_a_network_whose_first_layer_runs_again_is_refused_where_calls_must_be_told_apart() -> None:
    act = nn.ReLU()
    again = nn.Sequential(act, nn.Flatten(), nn.Linear(768, 5), act)
    with pytest.raises(ModelError, match="linbp: the network runs one activation module several times, and its first"):
        LinBP()(again, (3, 16, 16))


def test_skip_convolutions_send_a_share_past_their_kernels() -> None:
    net, x = tiny(), images(dtype=torch.float64)
    names = knobs(net, (3, 16, 16))
    assert [n for n in names if n.startswith("conv")] == [
        "conv:0", "conv:1.conv1", "conv:1.conv2", "conv:2.conv1", "conv:2.conv2"
    ]  # fmt: skip
    path = PAS(coefficients=tuple(0.4 if n.startswith("conv:") and n != "conv:0" else 1.0 for n in names))
    torch.testing.assert_close(read(path(net), x)[1], by_hand(net, x, 1.0, conv=0.4))


@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.ReLU(), nn.GELU(), nn.SiLU(inplace=True), nn.ELU()])
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_activations_mix_their_derivative_with_the_identitys(activation: nn.Module, share: float) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 4), activation, nn.Linear(4, 5)).double().requires_grad_(False)
    x = images(dtype=torch.float64)
    first, last = net[1], net[3]
    assert isinstance(first, nn.Linear)
    assert isinstance(last, nn.Linear)
    before = first(x.flatten(1)).requires_grad_()
    g = net(x).softmax(1) @ last.weight
    (usual,) = torch.autograd.grad(activation(before.clone()), before, g)
    expected = ((share * usual + (1 - share) * g) @ first.weight).reshape(x.shape)
    logits, made = read(PAS(coefficients=(share,))(net, (3, 16, 16)), x)
    torch.testing.assert_close(made, expected)
    assert torch.equal(logits, net(x))


def test_shared_and_separate_rectifiers_are_one_network() -> None:
    """Torchvision's blocks call one ReLU twice, in place; timm's have two. The weights are the same."""
    shared, separate = make("torchvision:resnet18"), make("timm:resnet18")
    separate.network.load_state_dict(shared.network.state_dict())  # type: ignore[union-attr]
    x = images()
    assert torch.equal(read(shared, x)[1], read(separate, x)[1])
    assert knobs(shared)[-4:] == [f"activation:layer4.{block}.relu[{call}]" for block in range(2) for call in range(2)]
    count = len(knobs(shared))
    every: list[Path] = [LinBP(), LinBP(rescale=False), SGM(gamma=0.2), PAS(coefficients=spread(count))]
    for path in every:
        torch.testing.assert_close(read(path(shared), x)[1], read(path(separate), x)[1], rtol=1e-4, atol=1e-7)


def test_sgm_chooses_gamma_by_what_the_network_is() -> None:
    for name, gamma in {"torchvision:resnet18": 0.2, "vit-small": 0.4, "mixer-small": 0.6}.items():
        net, x = make(name), images()
        assert torch.equal(read(SGM()(net), x)[1], read(SGM(gamma=gamma)(net), x)[1])


def crafted(attack: Iterative, nets: Any, x: Tensor, source_of: Any, **options: Any) -> Tensor:
    y = nets[0](x).argmax(1)
    ids = torch.arange(len(x)) + 5
    (made,) = craft_images([(attack, LINF)], source_of(nets), x, y, seed=1, ids=ids, **options)
    return made.images


def test_identities_with_mi(source_of: Any) -> None:
    net, x = make("resnet-small"), images()
    mi = crafted(parse_attack("mi"), [net], x, source_of)  # type: ignore[arg-type]
    same: list[Path] = [
        SGM(gamma=1.0, first_blocks=True),
        LinBP(start="head"),
        PAS(coefficients=(1.0,)),
        Ghost(spread=0.0),
    ]
    for path in same:
        assert torch.equal(crafted(Iterative(momentum=Momentum(), path=path), [net], x, source_of), mi)
    others: list[Path] = [SGM(first_blocks=True), LinBP(), PAS(coefficients=(0.5,)), Ghost()]
    for path in others:
        assert not torch.equal(crafted(Iterative(momentum=Momentum(), path=path), [net], x, source_of), mi)


@pytest.mark.parametrize(
    "path", [SGM(first_blocks=True), LinBP(), Ghost(), PAS(coefficients=(0.5,))], ids=lambda p: type(p).__name__
)
def test_an_image_does_not_depend_on_its_batch(path: Path, source_of: Any) -> None:
    """Field note: gradient rules by batch statistics couple images (SGM's deviation)."""
    net, x = make("resnet-small").double(), images(4, torch.float64)
    attack = Iterative(momentum=Momentum(), path=path, steps=4)
    whole = crafted(attack, [net], x, source_of)
    torch.testing.assert_close(crafted(attack, [net], x, source_of, chunk=1), whole, rtol=0, atol=1e-9)


def test_two_paths_on_one_network_do_not_disturb_each_other_and_leave_no_hooks() -> None:
    net, x = make("torchvision:resnet18"), images()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    names = [name for name, _ in net.named_modules()]
    alone = [read(path(net), x)[1] for path in (SGM(), LinBP())]
    ready = Ready()
    both = [ready(net, SGM()), ready(net, LinBP())]
    for _ in range(2):  # read in turn, each several times
        for module, expected in zip(both, alone, strict=True):
            assert isinstance(module, nn.Module)
            assert torch.equal(read(module, x)[1], expected)
    # two passes before either goes back
    assert isinstance(both[1], nn.Module)
    points = [x.clone().requires_grad_() for _ in range(2)]
    losses = [both[1](point).logsumexp(1).sum() for point in points]
    for loss, point in zip(losses, points, strict=True):
        assert torch.equal(torch.autograd.grad(loss, point)[0], alone[1])
    assert [name for name, _ in net.named_modules()] == names
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    for module in (*net.modules(), *(m for b in both if isinstance(b, nn.Module) for m in b.modules())):
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks


def test_parameters_are_shared_and_a_training_network_is_not_touched_by_looking_at_it() -> None:
    net = make("resnet-small").train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    built = SGM(first_blocks=True)(net)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert net.training
    assert {id(p) for p in built.parameters()} == {id(p) for p in net.parameters()}


def test_ghosts_belong_to_seed_step_and_copy() -> None:
    net, x = make("resnet-small").double(), images(dtype=torch.float64)
    ghost = Ghost()(net)

    def seen(seed: int, step: int, copy: int, member: int = 0) -> Tensor:
        redraw(ghost, seed, step, copy, member)
        logits: Tensor = ghost(x)
        return logits

    one = seen(1, 2, 3)
    others = [seen(2, 2, 3), seen(1, 3, 3), seen(1, 2, 4), seen(1, 2, 3, 1), net(x)]
    assert all(not torch.allclose(one, other, rtol=1e-3) for other in others)
    assert torch.equal(seen(1, 2, 3), one)
    assert torch.equal(ghost(x), one)  # asking twice draws nothing new
    fresh = Ghost()(net)
    redraw(fresh, 1, 2, 3)
    torch.testing.assert_close(fresh(x[1:]), one[1:], rtol=0, atol=1e-12)


class Asks(Draws):
    """Draws that keep what they were asked for."""

    asked: ClassVar[list[tuple[str, int]]] = []

    def uniform(self, purpose: str, shape: Any = (), *, step: int = 0, copy: int = 0) -> Tensor:
        self.asked.append((purpose, step))
        return super().uniform(purpose, shape, step=step, copy=copy)

    def shared(self, device: torch.device) -> "Asks":
        return Asks(self.seed, super().shared(device).ids)


@pytest.mark.parametrize("members", [Mean(), SVRE(updates=2)], ids=["mean", "svre"])
@pytest.mark.parametrize("objective", [CrossEntropy(), FIA(samples=2)], ids=["cross-entropy", "fia"])
def test_each_member_of_one_architecture_is_a_ghost_of_its_own(members: Any, objective: Any, source_of: Any) -> None:
    """Three trainings of one architecture: 3 networks x 3 skips x 2 steps are 18 draws, none of them twice."""
    nets = [make("resnet-small") for _ in range(3)]
    x = images()
    Asks.asked.clear()
    attack = Iterative(path=Ghost(), momentum=Momentum(), members=members, objective=objective, steps=2)
    attack(Gradients(source_of(nets), x, nets[0](x).argmax(1)), LINF, Asks(1, torch.arange(len(x))))
    ghosts = [(purpose, step) for purpose, step in Asks.asked if purpose.startswith("ghost")]
    assert len(set(ghosts)) == 18
    assert len(ghosts) == len(set(ghosts)) or isinstance(objective, FIA)  # which looks from a tap of its own, too


def test_ghosts_of_several_members_differ_and_the_first_is_that_of_a_network_alone(source_of: Any) -> None:
    """What each member answers, taken from the attack's own readings: their factors are the ratio of skip to skip."""
    net, x = make("resnet-small"), images()
    twins = [net, make("resnet-small")]  # the same weights in both
    ready = Ready()
    gradients = Gradients(source_of(twins), x, net(x).argmax(1), ready=ready)
    with gradients.along(Ghost(), Draws(1, torch.arange(len(x)))):
        gradients.at(x + 0, CrossEntropy())
        one, two = (ready(twin, Ghost()) for twin in twins)
        first, second = one(x), two(x)
        gradients.at(x + 0, CrossEntropy(), member=1)
        assert torch.equal(two(x), second)
    assert not torch.allclose(first, second, rtol=1e-3)
    alone = Gradients(source_of([net]), x, net(x).argmax(1), ready=ready)
    with alone.along(Ghost(), Draws(1, torch.arange(len(x)))):
        alone.at(x + 0, CrossEntropy())
        assert torch.equal(ready(net, Ghost())(x), first)


def test_ghosts_scale_channels_of_skips_within_their_spread() -> None:
    net = tiny()
    for conv in (m for m in net.modules() if isinstance(m, nn.Conv2d)):
        conv.weight.zero_()  # blocks are rectified skips alone
        conv.weight[range(3), range(3)] = float(conv.kernel_size == (1, 1))
        assert conv.bias is not None
        conv.bias.zero_()
    x = images(dtype=torch.float64) + 0.5
    built = Ghost(spread=0.3)(net, (3, 16, 16))
    factors = []
    for step in range(200):
        redraw(built, 0, step, 0)
        ratio = nn.Sequential(*list(built.children())[:3])(x) / x
        assert bool(((ratio - ratio[:1, :, :1, :1]).abs() < 1e-12).all())  # one number a channel, for all images
        factors.append(ratio[0, :, 0, 0])
    product = torch.stack(factors)
    assert 0.7**2 <= float(product.min()) < 0.6
    assert 1.5 < float(product.max()) <= 1.3**2
    # the mean of a product of two factors, each uniform around 1 with a deviation of 0.3 / sqrt(3)
    assert abs(float(product.mean()) - 1) < 4 * (2**0.5 * 0.3 / 3**0.5) / 600**0.5
    assert len(set(product.flatten().tolist())) == 600


def test_ghosts_of_plain_networks_erode_and_nothing_leaves_evaluation() -> None:
    """Trap 24: surrogates that need dropout only flip those layers."""
    net = nn.Sequential(
        next(tiny(plain=True).children()), nn.ReLU(), nn.Dropout(0.9), nn.BatchNorm2d(3), nn.Flatten()
    ).eval()
    net.double().requires_grad_(False)
    x = images(dtype=torch.float64)
    built = Ghost(drop=0.3)(net, (3, 16, 16))
    redraw(built, 0, 0, 0)
    assert not any(module.training for module in built.modules())
    plain, eroded = net[1](net[0](x)), nn.Sequential(*list(built.children())[:2])(x)
    positive = plain > 0
    dropped = (eroded == 0) & positive
    torch.testing.assert_close(eroded[positive & ~dropped], plain[positive & ~dropped] / 0.7)
    share = float((dropped.sum() / positive.sum()).item())
    assert abs(share - 0.3) < 4 * (0.3 * 0.7 / 768) ** 0.5 + 0.02
    both = positive[0] & positive[1]
    assert torch.equal(dropped[0][both], dropped[1][both])


def test_attacks_with_ghosts_draw_anew_for_each_step_and_seed(source_of: Any) -> None:
    net, x = make("resnet-small"), images()
    y = net(x).argmax(1)
    attack = parse_attack({"name": "ghost", "steps": 3})
    made = [craft_images([(attack, LINF)], source_of([net]), x, y, seed=seed)[0].images for seed in (1, 1, 2)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_networks_without_the_parts_are_refused_in_one_line() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(768, 5))
    cases: list[tuple[Path, nn.Module, str]] = [
        (SGM(), make("vgg-small"), "sgm: the network has no residual branch; "),
        (SGM(), make("resnet-small"), "sgm: each of the network's 3 residual blocks begins a stage and keeps its grad"),
        (LinBP(), flat, "linbp: the network has no activation module"),
        (Ghost(), flat, "ghost: the network has neither skips nor activation modules"),
        (PAS(coefficients=(0.5,)), flat, "pas: the network has no residual branch, activation module or square conv"),
    ]
    for path, net, message in cases:
        with pytest.raises(ModelError, match=message):
            path(net, (3, 16, 16))
    with pytest.raises(ModelError, match="sgm: cannot run the network"):
        SGM()(flat, (3, 9, 9))


def test_a_branch_that_ends_in_no_module_is_refused() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(768, 5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x) + 0
            x = x + torch.tanh(self.conv(x)) * torch.sigmoid(self.conv(x))
            logits: Tensor = self.head(x.flatten(1))
            return logits

    with pytest.raises(ModelError, match="1 of the network's 1 residual branches end in no module"):
        SGM()(Bare(), (3, 16, 16))


@pytest.mark.parametrize(
    ("make_path", "message"),
    [
        (lambda: SGM(gamma=1.5), r"sgm: gamma must be in \[0, 1\], got 1.5"),
        (lambda: Ghost(spread=-0.1), r"ghost: spread must be in \[0, 1\]"),
        (lambda: Ghost(drop=1.0), r"ghost: drop must be in \[0, 1\)"),
        (lambda: PAS(coefficients=(0.5, 1.1)), r"pas: coefficients must be in \[0, 1\], got 1.1"),
        (lambda: PAS(evaluations=0), "pas: evaluations must be at least 1"),
        (lambda: PAS()(tiny(), (3, 16, 16)), "pas: its coefficients are yet to be searched"),
        (
            lambda: PAS(coefficients=(1.0, 1.0))(tiny(), (3, 16, 16)),
            "2 coefficients, but the network has 11 places",
        ),
        (lambda: LinBP(start="layer9")(tiny(), (3, 16, 16)), "linbp.start: the network runs no module 'layer9'"),
    ],
)
def test_wrong_settings_are_refused(make_path: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_path()
