"""From what a sub-network is to its accuracy and robust accuracy, learned from some that were scored."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from scipy.stats import kendalltau
from torch import Tensor, nn

from carom.draws import stream
from carom.errors import InputError
from carom.registry import checked

Rows = Float[Tensor, "n d"]
Scores = Float[Tensor, "n 2"]  # accuracy and robust accuracy

_HELD_OUT = 0.2
_LEAST = 10
_BATCH = 64
_RIDGE = 0.5


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A perceptron from one-hot rows to accuracy and robust accuracy (ProARD, arXiv:2506.07666).

    Trained on four fifths of the scored sub-networks, judged on the last fifth. ProARD takes 2,000 of them and 6 layers
    of 400 ReLU; the defaults suit some hundreds. Adam at 0.001 with decoupled weight decay 0.0001, on the mean squared
    error of scores in units of their own deviation: the scores of sub-networks lie close together. From less than some
    hundred, a sum over the choices is learned better than by any perceptron: take no hidden layer.

    Attributes:
        layers: Hidden ones, 0 to 6. With 0 it is ridge regression, and has no epochs.
        width: ReLUs of each, 1 to 400.
        epochs: 1 to 10,000.

    Raises:
        InputError: Out of these ranges.
    """

    layers: int = 3
    width: int = 100
    epochs: int = 200

    def __post_init__(self) -> None:
        checked(self, "predictor", layers=(0.0, 6.0), width=(1.0, 400.0), epochs=(1.0, 10_000.0))

    def fit(self, rows: Rows, scores: Scores, *, seed: int) -> "Fitted":
        """Learn from these.

        Args:
            rows: One-hot, each a sub-network.
            scores: What they scored, 0 to 1.
            seed: Of split, weights and order.

        Raises:
            InputError: Fewer than ten.
        """
        if len(rows) < _LEAST:
            raise InputError(f"predictor: {len(rows)} scored sub-networks; expected at least {_LEAST}")
        generator = torch.Generator().manual_seed(stream(seed, "predictor"))
        order = torch.randperm(len(rows), generator=generator)
        held, seen = order.tensor_split([round(_HELD_OUT * len(rows))])
        mean = scores[seen].mean(0)
        deviation = scores[seen].std(0)
        deviation = torch.where(deviation > 0, deviation, 1.0)
        x, y = rows[seen], (scores[seen] - mean) / deviation
        network = self._learned(x, y, generator, stream(seed, "predictor weights")) if self.layers else _ridge(x, y)
        fitted = Fitted(network=network.requires_grad_(False), mean=mean, deviation=deviation)
        error = fitted(rows[held]) - scores[held]
        rmse = error.square().mean(0).sqrt()
        tau = [_tau(fitted(rows[held])[:, k], scores[held, k]) for k in range(2)]
        return Fitted(
            network=network,
            mean=mean,
            deviation=deviation,
            held_out=len(held),
            rmse=(float(rmse[0]), float(rmse[1])),
            tau=(tau[0], tau[1]),
        )

    def _learned(self, x: Rows, y: Scores, generator: torch.Generator, seed: int) -> nn.Module:
        """A perceptron of these weights' seed."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            sizes = [x.shape[1], *[self.width] * self.layers]
            hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
            network = nn.Sequential(*hidden, nn.Linear(sizes[-1], 2))
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4)
        for _ in range(self.epochs):
            for at in torch.split(torch.randperm(len(x), generator=generator), _BATCH):
                optimizer.zero_grad()
                nn.functional.mse_loss(network(x[at]), y[at]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        return network


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """A predictor that has learned; it predicts, and what it predicts is no result.

    Attributes:
        network: From one-hot rows to scores in units of their deviation.
        mean: Of accuracy and robust accuracy.
        deviation: Of both.
        held_out: Sub-networks that it did not learn from.
        rmse: On these, root of the mean squared error of accuracy and of robust accuracy, 0 to 1.
        tau: On these, Kendall's rank correlation of both, -1 to 1; 0 where all are equal.
    """

    network: nn.Module
    mean: Float[Tensor, "2"]
    deviation: Float[Tensor, "2"]
    held_out: int = 0
    rmse: tuple[float, float] = (0.0, 0.0)
    tau: tuple[float, float] = (0.0, 0.0)

    @torch.no_grad()
    def __call__(self, rows: Rows) -> Scores:
        """Accuracy and robust accuracy of each, 0 to 1."""
        raw: Tensor = self.network(rows)
        return (raw * self.deviation + self.mean).clamp(0, 1)


def _tau(predicted: Tensor, true: Tensor) -> float:
    found = float(kendalltau(predicted.numpy(), true.numpy()).statistic)
    return found if found == found else 0.0  # NaN where a side is constant


def _ridge(x: Rows, y: Scores) -> nn.Module:
    """The linear layer with the least sum of squared errors and of half of the squared weights."""
    centre = x.mean(0)
    apart = (x - centre).double()
    gram = apart.T @ apart + _RIDGE * torch.eye(x.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(gram, apart.T @ y.double()).float()
    layer = nn.Linear(weight.shape[0], weight.shape[1], device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(weight.T)
        layer.bias.copy_(y.mean(0) - centre @ weight)
    return layer
