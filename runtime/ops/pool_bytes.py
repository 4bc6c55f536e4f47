"""com.microsoft's QLinearAveragePool and QLinearGlobalAveragePool: bytes in, bytes out.

No model has them when it is lowered: importers write them as the standard has it, with floats
between DequantizeLinear and QuantizeLinear, and `optimizer.byte_operators` finds these again, also
in models that were written so.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ...kernels.cpu.mean_bytes import CHANNELS, mean_bytes
from ...kernels.cpu.pool import COUNTING
from ...kernels.cpu.pool_bytes import average_pool_bytes
from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..symbolic import product
from ..tensors import Tensor, short_name
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
    counting = COUNTING[node.attribute("count_include_pad", 0)]
    _emit(emit, node, window, counting, *images(emit, node))


def _lower_global(emit: Emission, node: Node) -> None:
    sizes = node.required(X).dims[2:]
    emit.check_some(product(sizes), product(node.required(X).dims[:2]), "means")
    x, y = images(emit, node)
    if _is_even(x):
        _emit_means(emit, node, x, y)
        return
    own = (Along(size) for size in sizes)  # type: ignore[arg-type]
    _emit(emit, node, Window(*[Along()] * (3 - len(sizes)), *own), COUNTING[0], x, y)


def _is_even(x: Tensor) -> bool:
    """Tell whether the pixels of an image are as far apart as two of a row, and fill vectors."""
    channels, spatial = x.shape[1], list(zip(x.shape, x.strides, strict=True))[2:]
    if not isinstance(channels, int) or channels < CHANNELS or x.strides[1] != 1:
        return False
    return all(
        above == product([size, step])
        for (_, above), (size, step) in itertools.pairwise(spatial)
    )  # fmt: skip


def _emit_means(emit: Emission, node: Node, x: Tensor, y: Tensor) -> None:
    """Emit means of all pixels."""
    emit.step(
        mean_bytes(short_name(x.dtype), short_name(y.dtype)),
        outputs=[y],
        flops=product(x.shape),
        x=x, y=y, images=x.shape[0], channels=x.shape[1], pixels=product(x.shape[2:]),
        x_image=x.strides[0], x_pixel=x.strides[-1], y_image=y.strides[0], **_grids(node),
    )  # fmt: skip


def _emit(emit: Emission, node: Node, window: Window, counting: str, x: Tensor, y: Tensor) -> None:
    parameters = (0, 1, 1)
    if isinstance(window.columns.taps, int):
        parameters = window_parameters(window, height_width(y.shape)[1])
    fields = window_fields(window) | sum_fields(window, counting) | _grids(node)
    kernel = average_pool_bytes(short_name(x.dtype), short_name(y.dtype), *parameters)
    emit_pool(emit, kernel, window, x, y, fields)


def _grids(node: Node) -> dict[str, Any]:
    """Fields of scales and zero points."""
    ratio = np.float32(number(node, X_SCALE)) / np.float32(number(node, Y_SCALE))
    zeros = {"x_zero": int(number(node, X_ZERO)), "y_zero": int(number(node, Y_ZERO))}
    return {"ratio": float(ratio), **zeros}


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
