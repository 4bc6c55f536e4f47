"""Products and convolutions of integers of 8 bits, exact in int32, and what they give quantized.

Operands lose their zero points when they become pairs of int16 (``kernels.cpu.pairs``): one form
for all types and zero points. Convolutions and products of pairs are those of words, whose
channels or sums are half as many.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import InvalidModel
from ...kernels.cpu.pairs import pair_columns, pair_rows, paired
from ..emission import Emission
from ..graph import Info, Node, OnHost
from ..groups import Group
from ..strides import channels_last_order
from ..symbolic import Dim, product
from ..tensors import Tensor, short_name
from . import checks
from .convolution import Convolution
from .depthwise import emit_depthwise
from .direct import emit_direct
from .matmul import as_matrices, emit_product, product_dims
from .pointwise import emit_expression
from .quantization import quantized
from .registry import Operator, register
from .terms import Term, call
from .windows import Window, height_width

_BYTES = ("int8", "uint8")
_EXACT_TAPS = (1 << 24) // 255**2
"""Products of numbers of 9 bits with whose sums float32 is exact."""


def _demand_bytes(*infos: Info) -> None:
    for info in infos:
        if info.dtype not in _BYTES:
            raise OnHost(f"products of {info.dtype}")


def _halved(size: Dim) -> Dim:
    """Words that hold so many numbers."""
    return (size + 1) // 2


# --- operands as pairs ------------------------------------------------------------------------


def _row_pairs(emit: Emission, a: Tensor, zero: Tensor | None) -> Tensor:
    """Emit pairs of matrices (..., rows, depth), with one zero point or one for each row."""
    a = emit.ordered(a)
    # Projections of one tensor share its pairs.
    form = ("pairs", *(() if zero is None else (zero.buffer, zero.offset)))
    return emit.once(a, form, lambda: _make_row_pairs(emit, a, zero))


def _make_row_pairs(emit: Emission, a: Tensor, zero: Tensor | None) -> Tensor:
    *rows, depth = a.shape
    words = emit.new((*rows, _halved(depth)), "int32", name=a.name)
    several = zero is not None and zero.size != 1
    if zero is not None and several:
        column = zero if len(zero.shape) > 1 else zero.view((*zero.shape, 1), (*zero.strides, 1))
        zero = _repeated(emit, column, (*rows, 1))
    emit.step(
        pair_rows(short_name(a.dtype)), outputs=[words], op_type="Pairs", x=a, zero=zero, y=words,
        images=1, rows=product(rows), groups=1, channels=depth, x_image=0, x_row=depth,
        zero_step=int(several),
    )  # fmt: skip
    return words


def _repeated(emit: Emission, tensor: Tensor, shape: tuple[Dim, ...]) -> Tensor:
    """Return a tensor broadcast to a shape, dense."""
    target = emit.new(shape, tensor.dtype, name=tensor.name)
    emit_expression(emit, "x0", target, [tensor])
    return target


def _column_pairs(
    emit: Emission, node: Node, index: int, zero: Info | None, zero_index: int
) -> np.ndarray | Tensor:
    """Pairs of matrices (..., depth, columns), with one zero point or one for each column."""
    info = node.required(index)
    if info.is_constant and (zero is None or zero.is_constant):
        matrices = info.array().astype(np.int16)
        return paired(matrices if zero is None else matrices - _points(zero), -2)
    b = emit.tensor(node.values[index])
    *batch, depth, columns = b.shape
    if len(batch) > 1 or (zero is not None and zero.rank > 1):
        b = emit.ordered(b)
    words = emit.new((*batch, _halved(depth), columns), "int32", name=b.name)
    points: Tensor | None = None
    if zero is not None:
        points = emit.tensor(node.values[zero_index])
        if points.size != 1:
            points = _repeated(emit, points, (*batch, 1, columns))
    several = points is not None and points.size != 1
    image = b.strides[0] if len(batch) == 1 else depth * columns
    emit.step(
        pair_columns(short_name(b.dtype)), outputs=[words], op_type="Pairs", x=b, zero=points,
        y=words, images=product(batch), depth=depth, columns=columns, x_image=image,
        x_row=b.strides[-2], x_column=b.strides[-1], zero_image=columns if several else 0,
        zero_column=int(several),
    )  # fmt: skip
    return words


def _points(zero: Info) -> np.ndarray:
    """Zero points as numbers that 8-bit ones are taken from."""
    points: np.ndarray = zero.array().astype(np.int16)
    return points.reshape(()) if points.size == 1 else points


# --- MatMulInteger and QLinearMatMul ----------------------------------------------------------


def _infer_matmul(node: Node) -> list[Info]:
    a, b = node.required(0), node.required(1)
    _demand_bytes(a, b)
    return [node.result(_matmul_dims(node, a, b, node.input(2), node.input(3)), "int32")]


def _matmul_dims(
    node: Node, a: Info, b: Info, a_zero: Info | None, b_zero: Info | None
) -> tuple[Dim, ...]:
    for info, zero in ((a, a_zero), (b, b_zero)):
        if zero is not None and zero.rank and zero.dims != (1,) and info.rank < 2:
            raise OnHost("zero points of the elements of a vector")
    return product_dims(node, a, b)


def _lower_matmul(emit: Emission, node: Node) -> None:
    _emit_sums(emit, node, (0, 2), (1, 3), emit.output(node))


def _emit_sums(
    emit: Emission, node: Node, left: tuple[int, int], right: tuple[int, int], y: Tensor
) -> None:
    """Emit the int32 product of two operands, given by their inputs and those of zero points."""
    a, b = emit.tensor(node.values[left[0]]), node.required(right[0])
    message = f"node {node.name!r} ({node.op_type}): columns of {a.name!r} and rows of {b.name!r}"
    emit.check(a.shape[-1], b.dims[-2] if b.rank > 1 else b.dims[0], message)
    zero = None if node.input(left[1]) is None else emit.tensor(node.values[left[1]])
    if b.rank == 1:
        words: np.ndarray | Tensor = _vector_pairs(emit, node, right)
    else:
        words = _column_pairs(emit, node, right[0], node.input(right[1]), right[1])
    pairs = _row_pairs(emit, a, zero)
    emit_product(emit, node, *as_matrices(pairs, words, y), kind="i16")


def _vector_pairs(emit: Emission, node: Node, right: tuple[int, int]) -> Tensor:
    """Pairs of a vector, which is summed along its only axis."""
    zero = None if node.input(right[1]) is None else emit.tensor(node.values[right[1]])
    return _row_pairs(emit, emit.tensor(node.values[right[0]]), zero)


def _infer_linear_matmul(node: Node) -> list[Info]:
    a, b, y_zero = node.required(0), node.required(3), node.required(7)
    _demand_bytes(a, b, y_zero)
    _demand_scales(node, (1, 4, 6))
    dims = _matmul_dims(node, a, b, node.input(2), node.input(5))
    return [node.result(dims, y_zero.dtype)]


def _lower_linear_matmul(emit: Emission, node: Node) -> None:
    y = emit.output(node)
    sums = emit.new(y.shape, "int32", name=y.name)
    _emit_sums(emit, node, (0, 2), (3, 5), sums)
    by_row = node.required(1)
    scale = emit.tensor(node.values[1])
    if by_row.rank == 1 and by_row.dims != (1,):
        scale = scale.view((*scale.shape, 1), (*scale.strides, 1))
    others = [emit.tensor(node.values[i]) for i in (4, 6, 7)]
    _emit_quantized(emit, sums, y, [scale, *others], None)


# --- ConvInteger and QLinearConv --------------------------------------------------------------


def _infer_conv(node: Node) -> list[Info]:
    return [node.result(_conv_dims(node, 1, node.input(2), node.input(3)), "int32")]


def _conv_dims(
    node: Node, w_index: int, x_zero: Info | None, w_zero: Info | None
) -> tuple[Dim, ...]:
    x, w = node.required(0), node.required(w_index)
    _demand_bytes(x, w)
    if not w.is_constant or (w_zero is not None and not w_zero.is_constant):
        raise OnHost("the weights are not constant")
    if x_zero is not None and product(x_zero.dims) != 1:
        raise OnHost("several zero points of the input")
    window = Window.of(node, w.dims[2:])
    height, width = height_width(x.dims)
    spatial = [window.size(0, height), window.size(1, width)][-(x.rank - 2) :]
    if 0 in spatial or 0 in w.dims:
        raise OnHost("an empty result")
    return (x.dims[0], w.dims[0], *spatial)


def _lower_conv(emit: Emission, node: Node) -> None:
    order = channels_last_order(node.infos[0].rank)
    y = emit.output(node, order=order)
    conv = _as_floats(emit, node, (0, 2), (1, 3))
    if conv is None:
        _emit_conv_sums(emit, node, (0, 2), (1, 3), y, None)
    else:
        emit_depthwise(emit, conv)
        emit_expression(emit, "to_i32(x0)", y, [conv.output], order)


def _emit_conv_sums(
    emit: Emission,
    node: Node,
    image: tuple[int, int],
    filters: tuple[int, int],
    y: Tensor,
    bias: Tensor | None,
) -> None:
    """Emit the int32 convolution of operands given by their inputs and those of zero points."""
    groups, channels = node.attribute("group", 1), node.required(filters[0]).dims[1]
    x, zero = _image(emit, node, image, channels * groups)
    conv = Convolution(
        group=Group([node], node),
        kind="i16",
        x=_pixel_pairs(emit, x, zero, groups, channels),
        y=y,
        output=y,
        weights=paired(_filters(node, *filters), 1),
        window=Window.of(node, node.required(filters[0]).dims[2:]),
        groups=groups,
        bias=bias,
    )
    emit_direct(emit, conv.turned() if conv.is_column else conv)


def _as_floats(
    emit: Emission, node: Node, image: tuple[int, int], filters: tuple[int, int]
) -> Convolution | None:
    """Emit the operands of a depthwise convolution as float32, which holds its sums exactly.

    None for other convolutions, and for windows whose sums may need more digits.
    """
    weights, groups = _filters(node, *filters), node.attribute("group", 1)
    if groups == 1 or weights.shape[:2] != (groups, 1) or weights[0].size > _EXACT_TAPS:
        return None
    x, zero = _image(emit, node, image, groups)
    order = channels_last_order(len(x.shape))
    floats = emit.new(x.shape, "float32", order, x.name)
    text = call("to_f32", Term("x0"))
    text = text if zero is None else text - call("to_f32", Term("x1"))
    emit_expression(emit, text.text, floats, [x] if zero is None else [x, zero], order)
    y = emit.new(node.infos[0].dims, "float32", order, node.infos[0].name)
    return Convolution(
        group=Group([node], node),
        x=floats,
        y=y,
        output=y,
        weights=weights.astype(np.float32),
        window=Window.of(node, node.required(filters[0]).dims[2:]),
        groups=groups,
    )


def _image(
    emit: Emission, node: Node, image: tuple[int, int], channels: Dim
) -> tuple[Tensor, Tensor | None]:
    """Return an image, channels last, and its zero point."""
    x = emit.channels_last(emit.tensor(node.values[image[0]]))
    message = f"node {node.name!r} ({node.op_type}): channels of {x.name!r} and of the weights"
    emit.check(x.shape[1], channels, message)
    zero = None if node.input(image[1]) is None else emit.tensor(node.values[image[1]])
    return x, zero


def _filters(node: Node, index: int, zero_index: int) -> np.ndarray:
    """Weights (M, C / groups, kh, kw) without zero points, as int16."""
    weights, zero = node.required(index).array().astype(np.int16), node.input(zero_index)
    if zero is not None:
        points = zero.array().astype(np.int16).reshape(-1)
        if points.size not in (1, weights.shape[0]):
            raise InvalidModel(
                f"node {node.name!r} ({node.op_type}): {zero.name!r} has {points.size} zero "
                f"points, expected 1 or {weights.shape[0]}"
            )
        weights = weights - points.reshape(-1, *[1] * (weights.ndim - 1))
    return weights[:, :, None, :] if weights.ndim == 3 else weights


def _pixel_pairs(
    emit: Emission, x: Tensor, zero: Tensor | None, groups: int, channels: Dim
) -> Tensor:
    """Emit pairs of the channels of each pixel of a channels-last image."""
    images, *spatial = x.shape[0], *x.shape[2:]
    rows, pixel = product(spatial), x.strides[-1]
    if x.strides[0] != rows * pixel or (len(spatial) == 2 and x.strides[2] != spatial[1] * pixel):
        x = emit.ordered(x, channels_last_order(len(x.shape)))
        pixel = x.shape[1]
    shape = (images, groups * _halved(channels), *spatial)
    words = emit.new(shape, "int32", channels_last_order(len(x.shape)), x.name)
    emit.step(
        pair_rows(short_name(x.dtype)), outputs=[words], op_type="Pairs", x=x, zero=zero, y=words,
        images=images, rows=rows, groups=groups, channels=channels, x_image=rows * pixel,
        x_row=pixel, zero_step=0,
    )  # fmt: skip
    return words


def _infer_linear_conv(node: Node) -> list[Info]:
    y_zero = node.required(7)
    _demand_bytes(y_zero)
    _demand_scales(node, (1, 4, 6))
    if product(node.required(1).dims) != 1 or product(node.required(6).dims) != 1:
        raise OnHost("several scales of the input or the result")
    return [node.result(_conv_dims(node, 3, node.input(2), node.input(5)), y_zero.dtype)]


def _lower_linear_conv(emit: Emission, node: Node) -> None:
    order = channels_last_order(node.infos[0].rank)
    y = emit.output(node, order=order)
    bias = node.input(8)
    if bias is not None:
        message = f"node {node.name!r} (QLinearConv): elements of {bias.name!r} and channels"
        emit.check(product(bias.dims), y.shape[1], message)
    own = None if bias is None else emit.ordered(emit.tensor(node.values[8]))
    conv = _as_floats(emit, node, (0, 2), (3, 5))
    if conv is None:
        sums = emit.new(y.shape, "int32", order, y.name)
        _emit_conv_sums(emit, node, (0, 2), (3, 5), sums, own)
        own = None
    else:
        sums = conv.output
        emit_depthwise(emit, conv)
    scales = [emit.tensor(node.values[i]) for i in (1, 4, 6)]
    zero = emit.tensor(node.values[7])
    scales[1] = _by_channel(scales[1], y)
    biases = [] if own is None else [_by_channel(own, y)]
    _emit_quantized(emit, sums, y, [*scales, zero, *biases], order)


def _by_channel(values: Tensor, y: Tensor) -> Tensor:
    """Return one number, or one for each channel, as a tensor that broadcasts to images."""
    if values.size == 1:
        return values
    after = len(y.shape) - 2
    return values.view((*values.shape, *[1] * after), (*values.strides, *[0] * after))


# --- results of quantized operators -----------------------------------------------------------


def _demand_scales(node: Node, indices: tuple[int, ...]) -> None:
    for index in indices:
        if node.required(index).dtype != "float32":
            raise OnHost(f"a scale of {node.required(index).dtype}")


def _emit_quantized(
    emit: Emission, sums: Tensor, y: Tensor, operands: list[Tensor], order: Any
) -> None:
    """Emit the result of whole sums.

    Operands are two scales, that of the result, its zero point, and perhaps a bias.
    """
    x, left, right, scale, zero, *bias = (Term(f"x{i}") for i in range(len(operands) + 1))
    whole = x if not bias else call("to_i32", x) + bias[0]
    value = call("to_f32", whole) * (left * right / scale)
    text = quantized(value, zero, y.dtype).text
    emit_expression(emit, text, y, [sums, *operands], order, operations=5)


def _check_conv(node: Node) -> None:
    checks.convolution(node, bias_at=len(node.inputs))


def _check_linear_conv(node: Node) -> None:
    checks.convolution(node, 3, 8)


register("MatMulInteger", Operator(infer=_infer_matmul, lower=_lower_matmul))
register("QLinearMatMul", Operator(infer=_infer_linear_matmul, lower=_lower_linear_matmul))
register(
    "ConvInteger",
    Operator(rules=(_check_conv,), infer=_infer_conv, lower=_lower_conv, layout="channels_last"),
)
register(
    "QLinearConv",
    Operator(
        rules=(_check_linear_conv,),
        infer=_infer_linear_conv,
        lower=_lower_linear_conv,
        layout="channels_last",
    ),
)
