"""Ensembles of decision trees: rows walk trees, eight walks side by side.

A walk is a chain of dependent loads, so eight independent ones hide each other's latency: eight
rows in one tree, or for few rows one row in eight trees. They take steps without branches until
all eight have ended: the children of a node lie side by side, and the result of the comparison
selects one; a leaf is its own child.

A node has a threshold, the word of its feature, and the place of its first child, the one taken
where the comparison fails; places count words of 32 bits. A leaf fails every comparison. Where
nodes compare in several ways (``"any"``), the four lowest bits of the feature's word say whether
the second child is taken if the value is less than the threshold, equal, greater, or NaN. Where
they differ in NaN only, rows are copied so that each feature is there twice, the second time with
the lowest number for NaN: then one comparison does for all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .. import simd
from ..registry import Pointer, kernel_factory
from ..simd import load_i32, load_i64, load_u32, stack_words, store_i64
from .tree_scores import Scores, make_finish

WALKS = 8
"""Walks side by side."""
NODE_WORDS = {"f32": 3, "f64": 4}
"""Words of a node, by the type of its threshold."""
BLOCK = 256
"""Rows, at most, that walk a tree one after the other, while it is in the cache."""
_STEPS = 4  # between two looks at whether all walks have ended
_SIZES = {"f32": 4, "f64": 8, "i32": 4, "i64": 8}


class Forest(NamedTuple):
    """Trees, the first nodes being their roots, and the rows that walk them, ``block`` at a time.

    The first ``columns`` of the features are copied where rows are.
    ``leaves`` has for each node the weight that it adds to the only sum of a row, or (int32) the
    first of its weights and the one after its last; ``targets`` (int32) names the sums that
    weights are added to.
    """

    x: Pointer
    rows: int
    features: int
    columns: int
    block: int
    table: Pointer
    trees: int
    leaves: Pointer
    weights: Pointer
    targets: Pointer
    scratch: Pointer
    scratch_bytes: int


def _number(real: str) -> Any:
    return np.float32 if real == "f32" else np.float64


def _second_child(kind: str, real: str, compare: str) -> Any:
    """Make a function that tells whether a walk goes on at the second child: 0 or 1."""
    load, load_x, number = getattr(simd, f"load_{real}"), getattr(simd, f"load_{kind}"), _number(real)
    feature_word = NODE_WORDS[real] - 2
    is_strict = compare == "lt"

    @njit
    def ordered(nodes: Pointer, at: int, row: Pointer) -> Any:
        x = number(load_x(row, np.int64(load_u32(nodes, at + feature_word))))
        split = load(nodes + at * 4, 0)
        return np.int64(x < split) if is_strict else np.int64(x <= split)

    @njit
    def several(nodes: Pointer, at: int, row: Pointer) -> Any:
        word = np.int64(load_u32(nodes, at + feature_word))
        x, split = number(load_x(row, word >> 4)), load(nodes + at * 4, 0)
        case = np.int64(x >= split) + np.int64(x > split) + 3 * np.int64(x != x)
        return (word >> case) & 1

    return several if compare == "any" else ordered


def _walks(kind: str, real: str, compare: str) -> Any:
    """Make the function that takes eight walks from their roots to leaves, whose places it stores."""
    words, second = NODE_WORDS[real], _second_child(kind, real, compare)

    @njit
    def child(nodes: Pointer, at: int) -> Any:
        return np.int64(load_u32(nodes, at + words - 1))

    @njit
    def step(nodes: Pointer, at: int, row: Pointer) -> Any:
        return child(nodes, at) + words * second(nodes, at, row)

    @njit
    def walks(nodes: Pointer, ends: Pointer, roots: Any, rows: Any) -> None:
        a, b, c, d, e, f, g, h = roots
        p, q, r, s, t, u, v, w = rows
        while True:
            left = (child(nodes, a) ^ a) | (child(nodes, b) ^ b) | (child(nodes, c) ^ c)
            left |= (child(nodes, d) ^ d) | (child(nodes, e) ^ e) | (child(nodes, f) ^ f)
            left |= (child(nodes, g) ^ g) | (child(nodes, h) ^ h)
            if left == 0:
                break
            for _ in range(_STEPS):
                a, b = step(nodes, a, p), step(nodes, b, q)
                c, d = step(nodes, c, r), step(nodes, d, s)
                e, f = step(nodes, e, t), step(nodes, f, u)
                g, h = step(nodes, g, v), step(nodes, h, w)
        for lane, at in enumerate((a, b, c, d, e, f, g, h)):
            store_i64(ends, lane, at // words)

    return walks


def _copy_rows(kind: str, real: str) -> Any:
    """Make the function that copies rows, each feature twice: see the module's text."""
    load, store, number = getattr(simd, f"load_{kind}"), getattr(simd, f"store_{real}"), _number(real)
    lowest = number(-np.inf)

    @njit
    def copy(x: Pointer, y: Pointer, count: int, features: int, columns: int) -> None:
        for i in range(count):
            for column in range(columns):
                value = number(load(x, i * features + column))
                store(y, 2 * (i * columns + column), value)
                store(y, 2 * (i * columns + column) + 1, lowest if value != value else value)

    return copy


