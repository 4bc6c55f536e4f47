"""Non-maximum suppression: of boxes that overlap the one with the highest score is kept.

Each pair of an image and a class is on its own. Its boxes leave a heap by their scores and are
compared with those kept so far, a vector of these at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..registry import Pointer, kernel
from ..simd import (
    any_lane,
    load_f32,
    load_i32,
    load_i64,
    splat,
    stack_words,
    store_f32,
    store_i32,
    store_i64,
    vload,
    vload_first,
    vmax,
    vmin,
    vstore,
)
from ..target import LANES

_F = np.float32
LEFT, TOP, RIGHT, BOTTOM, AREA = range(5)
CORNERS = 5
"""Rows of what is known of boxes: low and high corner, area."""


@kernel
def box_corners(
    thread: int, part: int, until: int, parts: int, boxes: Pointer, corners: Pointer, images: int,
    count: int, is_centred: int,
) -> int:  # fmt: skip
    """Rewrite (images, count, 4) boxes as (images, CORNERS, count).

    Boxes are two corners in any order, vertical coordinates first, or center, width and height.
    """
    total = images * count
    for box in range(total * part // parts, total * until // parts):
        a, b = load_f32(boxes, 4 * box), load_f32(boxes, 4 * box + 1)
        c, d = load_f32(boxes, 4 * box + 2), load_f32(boxes, 4 * box + 3)
        if is_centred != 0:
            half_width, half_height = c / _F(2.0), d / _F(2.0)
            left, right = a - half_width, a + half_width
            top, bottom = b - half_height, b + half_height
        else:
            left, right, top, bottom = min(b, d), max(b, d), min(a, c), max(a, c)
        at = corners + (box // count * CORNERS * count + box % count) * 4
        store_f32(at, LEFT * count, left)
        store_f32(at, TOP * count, top)
        store_f32(at, RIGHT * count, right)
        store_f32(at, BOTTOM * count, bottom)
        store_f32(at, AREA * count, (right - left) * (bottom - top))
    return 0


@njit
def _rank(score: Any, box: int, bits: Pointer) -> Any:
    """Number that is the higher, the earlier a box is taken: by its score, then by its place."""
    store_f32(bits, 0, score + _F(0.0))
    number = np.int64(load_i32(bits, 0))
    number = number if number >= 0 else number ^ 0x7FFFFFFF
    lowest = np.int64(-(1 << 31))
    return ((number if score == score else lowest) << 32) | (0xFFFFFFFF - box)


@njit
def _candidates(scores: Pointer, count: int, threshold: Any, everything: int, heap: Pointer) -> Any:
    """Collect the boxes with a score above the threshold; returns their number."""
    bits, found, limit = stack_words(1), 0, splat(threshold)
    for first in range(0, count, LANES):
        lanes = min(count - first, LANES)
        if everything == 0 and not any_lane(vload_first(scores, first, lanes) > limit):
            continue  # lanes beyond the end are 0, and looked at again below
        for box in range(first, first + lanes):
            score = load_f32(scores, box)
            if everything != 0 or score > threshold:
                store_i64(heap, found, _rank(score, box, bits))
                found += 1
    return found


@njit
def _sink(heap: Pointer, root: int, count: int) -> None:
    value = load_i64(heap, root)
    while 2 * root + 1 < count:
        child = 2 * root + 1
        if child + 1 < count and load_i64(heap, child + 1) > load_i64(heap, child):
            child += 1
        if load_i64(heap, child) <= value:
            break
        store_i64(heap, root, load_i64(heap, child))
        root = child
    store_i64(heap, root, value)


@njit
def _is_suppressed(
    kept: Pointer, row: int, count: int, corners: Pointer, boxes: int, box: int, limit: Any
) -> Any:
    """Tell whether a box overlaps one of those kept, in rows of ``row`` elements, by too much."""
    left, right = load_f32(corners, LEFT * boxes + box), load_f32(corners, RIGHT * boxes + box)
    top, bottom = load_f32(corners, TOP * boxes + box), load_f32(corners, BOTTOM * boxes + box)
    area = load_f32(corners, AREA * boxes + box)
    if not area > _F(0.0):
        return False
    zero = splat(_F(0.0))
    for first in range(0, count, LANES):
        width = vmin(vload(kept, RIGHT * row + first), splat(right))
        width = width - vmax(vload(kept, LEFT * row + first), splat(left))
        height = vmin(vload(kept, BOTTOM * row + first), splat(bottom))
        height = height - vmax(vload(kept, TOP * row + first), splat(top))
        own = vload(kept, AREA * row + first)
        common = width * height
        union = splat(area) + own - common
        counts = (width > zero) & (height > zero) & (common > zero) & (own > zero) & (union > zero)
        if any_lane(counts & (common / union > splat(limit))):
            return True
    return False


@njit
def _keep(kept: Pointer, row: int, number: int, corners: Pointer, boxes: int, box: int) -> None:
    """Add a box to those kept; the rest of its vector overlaps nothing."""
    if number % LANES == 0:
        vstore(kept, AREA * row + number, splat(_F(0.0)))
    for i in range(CORNERS):
        store_f32(kept, i * row + number, load_f32(corners, i * boxes + box))


@kernel
def suppress(
    thread: int, part: int, until: int, parts: int, corners: Pointer, scores: Pointer, images: int,
    classes: int, boxes: int, limit: Pointer, overlap: Pointer, threshold: Pointer,
    everything: int, most: int, chosen: Pointer, counts: Pointer, workspace: Pointer,
    workspace_bytes: int,
) -> int:  # fmt: skip
    """chosen[image, class] = the boxes kept, at most ``limit`` and ``most``; counts: their number.

    ``scores`` are (images, classes, boxes); ``overlap`` is the intersection over union above which
    a box is suppressed. Without ``everything`` scores must be above ``threshold``. ``workspace``
    has room for the heap and the corners of those kept, for each thread.
    """
    heap = workspace + thread * workspace_bytes
    row = (most + LANES - 1) // LANES * LANES
    kept = heap + 8 * boxes
    wanted = min(max(load_i64(limit, 0), 0), most)
    largest, least = load_f32(overlap, 0), load_f32(threshold, 0)
    total = images * classes
    for pair in range(total * part // parts, total * until // parts):
        own = corners + pair // classes * CORNERS * boxes * 4
        found = 0
        if wanted > 0:
            found = _candidates(scores + pair * boxes * 4, boxes, least, everything, heap)
        for root in range(found // 2 - 1, -1, -1):
            _sink(heap, root, found)
        number = 0
        while found > 0 and number < wanted:
            box = 0xFFFFFFFF - (load_i64(heap, 0) & 0xFFFFFFFF)
            found -= 1
            store_i64(heap, 0, load_i64(heap, found))
            _sink(heap, 0, found)
            if not _is_suppressed(kept, row, number, own, boxes, box, largest):
                _keep(kept, row, number, own, boxes, box)
                store_i32(chosen, pair * most + number, np.int32(box))
                number += 1
        store_i64(counts, pair, number)
    return 0


@kernel
def chosen_boxes(
    thread: int, part: int, until: int, parts: int, chosen: Pointer, begins: Pointer, y: Pointer,
    images: int, classes: int, most: int,
) -> int:  # fmt: skip
    """y[begins[image, class] + i] = (image, class, the i-th box chosen), int64."""
    total = images * classes
    for pair in range(total * part // parts, total * until // parts):
        first = load_i64(begins, pair)
        for i in range(load_i64(begins, pair + 1) - first):
            store_i64(y, 3 * (first + i), pair // classes)
            store_i64(y, 3 * (first + i) + 1, pair % classes)
            store_i64(y, 3 * (first + i) + 2, np.int64(load_i32(chosen, pair * most + i)))
    return 0
