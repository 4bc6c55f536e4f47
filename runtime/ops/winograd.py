"""Winograd's form of a convolution: where it is legal, where it pays, and its step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...kernels.cpu import cook_toom, packing, winograd_bytes
from ...kernels.cpu.pairs import unjoined
from ...kernels.cpu.winograd import winograd, workspace_bytes
from ...kernels.cpu.winograd_halves import winograd_half_input, winograd_half_output
from ...kernels.cpu.winograd_tiles import winograd_input, winograd_output
from ...kernels.machine_costs import machine_costs
from ...kernels.registry import Kernel
from ...kernels.target import L2_BYTES
from ..emission import Emission
from ..symbolic import Dim, ceil_divide, product
from ..tensors import Tensor
from .convolution import Convolution
from .pooled import absorb_pool
from .quads import channel_words
from .tiles import tile_fields
from .windows import (
    depth_fields,
    height_width,
    pair_fields,
    size_fields,
    slices_of,
    stride_fields,
)
from .winograd_costs import Layer, choose, counts, gain, tiles_of

# Bytes of points and products that are worked on at a time, and the fewest tiles: fewer would
# not use the weights often enough.
_BLOCK_BYTES = 2 * L2_BYTES
_LEAST_TILES = 64
# Stands for a size that is known only when the model runs.
_SIZE = 64


def legal_forms(emit: Emission, conv: Convolution) -> list[tuple[int, int]]:
    """Pixels of a tile in every form a convolution may take; none where it has to be direct.

    Those of bytes are exact where no result is beyond a limit, and else not there.
    """
    window = conv.window
    if conv.kind not in ("f32", "u8") or window.dilations != (1, 1):
        return []
    if conv.kind == "u8":
        forms, most = tiles_of(window.kernel, window.strides, "u8"), _most_sum(conv)
        return [tile for tile in forms if most < winograd_bytes.most_sum(tile)]
    if emit.options["precision"] == "strict":
        return []
    return tiles_of(window.kernel, window.strides)


def _most_sum(conv: Convolution) -> int:
    """Return what a sum of products with unsigned bytes is at most, either side of zero."""
    weights = unjoined(conv.filters, 1).reshape(len(conv.filters), -1)
    above = np.maximum(weights, 0).sum(1, dtype=np.int64).max(initial=0)
    below = -np.minimum(weights, 0).sum(1, dtype=np.int64).min(initial=0)
    return int(max(above, below)) * np.iinfo(np.uint8).max


def form_of(emit: Emission, conv: Convolution, speed: float = 1.0) -> tuple[int, int] | None:
    """Choose the form of a convolution by cost; None for the direct one, of a ``speed``."""
    legal = legal_forms(emit, conv)
    if not legal:
        return None
    kernel, strides, channels, out_channels, groups, slices, kind = _layer(conv)
    size = _known_sizes(conv)
    best = choose(kernel, size, channels, out_channels, groups, strides, slices, speed, kind)
    return best if best in legal else None


def gain_of(emit: Emission, conv: Convolution) -> float:
    """Return how many times as fast as the direct convolution the cheapest form is."""
    if not legal_forms(emit, conv):
        return 1.0
    kernel, strides, channels, out_channels, groups, *_ = _layer(conv)
    return gain(kernel, _known_sizes(conv), channels, out_channels, groups, strides)


def _known_sizes(conv: Convolution) -> tuple[int, int, int]:
    """Sizes of an output, of which a run may tell some."""
    images, *sizes = _sizes(conv)
    height, width = (size if isinstance(size, int) else _SIZE for size in sizes)
    return images if isinstance(images, int) else 1, height, width


def pays(conv: Convolution, tile: tuple[int, int]) -> Dim:
    """Return 1 where a form costs less than the direct one at the sizes of a run, else 0."""
    layer, (images, *sizes) = _layer(conv), _sizes(conv)
    tiles = images * product(ceil_divide(size, m) for size, m in zip(sizes, tile, strict=True))
    return layer.prefer(tile, tiles, images * product(sizes))


def _sizes(conv: Convolution) -> tuple[Dim, Dim, Dim]:
    """Return the images (or slices of volumes), rows and columns of an output."""
    return conv.y.shape[0] * slices_of(conv.y.shape), *height_width(conv.y.shape)


def _layer(conv: Convolution) -> Layer:
    out_channels, channels = conv.filters.shape[0] // conv.groups, conv.filters.shape[1]
    kernel, strides, slices = conv.window.kernel, conv.window.strides, conv.window.depth.taps
    return Layer(kernel, strides, channels, out_channels, conv.groups, slices, conv.kind)


class _Points(NamedTuple):
    """Points of a form: their weights (matrices, C, M), and the kernels that transform to and back.

    ``kind`` is that of their products (``arithmetic``); a word of the image has ``spread`` words.
    """

    weights: np.ndarray
    kind: str
    spread: int
    inward: Kernel
    outward: Kernel


def emit_winograd(emit: Emission, conv: Convolution, tile: tuple[int, int]) -> None:
    """Emit a convolution by tiles of so many rows and columns of pixels.

    A pooling that is all that takes the result is done in the same step.
    """
    kernel, strides = conv.window.kernel, conv.window.strides
    pool = absorb_pool(emit, conv, tile)
    pixels = 1 if pool is None else pool.pixels
    y, outputs = (conv.y, conv.outputs) if pool is None else (pool.y, [pool.y])
    x = _image(emit, conv)
    points = _points(conv, tile, pixels, x)
    channels, out_channels = points.weights.shape[1] * conv.groups, conv.filters.shape[0]
    blocks = _blocks(conv, tile, points)
    packed = packing.pack_points(points.weights, conv.groups, blocks["nv"])
    space = workspace_bytes(blocks["block"], tile, kernel, strides, channels, out_channels)
    emit.step(
        winograd,
        outputs=outputs,
        nodes=() if pool is None else [*conv.group.nodes, pool.node],
        flops=conv.flops,
        x=x, y=y, residual=conv.residual, bias=conv.bias,
        w=emit.constant(packed, f"{conv.name}.weights"), pad=conv.pad, spread=points.spread,
        channels=channels // conv.groups, out_channels=conv.out_channels, groups=conv.groups,
        pad_top=conv.window.rows.before, pad_left=conv.window.columns.before, pool=pixels,
        inward=points.inward, outward=points.outward,
        workspace=emit.workspace(space), workspace_bytes=space,
        **pair_fields("tile", tile), **pair_fields("kernel", kernel),
        **pair_fields("stride", strides), **size_fields(x, conv.y),
        **stride_fields("x", x), **stride_fields("y", y),
        **stride_fields("r", conv.residual),
        **depth_fields(conv.window, x, y, conv.residual), **blocks, **conv.epilogue.fields(),
        **conv.epilogue.scaled_fields(),
    )  # fmt: skip


def _image(emit: Emission, conv: Convolution) -> Tensor:
    """Return what a convolution reads: words of two channels where these lie as bfloat16."""
    if conv.x.dtype != "bfloat16":
        return conv.x
    return channel_words(conv.x) or emit.as_type(conv.x, "float32")


def _points(conv: Convolution, tile: tuple[int, int], pool: int, x: Tensor) -> _Points:
    kernel, strides = conv.window.kernel, conv.window.strides
    by_tap = [conv.filters[:, :, tap] for tap in range(conv.window.depth.taps)]
    if conv.kind == "u8":
        weights = [winograd_bytes.transform_filters(unjoined(each, 1), tile) for each in by_tap]
        inward = winograd_bytes.winograd_byte_input(*tile)
        outward = winograd_bytes.winograd_sum_output(*tile, conv.epilogue.ending)
        return _Points(np.concatenate(weights), "i16", 2, inward, outward)
    weights = [cook_toom.transform_weights(each, tile, strides) for each in by_tap]
    is_half = x.dtype == "int32"
    make_inward = winograd_half_input if is_half else winograd_input
    make_outward = winograd_half_output if conv.epilogue.halves else winograd_output
    inward = make_inward(*tile, *kernel, *strides)
    outward = make_outward(*tile, *kernel, *strides, pool)
    return _Points(np.concatenate(weights), "f32", 2 if is_half else 1, inward, outward)


def _blocks(conv: Convolution, tile: tuple[int, int], points: _Points) -> dict[str, Any]:
    """Fields of the products: the tiles of pixels of a block, and the tiles of the products."""
    out_channels, channels = conv.filters.shape[0], points.weights.shape[1]
    count, sums = counts(tile, conv.window.kernel, conv.window.strides)
    words = count * channels * conv.groups + sums * out_channels
    block = max(_LEAST_TILES, _BLOCK_BYTES // (words * 4))
    down, across = (
        ceil_divide(size, side) for size, side in zip(height_width(conv.y.shape), tile, strict=True)
    )
    of_image, images = slices_of(conv.y.shape) * down * across, conv.x.shape[0]
    if isinstance(images * of_image, int):
        block = min(block, images * of_image)
    usual = block
    if isinstance(of_image, int) and not isinstance(images, int):
        usual = min(block, of_image)  # for one image, as the form is chosen
    mr, nv = packing.choose_tile(usual, out_channels // conv.groups, channels, kind=points.kind)
    rows = set(range(1, mr + 1))
    fields = tile_fields(mr, nv, out_channels // conv.groups, rows, points.kind)
    # A multiply-add uses a vector of weights once.
    fetch = max(round(machine_costs().streams.uses_of_vector()), 1)
    return {"block": block, "fetch": fetch, **fields}