def _add_leaf(real: str, aggregate: str, is_single: bool) -> Any:
    """Make the function that adds the weights of a leaf to the sums of a row."""
    load, store, one = getattr(simd, f"load_{real}"), getattr(simd, f"store_{real}"), _number(real)(1)

    @njit
    def add_one(forest: Forest, node: int, sums: Pointer, seen: Pointer) -> None:
        store(sums, 0, load(sums, 0) + load(forest.leaves, node))

    @njit
    def add(forest: Forest, node: int, sums: Pointer, seen: Pointer) -> None:
        for i in range(load_i32(forest.leaves, 2 * node), load_i32(forest.leaves, 2 * node + 1)):
            target, weight = np.int64(load_i32(forest.targets, i)), load(forest.weights, i)
            old = load(sums, target)
            if aggregate == "sum":
                store(sums, target, old + weight)
                continue
            is_better = weight < old if aggregate == "min" else weight > old
            if is_better or weight != weight:
                store(sums, target, weight)
            store(seen, target, one)

    return add_one if is_single else add


@kernel_factory
def tree_ensemble(
    kind: str, real: str, out: str, compare: str, copied: int, aggregate: str, single: int
) -> Callable[..., int]:
    """Gather the weights of the leaves that rows reach, and finish the scores.

    ``kind`` is the type of features, ``real`` that of thresholds, weights and sums, ``out`` that of
    scores; ``compare`` is ``"leq"``, ``"lt"`` or ``"any"``, ``aggregate`` ``"sum"``, ``"min"`` or
    ``"max"``. With ``copied`` rows are copied, with ``single`` a row has one sum. Rows are split
    into parts.
    """
    walks = _walks(real if copied else kind, real, compare)
    add, copy = _add_leaf(real, aggregate, bool(single)), _copy_rows(kind, real)
    finish = make_finish(real, out, aggregate)
    store, number = getattr(simd, f"store_{real}"), _number(real)
    words, width, size = NODE_WORDS[real], _SIZES[kind], _SIZES[real]
    start = {"sum": 0.0, "min": np.inf, "max": -np.inf}[aggregate]
    arrays = 1 if aggregate == "sum" else 2  # sums, and which of them have got a weight

    @njit
    def block_by_trees(
        forest: Forest, sums: Pointer, targets: int, first: Pointer, pitch: int, count: int,
        ends: Pointer,
    ) -> None:  # fmt: skip
        """Let rows that lie ``pitch`` bytes apart walk a tree side by side, then the next tree."""
        last = count - 1
        for tree in range(forest.trees):
            at = tree * words
            for i in range(0, count, WALKS):
                rows = (
                    first + i * pitch, first + min(i + 1, last) * pitch,
                    first + min(i + 2, last) * pitch, first + min(i + 3, last) * pitch,
                    first + min(i + 4, last) * pitch, first + min(i + 5, last) * pitch,
                    first + min(i + 6, last) * pitch, first + min(i + 7, last) * pitch,
                )  # fmt: skip
                walks(forest.table, ends, (at, at, at, at, at, at, at, at), rows)
                for lane in range(min(WALKS, count - i)):
                    own = sums + (i + lane) * targets * arrays * size
                    add(forest, load_i64(ends, lane), own, own + targets * size)

    @njit
    def row_by_trees(
        forest: Forest, sums: Pointer, targets: int, row: Pointer, ends: Pointer
    ) -> None:
        """Let a row walk several trees side by side."""
        last = forest.trees - 1
        for t in range(0, forest.trees, WALKS):
            roots = (
                t * words, min(t + 1, last) * words, min(t + 2, last) * words,
                min(t + 3, last) * words, min(t + 4, last) * words, min(t + 5, last) * words,
                min(t + 6, last) * words, min(t + 7, last) * words,
            )  # fmt: skip
            walks(forest.table, ends, roots, (row, row, row, row, row, row, row, row))
            for lane in range(min(WALKS, forest.trees - t)):
                add(forest, load_i64(ends, lane), sums, sums + targets * size)

    @njit
    def begin_sums(sums: Pointer, count: int, targets: int) -> None:
        for i in range(count):
            for target in range(targets):
                store(sums, i * arrays * targets + target, number(start))
                if arrays == 2:
                    store(sums, (2 * i + 1) * targets + target, number(0))

    def body(
        thread: int, part: int, until: int, parts: int, forest: Forest, scores: Scores
    ) -> int:
        ends, sums = stack_words(8), forest.scratch + thread * forest.scratch_bytes
        row_bytes = scores.sums * arrays * size
        begin, end = forest.rows * part // parts, forest.rows * until // parts
        while begin < end:
            count = min(forest.block, end - begin)
            begin_sums(sums, count, scores.sums)
            first, pitch = forest.x + begin * forest.features * width, forest.features * width
            if copied:
                copies = sums + forest.block * row_bytes
                copy(first, copies, count, forest.features, forest.columns)
                first, pitch = copies, 2 * forest.columns * size
            if count >= WALKS:
                block_by_trees(forest, sums, scores.sums, first, pitch, count, ends)
            else:
                for i in range(count):
                    own = sums + i * row_bytes
                    row_by_trees(forest, own, scores.sums, first + i * pitch, ends)
            for i in range(count):
                finish(scores, begin + i, sums + i * row_bytes)
            begin += count
        return 0

    return body
