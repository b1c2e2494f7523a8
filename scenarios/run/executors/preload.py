"""What every worker needs, imported once before workers are forked."""

import torchmetrics.functional.image as _ssim

import carom.scenarios.jobs.kinds as _kinds
from carom.scenarios.environment import code_digest

__all__ = ["_kinds", "_ssim"]

code_digest()  # of what was just imported
