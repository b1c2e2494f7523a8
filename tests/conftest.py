"""One thread a test process: two workers share the cores, and sums keep their order."""

import torch

pytest_plugins = ["pytester"]  # pytest runs in tests of the plugin; only the topmost conftest may load it

torch.set_num_threads(1)
