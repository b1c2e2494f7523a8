"""The geometry of surrogates: flatness in the weights, smoothness in the image, diversity, and nearness to a victim.

Every function takes classifiers in eval mode, whose batch norm reads its running statistics, and says what it cost.
"""

from .hessian import Eigenvalues as Eigenvalues
from .hessian import Trace as Trace
from .hessian import hessian_trace as hessian_trace
from .hessian import top_eigenvalues as top_eigenvalues
from .measured import measured as measured
from .paths import Path as Path
from .paths import Spectrum as Spectrum
from .paths import loss_along_rays as loss_along_rays
from .paths import loss_between as loss_between
from .paths import weight_spectrum as weight_spectrum
from .similarity import Similarity as Similarity
from .similarity import input_curvature as input_curvature
from .similarity import similarity as similarity
