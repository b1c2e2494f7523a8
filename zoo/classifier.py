"""The name under which `carom.zoo.models.classifier` was first imported; scripts of then go on working."""

from carom.zoo.models.classifier import Classifier, create, load_weights, restore, weights

__all__ = ["Classifier", "create", "load_weights", "restore", "weights"]
