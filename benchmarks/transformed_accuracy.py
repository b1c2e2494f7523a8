"""What the surrogates of the attack table make of images seen through each transformation.

    python benchmarks/transformed_accuracy.py

A transformation helps an attack where the network still knows what it sees. Accuracy is on the attacked validation
images of `attack_table.py`, which trains the networks; one copy of each image, drawn as at the first step.
"""

import torch
from attack_jobs import FULL, SURROGATES, attacked, pool, ready, trained

from carom.attacks import ATTACKS, Part
from carom.attacks.slots import View
from carom.budget import Budget
from carom.draws import Draws


def main() -> None:
    images = attacked("validation")
    x = images.images.float() / 255
    networks = [ready(FULL.folder, key) for model in SURROGATES if (key := trained(model, FULL)) is not None]
    print(f"accuracy on {len(x)} validation images, mean of {len(networks)} trainings of resnet-small")
    print(f"{'as they are':12s} {accuracy(networks, x, images.labels):.1%}")
    for name, entry in ATTACKS.items():
        if isinstance(entry, Part) and entry.family == "transformation":
            (transformation,) = entry.attack.transformations
            view = View(
                draws=Draws(0, images.ids),
                budget=Budget.parse("linf", "16/255"),
                step=0,
                index=0,
                copy=0,
                y=images.labels,
                partners=pool(),
            )
            print(f"{name:12s} {accuracy(networks, transformation.image(x, view), images.labels):.1%}")


def accuracy(networks: list[torch.nn.Module], x: torch.Tensor, labels: torch.Tensor) -> float:
    with torch.no_grad():
        return sum(float((network(x).argmax(1) == labels).float().mean()) for network in networks) / len(networks)


if __name__ == "__main__":
    main()
