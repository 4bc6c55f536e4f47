"""Non-maximum suppression: of boxes that overlap the one with the highest score is kept.

A block of threads has the boxes of an image and a class. It finds the first of those that are left,
and strikes out what this one suppresses, until there are enough or none is left.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cpu.suppression import AREA, BOTTOM, CORNERS, LEFT, RIGHT, TOP
from ..fields import Pointer
from .blocks import I64_MAX
from .functions import device_function
from .kernel import Fields, Launch, Limits, cuda_kernel
from .launches import elements_of, over_scratches, over_tiles
from .memory import BITS_OF, LOAD, STORE, load_f32, load_i64, store_f32, store_i64
from .threads import cuda

_F = np.float32
_load_i32, _store_i32 = LOAD["i32"], STORE["i32"]
_STRUCK = -(1 << 63)
"""Rank of a box that is kept, suppressed, or no candidate."""


@cuda_kernel(elements_of("images", "count"))
def box_corners(
    boxes: Pointer, corners: Pointer, images: int, count: int, is_centred: int, status: Pointer
) -> None:
    """Rewrite (images, count, 4) boxes as (images, CORNERS, count), as the CPU's kernel does."""
    for box in range(cuda.grid(1), images * count, cuda.gridsize(1)):
        a, b = load_f32(boxes, 4 * box), load_f32(boxes, 4 * box + 1)
        c, d = load_f32(boxes, 4 * box + 2), load_f32(boxes, 4 * box + 3)
        left, right, top, bottom = min(b, d), max(b, d), min(a, c), max(a, c)
        if is_centred != 0:
            half_width, half_height = c / _F(2.0), d / _F(2.0)
            left, right = a - half_width, a + half_width
            top, bottom = b - half_height, b + half_height
        at = corners + (box // count * CORNERS * count + box % count) * 4
        store_f32(at, LEFT * count, left)
        store_f32(at, TOP * count, top)
        store_f32(at, RIGHT * count, right)
        store_f32(at, BOTTOM * count, bottom)
        store_f32(at, AREA * count, (right - left) * (bottom - top))


@device_function("int64")
def _rank(score: Any, box: Any) -> Any:
    """Return a number that is the higher, the earlier a box is taken: by score, then by place."""
    number = np.int64(np.int32(BITS_OF(_F(score + _F(0)))))
    if number < 0:
        number = number ^ 0x7FFFFFFF
    if score != score:
        number = np.int64(-(1 << 31))
    return number * 4294967296 + (0xFFFFFFFF - box)


@device_function("boolean")
def _overlaps(corners: Any, count: Any, one: Any, other: Any, limit: Any) -> Any:
    """Tell whether the intersection over the union of two boxes is above a limit."""
    width = min(load_f32(corners, RIGHT * count + one), load_f32(corners, RIGHT * count + other))
    width -= max(load_f32(corners, LEFT * count + one), load_f32(corners, LEFT * count + other))
    height = min(load_f32(corners, BOTTOM * count + one), load_f32(corners, BOTTOM * count + other))
    height -= max(load_f32(corners, TOP * count + one), load_f32(corners, TOP * count + other))
    area = load_f32(corners, AREA * count + one)
    own = load_f32(corners, AREA * count + other)
    common = width * height
    union = area + own - common
    counts = width > 0 and height > 0 and common > 0 and own > 0 and area > 0 and union > 0
    return counts and common / union > limit


def _pairs(f: Fields, limits: Limits) -> Launch:
    return over_scratches(f["images"] * f["classes"], limits)


@cuda_kernel(_pairs)
def suppress(
    corners: Pointer, scores: Pointer, images: int, classes: int, boxes: int, limit: Pointer,
    overlap: Pointer, threshold: Pointer, everything: int, most: int, chosen: Pointer,
    counts: Pointer, workspace: Pointer, workspace_bytes: int, status: Pointer,
) -> None:  # fmt: skip
    """chosen[image, class] = the boxes kept, at most ``limit`` and ``most``; counts: their number.

    The fields are those of the CPU's kernel, of whose workspace the ranks of boxes are a part.
    """
    ranks = workspace + cuda.blockIdx.x * workspace_bytes
    wanted = min(max(load_i64(limit, 0), 0), most)
    largest, least = load_f32(overlap, 0), load_f32(threshold, 0)
    for pair in range(cuda.blockIdx.x, images * classes, cuda.gridDim.x):
        own = corners + pair // classes * CORNERS * boxes * 4
        for box in range(cuda.threadIdx.x, boxes, cuda.blockDim.x):
            score = load_f32(scores, pair * boxes + box)
            is_candidate = everything != 0 or score > least
            store_i64(ranks, box, _rank(score, box) if is_candidate else _STRUCK)
        number, goes_on = 0, wanted > 0
        while goes_on:
            first = _STRUCK
            # Threads read and strike out what they have written themselves.
            for box in range(cuda.threadIdx.x, boxes, cuda.blockDim.x):
                first = max(first, load_i64(ranks, box))
            first = I64_MAX(first)
            goes_on = first != _STRUCK
            if goes_on:
                kept = 0xFFFFFFFF - (first & 0xFFFFFFFF)
                for box in range(cuda.threadIdx.x, boxes, cuda.blockDim.x):
                    if box == kept or _overlaps(own, boxes, kept, box, largest):
                        store_i64(ranks, box, _STRUCK)
                if cuda.threadIdx.x == 0:
                    _store_i32(chosen, pair * most + number, np.int32(kept))
                number += 1
                goes_on = number < wanted
        if cuda.threadIdx.x == 0:
            store_i64(counts, pair, number)


def _each_pair(f: Fields, limits: Limits) -> Launch:
    return over_tiles(f["images"] * f["classes"], limits.threads, limits)


@cuda_kernel(_each_pair)
def chosen_boxes(
    chosen: Pointer, begins: Pointer, y: Pointer, images: int, classes: int, most: int,
    status: Pointer,
) -> None:  # fmt: skip
    """y[begins[image, class] + i] = (image, class, the i-th box chosen), int64."""
    for pair in range(cuda.blockIdx.x, images * classes, cuda.gridDim.x):
        first = load_i64(begins, pair)
        count = load_i64(begins, pair + 1) - first
        for i in range(cuda.threadIdx.x, count, cuda.blockDim.x):
            store_i64(y, 3 * (first + i), pair // classes)
            store_i64(y, 3 * (first + i) + 1, pair % classes)
            store_i64(y, 3 * (first + i) + 2, np.int64(_load_i32(chosen, pair * most + i)))
