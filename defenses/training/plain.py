"""Plain training, as the scenario trains networks: what a stage may go on from."""

from dataclasses import dataclass
from typing import ClassVar

from carom.stages import Entry
from carom.zoo.training.recipes import Recipe


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Plain training by the scenario's recipe.

    Its name is for chains. `plain -> pubdef` is PubDef as its authors' scripts run it: adversarial copies are learnt
    from by a network that was trained plainly before (Sitawarin et al. 2024, arXiv:2310.17645). The network is the same
    as that of an undefended victim of the same seed, and is trained once for both.
    """

    version: ClassVar[int] = 1

    def recipe(self, base: Recipe) -> Recipe:
        """As it is."""
        return base


ENTRY = Entry(
    summary="Trained as the scenario trains networks; what a stage goes on from.",
    paper="Sitawarin, Chang, Huang, Altoyan and Wagner 2024, arXiv:2310.17645",
    stages=(Plain(),),
)
