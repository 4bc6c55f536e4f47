"""MaxPool and AveragePool on a GPU, channels last."""

from __future__ import annotations

from ....kernels.cuda.pool import pool
from ...emission import Emission
from ...graph import Node
from ...ops.pool import COUNTING, images, sum_fields
from ...ops.registry import OPERATORS
from ...ops.windows import Window
from ...symbolic import product
from ...tensors import short_name
from .convolution import window_over


def lower_max(emit: Emission, node: Node) -> None:
    """Emit maxima; those whose places are wanted, too, by the kernel of the CPU."""
    if len(node.outputs) > 1 and node.outputs[1].name:
        own = OPERATORS[node.key].lower
        assert own is not None
        own(emit, node)
    else:
        _emit(emit, node, "max", "inside")


def lower_average(emit: Emission, node: Node) -> None:
    """Emit means."""
    _emit(emit, node, "mean", COUNTING[node.attribute("count_include_pad", 0)])


def _emit(emit: Emission, node: Node, kind: str, counting: str) -> None:
    window = Window.of(node, node.attribute("kernel_shape"))
    x, y = images(emit, node)
    if kind == "max":
        emit.check_some(product(x.shape[2:]), product(y.shape), "maxima")
    emit.step(
        pool(kind, short_name(x.dtype)), outputs=[y], flops=product(y.shape) * window.taps,
        x=x, y=y, channels=x.shape[1], **window_over(window, x, y), **sum_fields(window, counting),
    )  # fmt: skip
