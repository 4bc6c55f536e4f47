"""com.microsoft's QLinearAveragePool and QLinearGlobalAveragePool: bytes in, bytes out.

No model has them when it is lowered: importers write them as the standard has it, with floats
between DequantizeLinear and QuantizeLinear, and `optimizer.byte_operators` finds these again, also
in models that were written so.
"""

from __future__ import annotations

import numpy as np

from ...kernels.cpu.pool import COUNTING
from ...kernels.cpu.pool_bytes import average_pool_bytes
from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..symbolic import product
from ..tensors import short_name
from . import checks
from .integers import demand_bytes, demand_scales
from .pool import emit_pool, images, pool_size, sum_fields
from .registry import Operator, register
from .windows import Along, Window, height_width, window_fields, window_parameters

X, X_SCALE, X_ZERO, Y_SCALE, Y_ZERO = range(5)


def demand_grids(node: Node) -> None:
    """Leave to the host what has not one constant scale and zero point before and behind."""
    demand_bytes(node.required(X), node.required(Y_ZERO))
    demand_scales(node, (X_SCALE, Y_SCALE))
    for index in (X_SCALE, X_ZERO, Y_SCALE, Y_ZERO):
        info = node.required(index)
        if not info.is_constant or product(info.dims) != 1:
            raise OnHost(f"{info.name!r} is no constant number")


def number(node: Node, index: int) -> float:
    """Return a scale or zero point."""
    return float(node.required(index).array().reshape(()))


def _infer_average(node: Node) -> list[Info]:
    demand_grids(node)
    x, window = node.required(X), Window.of(node, node.attribute("kernel_shape"))
    sizes = [pool_size(node, own, size) for own, size in window.by_axis(x.dims[2:])]
    return [node.result((*x.dims[:2], *sizes), node.required(Y_ZERO).dtype)]


def _infer_global(node: Node) -> list[Info]:
    demand_grids(node)
    x = node.required(X)
    if not 3 <= x.rank <= 5:
        raise OnHost(f"images of {x.rank} axes")
    return [node.result((*x.dims[:2], *[1] * (x.rank - 2)), node.required(Y_ZERO).dtype)]


def _lower_average(emit: Emission, node: Node) -> None:
    window = Window.of(node, node.attribute("kernel_shape"))
    _emit(emit, node, window, COUNTING[node.attribute("count_include_pad", 0)])


def _lower_global(emit: Emission, node: Node) -> None:
    sizes = node.required(X).dims[2:]
    emit.check_some(product(sizes), product(node.required(X).dims[:2]), "means")
    own = (Along(size) for size in sizes)  # type: ignore[arg-type]
    _emit(emit, node, Window(*[Along()] * (3 - len(sizes)), *own), COUNTING[0])


def _emit(emit: Emission, node: Node, window: Window, counting: str) -> None:
    x, y = images(emit, node)
    parameters = (0, 1, 1)
    if isinstance(window.columns.taps, int):
        parameters = window_parameters(window, height_width(y.shape)[1])
    ratio = np.float32(number(node, X_SCALE)) / np.float32(number(node, Y_SCALE))
    fields = window_fields(window) | sum_fields(window, counting)
    fields |= {
        "ratio": float(ratio), "x_zero": int(number(node, X_ZERO)),
        "y_zero": int(number(node, Y_ZERO)),
    }  # fmt: skip
    kernel = average_pool_bytes(short_name(x.dtype), short_name(y.dtype), *parameters)
    emit_pool(emit, kernel, window, x, y, fields)


register(
    "QLinearAveragePool",
    Operator(
        rules=(checks.window,), infer=_infer_average, lower=_lower_average, layout="channels_last"
    ),
    "com.microsoft",
)
register(
    "QLinearGlobalAveragePool",
    Operator(infer=_infer_global, lower=_lower_global, layout="channels_last"),
    "com.microsoft",
)
