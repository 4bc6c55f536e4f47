"""Ensembles of decision trees: rows walk trees, eight walks side by side.

A walk is a chain of dependent loads, so eight independent ones hide each other's latency: eight
rows in one tree, or for few rows one row in eight trees. They take steps without branches until
all eight have ended: the children of a node lie side by side, and the result of the comparison
selects one; a leaf is its own child.

One comparison of integers does for all kinds of nodes: each row is copied first, as keys whose
order is that of the numbers, with NaN below or above all of them. A node has a bound, the place of
a feature among a row's keys, and the place of its first child; a walk goes on at the second child
where the key is less than the bound. Places of nodes count words of 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.core import types

from .. import simd
from ..registry import Pointer, kernel_factory
from ..simd import load_i32, load_i64, load_u32, stack_words, store_i64
from ..vectors import intrinsic
from .tree_scores import Scores, make_finish

WALKS = 8
"""Walks side by side."""
NODE_WORDS = {"f32": 3, "f64": 4}
"""Words of a node, by the type of numbers: its bound is an integer of the same size."""
BLOCK = 256
"""Rows, at most, that walk a tree one after the other, while it is in the cache."""
_STEPS = 4  # between two looks at whether all walks have ended
_SIZES = {"f32": 4, "f64": 8, "i32": 4, "i64": 8}
_KEY = {"f32": "i32", "f64": "i64"}


class Forest(NamedTuple):
    """Trees, the first nodes being their roots, and the rows that walk them, ``block`` at a time.

    ``keys`` (int32) lists which feature each key of a row is made of, doubled, and one more where
    NaN is to be below all numbers. ``leaves`` has for each node the weight that it adds to the only
    sum of a row, or (int32) the first of its weights and the one after its last; ``targets``
    (int32) names the sums that weights are added to.
    """

    x: Pointer
    rows: int
    features: int
    keys: Pointer
    key_count: int
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


@intrinsic
def float_bits(typingctx, value):  # type: ignore[no-untyped-def]
    """Return the bits of a float as an integer of its size."""
    kind = types.int32 if value == types.float32 else types.int64

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return builder.bitcast(args[0], context.get_value_type(kind))

    return kind(value), codegen


def _copy_keys(kind: str, real: str) -> Any:
    """Make the function that copies rows as keys."""
    load, number = getattr(simd, f"load_{kind}"), _number(real)
    store = getattr(simd, f"store_{_KEY[real]}")
    integer = np.int32 if real == "f32" else np.int64
    limits = np.iinfo(integer)
    shift, low, high = integer(limits.bits - 1), integer(limits.min), integer(limits.max)
    zero = number(0)

    @njit
    def copy(x: Pointer, y: Pointer, count: int, features: int, keys: Pointer, width: int) -> None:
        for i in range(count):
            for place in range(width):
                which = np.int64(load_i32(keys, place))
                value = number(load(x, i * features + (which >> 1)))
                bits = float_bits(value + zero)  # the sum has no negative zero
                key = integer(bits ^ ((bits >> shift) & high))
                if value != value:
                    key = low if which & 1 else high
                store(y, i * width + place, key)

    return copy


def _walks(real: str) -> Any:
    """Make the function that takes eight walks from roots to leaves, whose numbers it stores."""
    words, load = NODE_WORDS[real], getattr(simd, f"load_{_KEY[real]}")

    @njit
    def child(nodes: Pointer, at: int) -> Any:
        return np.int64(load_u32(nodes, at + words - 1))

    @njit
    def step(nodes: Pointer, at: int, row: Pointer) -> Any:
        key = load(row, np.int64(load_u32(nodes, at + words - 2)))
        return child(nodes, at) + words * np.int64(key < load(nodes + at * 4, 0))

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


def _add_leaf(real: str, aggregate: str, is_single: bool) -> Any:
    """Make the function that adds the weights of a leaf to the sums of a row."""
    load, store, one = (
        getattr(simd, f"load_{real}"),
        getattr(simd, f"store_{real}"),
        _number(real)(1),
    )

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
    kind: str, real: str, out: str, aggregate: str, single: int
) -> Callable[..., int]:
    """Gather the weights of the leaves that rows reach, and finish the scores.

    ``kind`` is the type of features, ``real`` that of weights and sums, ``out`` that of scores;
    ``aggregate`` is ``"sum"``, ``"min"`` or ``"max"``. With ``single`` a row has one sum. Rows are
    split into parts.
    """
    walks, copy = _walks(real), _copy_keys(kind, real)
    add = _add_leaf(real, aggregate, bool(single))
    finish = make_finish(real, out, aggregate)
    load, store = getattr(simd, f"load_{real}"), getattr(simd, f"store_{real}")
    number = _number(real)
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
        """Let a row walk several trees side by side; a sum alone stays in a register."""
        last, total = forest.trees - 1, number(0)
        for t in range(0, forest.trees, WALKS):
            roots = (
                t * words, min(t + 1, last) * words, min(t + 2, last) * words,
                min(t + 3, last) * words, min(t + 4, last) * words, min(t + 5, last) * words,
                min(t + 6, last) * words, min(t + 7, last) * words,
            )  # fmt: skip
            walks(forest.table, ends, roots, (row, row, row, row, row, row, row, row))
            for lane in range(min(WALKS, forest.trees - t)):
                node = load_i64(ends, lane)
                if single:
                    total += load(forest.leaves, node)
                else:
                    add(forest, node, sums, sums + targets * size)
        if single:
            store(sums, 0, total)

    @njit
    def begin_sums(sums: Pointer, count: int, targets: int) -> None:
        for i in range(count):
            for target in range(targets):
                store(sums, i * arrays * targets + target, number(start))
                if arrays == 2:
                    store(sums, (2 * i + 1) * targets + target, number(0))

    def body(thread: int, part: int, until: int, parts: int, forest: Forest, scores: Scores) -> int:
        ends, sums = stack_words(8), forest.scratch + thread * forest.scratch_bytes
        row_bytes = scores.sums * arrays * size
        begin, end = forest.rows * part // parts, forest.rows * until // parts
        while begin < end:
            count = min(forest.block, end - begin)
            begin_sums(sums, count, scores.sums)
            first = forest.x + begin * forest.features * width
            keys, pitch = sums + forest.block * row_bytes, forest.key_count * size
            copy(first, keys, count, forest.features, forest.keys, forest.key_count)
            if count >= WALKS:
                block_by_trees(forest, sums, scores.sums, keys, pitch, count, ends)
            else:
                for i in range(count):
                    row_by_trees(forest, sums + i * row_bytes, scores.sums, keys + i * pitch, ends)
            for i in range(count):
                finish(scores, begin + i, sums + i * row_bytes)
            begin += count
        return 0

    return body
