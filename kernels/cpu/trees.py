"""Ensembles of decision trees: rows walk trees, sixteen walks side by side.

They are rows in one tree, or for few rows one row in as many trees (`tree_walks`).

One comparison of integers does for all kinds of nodes: each row is copied first, as keys without
signs whose order is that of the numbers, with NaN below or above all of them. Keys of as many rows
lie side by side, and after those of all features comes the largest key there is, which leaves have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numba.core import types

from .. import simd
from ..registry import Pointer, kernel_factory
from ..simd import load_i32, load_i64, load_u32, stack_words
from ..vectors import intrinsic
from .tree_scores import Scores, make_finish
from .tree_walks import WALKS, Nodes, make_walks

BLOCK = 256
"""Rows, at most, that walk a tree one after the other, while it is in the cache."""
_SIZES = {"f32": 4, "f64": 8, "i32": 4, "i64": 8, "u32": 4, "u64": 8}


class Forest(NamedTuple):
    """Trees, the first nodes being their roots, and the rows that walk them, ``block`` at a time.

    Behind the roots are so many leaves of nothing that all walks can begin at any of them.

    ``keys`` (int32) lists which feature each key of a row is made of, doubled, and one more where
    NaN is to be below all numbers. A leaf has the weight that it adds to the only sum of a row,
    or its number (uint32): then ``leaves`` (int32) has for each number the first of its weights and
    the one after its last, and ``targets`` (int32) names the sums that weights are added to.
    """

    x: Pointer
    rows: int
    features: int
    keys: Pointer
    key_count: int
    block: int
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


def _copy_keys(kind: str, real: str, key: str) -> Any:
    """Make the function that copies up to `WALKS` rows, the last one over and over, as keys."""
    load, number = getattr(simd, f"load_{kind}"), _number(real)
    store, stored = getattr(simd, f"store_{key}"), np.uint32 if key == "u32" else np.uint64
    integer, whole = (np.int32, np.uint32) if real == "f32" else (np.int64, np.uint64)
    limits = np.iinfo(integer)
    shift, sign, rest = integer(limits.bits - 1), integer(limits.min), integer(limits.max)
    most, zero = stored(np.iinfo(stored).max), number(0)

    @njit
    def copy(x: Pointer, y: Pointer, count: int, features: int, keys: Pointer, width: int) -> None:
        rows = WALKS if count > 1 else 1
        for place in range(width):
            which = np.int64(load_i32(keys, place))
            for row in range(rows):
                value = number(load(x, min(row, count - 1) * features + (which >> 1)))
                bits = float_bits(value + zero)  # the sum has no negative zero
                bits = integer(bits ^ ((bits >> shift) & rest) ^ sign)
                if value != value:
                    bits = integer(0) if which & 1 else integer(-1)
                store(y, place * WALKS + row, stored(whole(bits)))
        for row in range(rows):
            store(y, width * WALKS + row, most)

    return copy


def _add_leaf(real: str, aggregate: str, is_single: bool) -> Any:
    """Make the function that adds what a leaf has to the sums of a row."""
    load, store, one = (
        getattr(simd, f"load_{real}"),
        getattr(simd, f"store_{real}"),
        _number(real)(1),
    )

    @njit
    def add_one(forest: Forest, leaf: Pointer, sums: Pointer, seen: Pointer) -> None:
        store(sums, 0, load(sums, 0) + load(leaf, 0))

    @njit
    def add(forest: Forest, leaf: Pointer, sums: Pointer, seen: Pointer) -> None:
        number = np.int64(load_u32(leaf, 0))
        for i in range(
            load_i32(forest.leaves, 2 * number), load_i32(forest.leaves, 2 * number + 1)
        ):
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
    kind: str, real: str, out: str, aggregate: str, single: int, key: str
) -> Callable[..., int]:
    """Gather the weights of the leaves that rows reach, and finish the scores.

    ``kind`` is the type of features, ``real`` that of weights and sums, ``out`` that of scores;
    ``aggregate`` is ``"sum"``, ``"min"`` or ``"max"``. With ``single`` a row has one sum. ``key``
    is the type of keys and bounds. Rows are split into parts.
    """
    (several_trees, several_rows), copy = make_walks(key), _copy_keys(kind, real, key)
    add = _add_leaf(real, aggregate, bool(single))
    finish = make_finish(real, out, aggregate)
    load, store = getattr(simd, f"load_{real}"), getattr(simd, f"store_{real}")
    number = _number(real)
    width, size, key_size = _SIZES[kind], _SIZES[real], _SIZES[key]
    start = {"sum": 0.0, "min": np.inf, "max": -np.inf}[aggregate]
    arrays = 1 if aggregate == "sum" else 2  # sums, and which of them have got a weight

    @njit
    def block_by_trees(
        forest: Forest, nodes: Nodes, sums: Pointer, targets: int, first: Pointer, pitch: int,
        count: int, ends: Pointer,
    ) -> None:  # fmt: skip
        """Let rows, whose keys lie ``pitch`` bytes apart, walk one tree after another."""
        for tree in range(forest.trees):
            for i in range(0, count, WALKS):
                several_rows(nodes, tree, first + i // WALKS * pitch, ends)
                for lane in range(min(WALKS, count - i)):
                    own = sums + (i + lane) * targets * arrays * size
                    leaf = nodes.table + load_i64(ends, lane) * 2 * key_size
                    add(forest, leaf, own, own + targets * size)

    @njit
    def row_by_trees(
        forest: Forest, nodes: Nodes, sums: Pointer, targets: int, keys: Pointer, ends: Pointer
    ) -> None:
        """Let a row walk several trees side by side; a sum alone stays in a register."""
        total = number(0)
        for tree in range(0, forest.trees, WALKS):
            several_trees(nodes, tree, keys, ends)
            for lane in range(WALKS):
                leaf = nodes.table + load_i64(ends, lane) * 2 * key_size
                if single:
                    total += load(leaf, 0)
                else:
                    add(forest, leaf, sums, sums + targets * size)
        if single:
            store(sums, 0, total)

    @njit
    def begin_sums(sums: Pointer, count: int, targets: int) -> None:
        for i in range(count):
            for target in range(targets):
                store(sums, i * arrays * targets + target, number(start))
                if arrays == 2:
                    store(sums, (2 * i + 1) * targets + target, number(0))

    def body(
        thread: int, part: int, until: int, parts: int, forest: Forest, nodes: Nodes,
        scores: Scores,
    ) -> int:  # fmt: skip
        ends, sums = stack_words(WALKS), forest.scratch + thread * forest.scratch_bytes
        row_bytes, features = scores.sums * arrays * size, forest.features
        keys, pitch = sums + forest.block * row_bytes, (forest.key_count + 1) * WALKS * key_size
        begin, end = forest.rows * part // parts, forest.rows * until // parts
        while begin < end:
            count = min(forest.block, end - begin)
            begin_sums(sums, count, scores.sums)
            first = forest.x + begin * features * width
            if count >= WALKS:
                for i in range(0, count, WALKS):
                    some, target = min(WALKS, count - i), keys + i // WALKS * pitch
                    source = first + i * features * width
                    copy(source, target, some, features, forest.keys, forest.key_count)
                block_by_trees(forest, nodes, sums, scores.sums, keys, pitch, count, ends)
            else:
                for i in range(count):
                    source, own = first + i * features * width, sums + i * row_bytes
                    copy(source, keys, 1, features, forest.keys, forest.key_count)
                    row_by_trees(forest, nodes, own, scores.sums, keys, ends)
            for i in range(count):
                finish(scores, begin + i, sums + i * row_bytes)
            begin += count
        return 0

    return body
