"""Packing of ensembles of trees: tables of nodes and weights as kernels read them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...kernels.cpu.tree_walks import LEAF, WALKS
from .tree_tables import Mode, Trees, Weights


@dataclass(frozen=True)
class Packed:
    """Tables as kernels read them: see `kernels.cpu.trees` and `kernels.cpu.tree_walks`."""

    nodes: np.ndarray
    key: str
    keys: np.ndarray
    feature_mask: int
    child_shift: int


@dataclass(frozen=True)
class _Bounds:
    """Nodes with the one comparison of kernels: the second child where a key is below the bound."""

    bounds: np.ndarray
    keys: np.ndarray
    first: np.ndarray
    second: np.ndarray


def _keys(values: np.ndarray) -> np.ndarray:
    """Integers whose order is that of floats."""
    kind = np.int32 if values.dtype == np.float32 else np.int64
    bits = (values + values.dtype.type(0)).view(kind)  # the sum has no negative zero
    return bits ^ ((bits >> (np.iinfo(kind).bits - 1)) & np.iinfo(kind).max)


def _bounded(trees: Trees) -> _Bounds:
    """Write comparisons as that of a key with a bound.

    x > a is the opposite of x <= a. x = a is x <= a, and then not x < a, at a node that is added
    for it. NaN lies on the side where it has to go.
    """
    modes, missing, count = trees.modes, trees.missing, len(trees.modes)
    bounds = _keys(trees.splits)
    limits = np.iinfo(bounds.dtype)
    is_opposite = (modes == Mode.GT) | (modes == Mode.GTE)
    keys = bounds.copy()
    bounds = bounds + ~np.isin(modes, [Mode.LT, Mode.GTE])
    never = np.where(is_opposite, limits.max, limits.min + 1)  # met by numbers, if a is NaN
    bounds = np.where(np.isnan(trees.splits), never, bounds)
    bounds = np.where(modes == Mode.LEAF, limits.min, bounds).astype(keys.dtype)
    nan_below = np.where(is_opposite, ~missing, missing & (modes != Mode.NEQ))
    first = np.where(is_opposite, trees.true, trees.false)
    second = np.where(is_opposite, trees.false, trees.true)
    of_equal = np.flatnonzero((modes == Mode.EQ) | (modes == Mode.NEQ))
    is_equal = modes[of_equal] == Mode.EQ
    equal = np.where(is_equal, trees.true[of_equal], trees.false[of_equal])
    other = np.where(is_equal, trees.false[of_equal], trees.true[of_equal])
    first[of_equal], second[of_equal] = other, count + np.arange(len(of_equal))
    features = np.append(trees.features, trees.features[of_equal])
    nan_below = np.append(nan_below, np.zeros(len(of_equal), bool))
    return _Bounds(
        np.append(bounds, keys[of_equal]), features * 2 + nan_below,
        np.append(first, equal), np.append(second, other),
    )  # fmt: skip


def _without_signs(keys: np.ndarray) -> np.ndarray:
    """Keys as integers without signs, of the same order."""
    kind = np.uint32 if keys.dtype == np.int32 else np.uint64
    top = kind(1 << (np.iinfo(kind).bits - 1))
    return np.bitwise_xor(keys.view(kind), top)


def packed(trees: Trees, contents: np.ndarray) -> Packed:
    """Pack nodes: roots first, then the children of each node side by side.

    A node that several others have as a child is there for each of them, its own children once.

    Parameters
    ----------
    trees : Trees
    contents : ndarray
        What leaves have, by node, as bits; 0 adds nothing.
    """
    table, count = _bounded(trees), len(trees.modes)
    is_leaf = np.zeros(len(table.bounds) + 1, bool)  # the last node is a leaf of nothing
    is_leaf[:count], is_leaf[-1] = trees.is_leaf, True
    inner = np.flatnonzero(~is_leaf)
    rank = np.zeros(len(is_leaf), np.int64)
    rank[inner] = np.arange(len(inner))
    pairs = np.stack([table.first[inner], table.second[inner]], 1).reshape(-1)
    empty = np.full(-len(trees.roots) % WALKS, len(table.bounds))
    roots = np.concatenate([trees.roots, empty])
    node_of = np.concatenate([roots, pairs, [len(table.bounds)]])  # a child after the last one
    keys, place = np.unique(table.keys[inner], return_inverse=True)
    place_of = np.full(len(is_leaf), len(keys))
    place_of[inner] = place
    first = np.where(is_leaf[node_of], np.arange(len(node_of)), len(roots) + 2 * rank[node_of])
    bounds = np.append(_without_signs(table.bounds), np.zeros(1, contents.dtype))
    bounds[:count][trees.is_leaf] = contents[trees.is_leaf]
    features = place_of * WALKS
    shift = int(features.max()).bit_length()
    links = features[node_of] | (first << shift) | np.where(is_leaf[node_of], LEAF, 0)
    is_narrow = bounds.dtype == np.uint32 and len(node_of) << shift <= 1 << 32
    nodes = np.stack([bounds[node_of], links.astype(np.uint64)], 1)
    nodes = nodes.astype(np.uint32 if is_narrow else np.uint64)
    mask = (1 << shift) - WALKS
    return Packed(nodes, "u32" if is_narrow else "u64", keys.astype(np.int32), mask, shift)


def leaf_weights(weights: Weights, count: int) -> np.ndarray:
    """Weight of each of so many nodes, where a leaf has one at most, as bits."""
    found = np.zeros(count, weights.values.dtype)
    found[weights.leaves] = weights.values
    return found.view(np.uint32 if found.dtype == np.float32 else np.uint64)


def leaf_ranges(weights: Weights, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Number, of each of so many nodes, of a range of weights: first, and the one after the last.

    The first range, of number 0, is empty.
    """
    leaves = np.unique(weights.leaves)
    ends = [np.searchsorted(weights.leaves, leaves, side) for side in ("left", "right")]
    numbers = np.zeros(count, np.uint32)
    numbers[leaves] = 1 + np.arange(len(leaves))
    return numbers, np.concatenate([[[0, 0]], np.stack(ends, 1)]).astype(np.int32)
