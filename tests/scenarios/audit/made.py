"""Networks of 1,000 classes for pictures of 8x8 pixels, which see each class by the pattern that its pictures have."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

SIDE, CLASSES = 8, 1000
LABELS = [*range(0, 1000, 59), 999, *[0] * 5, *[59] * 4]  # 27 images: six of class 0, five of class 59, one of others

NETWORKS = f"""
import torch
from torch import nn

MEAN = torch.tensor([0.485, 0.456, 0.406])[None, :, None, None]
STD = torch.tensor([0.229, 0.224, 0.225])[None, :, None, None]


def network(seed, haze=0.5):
    patterns = torch.randint(0, 2, ({CLASSES}, {3 * SIDE * SIDE}), generator=torch.Generator().manual_seed(7)) * 2.0 - 1
    own = torch.randn(patterns.shape, generator=torch.Generator().manual_seed(seed))
    net = nn.Sequential(nn.Flatten(), nn.Linear(patterns.shape[1], {CLASSES}))
    with torch.no_grad():
        net[1].weight.copy_(patterns + haze * own)
        net[1].bias.copy_(-0.5 * net[1].weight.sum(1))
    return net


class Normalised(nn.Module):
    '''Wants pixels minus ImageNet's mean, over its deviation.'''

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x * STD + MEAN)


def one():
    return network(1)


def two():
    return network(2)


def three():
    return network(3)


def normalised():
    return Normalised(network(1))


def other_order():
    net = network(1)
    net[1].weight.data = net[1].weight.data.roll(1, 0)
    net[1].bias.data = net[1].bias.data.roll(1, 0)
    return net


def ten():
    return nn.Sequential(nn.Flatten(), nn.Linear({3 * SIDE * SIDE}, 10))


ANSWERING = network(1)


def function(x):
    with torch.no_grad():
        return ANSWERING(x)
"""


def pictures(labels: list[int], seed: int = 0) -> np.ndarray:
    """8-bit colour images `n rows columns channels` whose classes the networks see."""
    patterns = torch.randint(0, 2, (CLASSES, 3 * SIDE * SIDE), generator=torch.Generator().manual_seed(7)) * 2 - 1
    rng = np.random.default_rng(seed)
    seen = patterns.numpy().reshape(CLASSES, 3, SIDE, SIDE).transpose(0, 2, 3, 1)[labels]
    found: np.ndarray = (128 + 6 * seen + rng.integers(-6, 7, seen.shape)).astype(np.uint8)
    return found


def save_folder(root: Path, labels: list[int] = LABELS) -> None:
    """A flat folder with a table."""
    root.mkdir()
    rows = ["file,label"]
    for i, image in enumerate(pictures(labels)):
        Image.fromarray(image).save(root / f"{i:02}.png")
        rows.append(f"{i:02}.png,{labels[i]}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
