"""Convolutions on a GPU by large tiles: on tensor cores, or by multiply-adds where exact.

Those of one pixel are products of matrices. Images of few channels take multiply-adds, whatever the
precision: tensor cores read 16 bytes of a pixel at a time.
"""

from __future__ import annotations

import numpy as np

from ....kernels.cuda.tensor_cores.epilogue import Epilogue
from ....kernels.cuda.tensor_cores.steps import convolution_step
from ....kernels.cuda.tensor_cores.tiles import Result
from ...emission import Emission
from ...ops.convolution import Convolution
from ...ops.windows import height_width, image_strides
from ...symbolic import Dim, product
from ...tensors import Record, Tensor
from .behind import VECTOR_BYTES, Behind, is_multiple
from .tensor_product import emit_tensor_product
from .tensor_tiles import as_multiplied, element_for, is_worth, tile_for

_SIZE = 4
"""Bytes of an element of a result."""
_RESULTS: dict[str, Result] = {"float32": "f32", "int32": "i32"}


def emit_tensor_convolution(emit: Emission, conv: Convolution, behind: Behind) -> bool:
    """Emit a convolution and what follows it; tells whether there is a kernel for it.

    It is one of float32, or of bytes and int8 whose sums are int32.
    """
    x, y, window = conv.x, conv.y, conv.window
    if len(x.shape) > 4 or conv.channels == 1 or x.dtype not in ("float32", "int8", "uint8"):
        return False
    if isinstance(conv.weights, Tensor) and conv.weights.shape[0] != conv.groups:
        return False  # each image has weights of its own
    order = [0, *range(2, len(y.shape)), 1]
    behind = behind.like(emit, y, order)
    weights = _weights(emit, conv)
    right, left = _as_rows(y, order), _as_rows(x, order)
    if conv.groups == 1 and window.is_one_pixel and _has_no_steps(conv):
        matrix = weights.view((conv.channels, conv.out_channels), (1, conv.channels))
        return emit_tensor_product(emit, left, matrix, right, conv.bias, behind)
    return _emit_windows(emit, conv, weights, right, behind)


def _has_no_steps(conv: Convolution) -> bool:
    """Tell whether pixels of the result are those of the image."""
    return all(
        along.stride == 1 and not along.is_padded
        for along in (conv.window.rows, conv.window.columns)
    )


def _as_rows(image: Tensor, order: list[int]) -> Tensor:
    return image.view([image.shape[a] for a in order], [image.strides[a] for a in order])


def _weights(emit: Emission, conv: Convolution) -> Tensor:
    """Weights filter by filter, tap by tap, channel by channel."""
    w = conv.weights
    if isinstance(w, np.ndarray):
        return emit.constant(
            as_multiplied(emit, w.transpose(0, 2, 3, 4, 1)), f"{conv.name}.weights"
        )
    return emit.ordered(w, (0, 1, 3, 4, 5, 2))


def _emit_windows(
    emit: Emission, conv: Convolution, weights: Tensor, y: Tensor, behind: Behind
) -> bool:
    x, window, groups = conv.x, conv.window, conv.groups
    filters, depth = conv.out_channels, conv.sum_length
    pixels = product(y.shape[:-1])
    (height, width), (out_height, out_width) = height_width(x.shape), height_width(conv.y.shape)
    x_pixel, y_pixel = (_pixel_step(image) for image in (x, conv.y))
    if x_pixel is None or y_pixel is None or not is_worth((pixels, filters, depth)):
        return False
    after = _epilogue(emit, conv, y, behind, filters)
    if after is None:
        return False
    epilogue, record = after
    element, size = element_for(emit, x, weights, y), x.itemsize
    places = x.offset, size * x_pixel, size * conv.channels
    if not all(is_multiple(place, VECTOR_BYTES) for place in places):
        element = None
    if x.dtype != "float32" and element is None:
        return False
    is_aligned = all(
        is_multiple(size, VECTOR_BYTES)
        for size in (y.offset, _SIZE * y_pixel, _SIZE * filters if groups > 1 else 0)
    )
    sizes = pixels, filters, depth
    if element is not None and not is_aligned:
        return False
    tile = tile_for(emit, element, sizes, "nk", is_aligned, _RESULTS[y.dtype], False)
    kernel = convolution_step(tile, epilogue)
    if kernel is None:
        return False
    emit.step(
        kernel,
        outputs=[conv.output],
        flops=2 * product(y.shape) * depth,
        x=x, w=weights, y=y, bias=conv.bias, operands=record, pad=_padding(emit, conv),
        images=x.shape[0], height=height, width=width, channels=conv.channels, filters=filters,
        out_height=out_height, out_width=out_width,
        kernel_height=window.rows.taps, kernel_width=window.columns.taps,
        stride_y=window.rows.stride, stride_x=window.columns.stride,
        dilation_y=window.rows.dilation, dilation_x=window.columns.dilation,
        pad_y=window.rows.before, pad_x=window.columns.before,
        x_pixel=size * x_pixel, y_pixel=_SIZE * y_pixel, groups=groups,
    )  # fmt: skip
    return True


def _padding(emit: Emission, conv: Convolution) -> Tensor | int:
    """Return 16 bytes of the number that lies beyond the image, where that is not zero."""
    if conv.pad is None:
        return 0
    stored = emit.program.stored(conv.pad)
    assert stored is not None, "the zero point is a constant"
    return emit.constant(np.full(VECTOR_BYTES, stored.reshape(-1)[0], conv.x.dtype))


def _pixel_step(image: Tensor) -> Dim | None:
    """Return the elements from pixel to pixel, if they lie evenly over rows and images."""
    apart, row, pixel = image_strides(image)
    height, width = height_width(image.shape)
    is_even = (height == 1 or row == width * pixel) and (
        image.shape[0] == 1 or apart == height * width * pixel
    )
    return pixel if is_even and image.strides[1] == 1 else None


def _epilogue(
    emit: Emission, conv: Convolution, y: Tensor, behind: Behind, filters: Dim
) -> tuple[Epilogue, Record | int] | None:
    """Return the epilogue and the record of its operands, which have a step from group to group."""
    pixels, rows, columns = y.shape[:-1], [], []
    for steps in behind.strides(emit, y):
        # One step from pixel to pixel, of the result and of the operand.
        *outer, last = steps[:-1]
        size = pixels[-1]
        for step, count in zip(reversed(outer), reversed(pixels[:-1]), strict=True):
            if count != 1 and step != last * size:
                return None
            size = size * count
        columns.append(steps[-1])
        rows.append((last, filters * steps[-1], 0))
    return behind.epilogue(conv.bias, columns, rows)
