"""What the images go through before the model reads them, and what its gradient goes through after.

To add one: write the file, and its entry in `names.py`.
"""

from .admix import Admix
from .bsr import BSR
from .dem import DEM
from .di import DI
from .si import SI
from .sia import SIA
from .ssm import SSM
from .ti import TI

__all__ = ["BSR", "DEM", "DI", "SI", "SIA", "SSM", "TI", "Admix"]
