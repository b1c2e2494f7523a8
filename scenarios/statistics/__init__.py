"""What outcomes say: rates, tables, effects, controls and comparisons, each with an interval and what it ranges over.

Reads `Outcomes` only, and imports no torch: tables open as fast as the store does. `docs/statistics.md` derives each.
"""

from .attackers import ATTACKERS as ATTACKERS
from .compare import compare as compare
from .compare import compare_pooled as compare_pooled
from .controls import ControlCheck as ControlCheck
from .controls import controls as controls
from .counted import counted_table as counted_table
from .defended import defended as defended
from .defended import defended_by_attacker as defended_by_attacker
from .differences import Difference as Difference
from .differences import difference as difference
from .differences import difference_of_rates as difference_of_rates
from .differences import surrogate_difference as surrogate_difference
from .effects import Contrast as Contrast
from .effects import contrast as contrast
from .effects import marginal_effects as marginal_effects
from .equal_cost import CostTable as CostTable
from .equal_cost import SurrogateCost as SurrogateCost
from .equal_cost import cost_against_transfer as cost_against_transfer
from .equal_cost import equal_attack_cost as equal_attack_cost
from .equal_cost import equal_training_cost as equal_training_cost
from .game import Equilibrium as Equilibrium
from .game import equilibrium as equilibrium
from .intervals import VarianceComponents as VarianceComponents
from .intervals import holm as holm
from .intervals import mcnemar as mcnemar
from .intervals import paired_wald as paired_wald
from .intervals import wilson as wilson
from .knowledge import KNOWN as KNOWN
from .knowledge import THREATS as THREATS
from .knowledge import asking as asking
from .knowledge import counted_knowledge as counted_knowledge
from .knowledge import defended_by_threat as defended_by_threat
from .knowledge import knowledge_table as knowledge_table
from .lift import lift as lift
from .outcomes import CELL as CELL
from .outcomes import COLUMNS as COLUMNS
from .outcomes import SET as SET
from .outcomes import Outcomes as Outcomes
from .pairs import NOT_RUN as NOT_RUN
from .payoffs import payoffs as payoffs
from .rates import cell_rates as cell_rates
from .rates import class_rates as class_rates
from .tables import SOURCE_LEVELS as SOURCE_LEVELS
from .tables import case_table as case_table
from .tables import group_table as group_table
from .tables import source_levels as source_levels
from .tdee import tdee as tdee
from .white_box import transfer_below_white_box as transfer_below_white_box
from .white_box import white_box_accuracy as white_box_accuracy
