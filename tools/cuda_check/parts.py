"""All parts of the check, the most valuable first: results, then figures."""

from __future__ import annotations

from .correct import conformance_tasks, kernel_tasks, model_tasks
from .figures import attention_tasks, bandwidth_tasks, convolution_tasks, product_tasks
from .networks import launch_tasks, network_tasks
from .raw import catalogue_tasks, product_figures
from .tasks import Part

PARTS = (
    Part("kernels", 90, kernel_tasks, is_shared=True),
    Part("catalogue", 60, catalogue_tasks, is_shared=True),
    Part("products", 60, product_tasks),
    Part("launches", 20, launch_tasks),
    Part("bandwidth", 60, bandwidth_tasks),
    Part("networks", 150, network_tasks),
    Part("attention", 40, attention_tasks),
    Part("convolutions", 40, convolution_tasks),
    Part("models", 120, model_tasks, is_shared=True),
    Part("kernels of products", 60, product_figures),
    Part("conformance", 120, conformance_tasks, is_shared=True),
)
"""Their seconds are those that they may take at most; a check ends with its own limit."""
