"""One thread a test process: two workers share the cores, and sums keep their order."""

import torch

torch.set_num_threads(1)
