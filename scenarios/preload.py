"""What every worker needs, imported once before workers are forked."""

import torchmetrics.functional.image as _ssim

import carom.scenarios.jobs as _jobs

__all__ = ["_jobs", "_ssim"]
