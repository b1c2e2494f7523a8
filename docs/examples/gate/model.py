"""The model of this repository: a small network for digits, and how it is trained."""

import sys
from functools import partial

import torch
from torch import nn

from carom.zoo.tasks import TASKS


def network() -> nn.Sequential:
    """1x16x16 images in [0, 1] to ten logits."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(48 * 16, 96),
        nn.ReLU(),
        nn.Linear(96, 10),
    )


def load(path: str) -> nn.Module:
    """The network with these weights."""
    model = network()
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval()


def train(seed: int, path: str, noise: float = 0.25) -> None:
    """Twelve epochs on both sources of the digits, with noise of this deviation on the images."""
    torch.manual_seed(seed)
    task, model = TASKS["digits"](), network()
    parts = [task.load(source, "train") for source in task.sources]
    images, labels = torch.cat([p.pixels for p in parts]), torch.cat([p.labels for p in parts])
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(12):
        for batch in torch.randperm(len(images)).split(64):
            noisy = (images[batch] + noise * torch.randn_like(images[batch])).clamp(0, 1)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(noisy), labels[batch]).backward()
            optimizer.step()
    torch.save(model.state_dict(), path)


seed1, seed2, seed3, seed4, seed5, seed6 = (partial(load, f"seed{seed}.pt") for seed in range(1, 7))

if __name__ == "__main__":
    train(int(sys.argv[1]), sys.argv[2], noise=float(sys.argv[3]) if len(sys.argv) > 3 else 0.25)
