"""The name under which `carom.zoo.models.references` was first imported; scripts of then go on working."""

from carom.zoo.models.references import load_reference, reference
from carom.zoo.models.victims import check_victim

__all__ = ["check_victim", "load_reference", "reference"]
