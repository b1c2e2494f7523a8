"""What every worker needs, imported once before workers are forked."""

import torchmetrics.functional.image as _ssim

import carom.scenarios.jobs.job as _jobs
from carom.scenarios.environment import code_digest

__all__ = ["_jobs", "_ssim"]

code_digest()  # of what was just imported
