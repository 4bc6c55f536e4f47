"""Ensembles of trees as tables: nodes and weights of a node's attributes, checked, and packed.

Kernels follow the places in these tables without a look, so whatever they lead to is checked here:
each child is a node, no node is its own descendant, each weight belongs to a sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...kernels.cpu.tree_walks import LEAF, WALKS
from ..graph import Node, OnHost, refuse

_LEQ, _LT, _GTE, _GT, _EQ, _NEQ, _MEMBER, _LEAF = range(8)
MODES = (
    "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ",
    "BRANCH_MEMBER", "LEAF",
)  # fmt: skip
"""Modes of nodes by their numbers, which TreeEnsemble has."""


@dataclass(frozen=True)
class Trees:
    """Nodes of all trees; ``true`` and ``false`` are places of children."""

    roots: np.ndarray
    features: np.ndarray
    splits: np.ndarray
    modes: np.ndarray
    missing: np.ndarray
    true: np.ndarray
    false: np.ndarray

    @property
    def is_leaf(self) -> np.ndarray:
        """Tell of each node whether a tree ends there."""
        return np.asarray(self.modes == _LEAF)

    @property
    def columns(self) -> int:
        """Number of features that are needed."""
        return int(self.features.max(initial=-1, where=~self.is_leaf)) + 1


@dataclass(frozen=True)
class Weights:
    """Weights of leaves (places of nodes), each leaf and target once, in order of leaves."""

    leaves: np.ndarray
    targets: np.ndarray
    values: np.ndarray


# --- attributes -------------------------------------------------------------------------------


def integers(node: Node, name: str, count: int | None = None) -> np.ndarray:
    """Return an attribute that is a list of integers, of ``count`` numbers if that is known."""
    values = np.array(node.attribute(name) or [], np.int64)
    if count is not None and len(values) != count:
        refuse(node, f"number of entries of {name!r}", len(values), str(count))
    return values


def tensor(node: Node, name: str, count: int | None = None) -> np.ndarray | None:
    """Return an attribute that is a tensor of ``count`` numbers, if there is one."""
    value = node.attribute(name)
    if value is None:
        return None
    array = np.asarray(value.numpy()).reshape(-1)
    if count is not None and len(array) != count:
        refuse(node, f"number of entries of {name!r}", len(array), str(count))
    return array


def numbers(node: Node, name: str, count: int | None = None) -> np.ndarray | None:
    """Return floats that an attribute has as a tensor, or as a list; None where there are none."""
    array = tensor(node, f"{name}_as_tensor", count)
    if array is None and node.attribute(name):
        array = np.array(node.attribute(name), np.float32)
        if count is not None and len(array) != count:
            refuse(node, f"number of entries of {name!r}", len(array), str(count))
    return array


def _missing(node: Node, count: int) -> np.ndarray:
    """Tell of each node whether NaN meets its comparison."""
    name = "nodes_missing_value_tracks_true"
    given = bool(node.attribute(name))
    return integers(node, name, count) != 0 if given else np.zeros(count, bool)


# --- nodes ------------------------------------------------------------------------------------


class Places:
    """Places of nodes that are named by a tree and a number within it."""

    def __init__(self, node: Node, trees: np.ndarray, ids: np.ndarray) -> None:
        self._node = node
        self._trees, self._ids = np.unique(trees), np.unique(ids)
        keys = self._keys(trees, ids)
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]
        twice = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
        if twice.size:
            at = self._order[twice[0]]
            refuse(node, "node of a tree that is there twice", int(ids[at]), "each node once")

    def _keys(self, trees: np.ndarray, ids: np.ndarray) -> np.ndarray:
        tree = np.searchsorted(self._trees, trees)
        return tree * len(self._ids) + np.searchsorted(self._ids, ids)

    def of(self, trees: np.ndarray, ids: np.ndarray, what: str) -> np.ndarray:
        """Return places of nodes; ``what`` names who refers to them, for the error."""
        tree = np.searchsorted(self._trees, trees).clip(0, len(self._trees) - 1)
        number = np.searchsorted(self._ids, ids).clip(0, len(self._ids) - 1)
        keys = tree * len(self._ids) + number
        at = np.searchsorted(self._sorted, keys).clip(0, len(self._sorted) - 1)
        found = (self._trees[tree] == trees) & (self._ids[number] == ids)
        found &= self._sorted[at] == keys
        if not found.all():
            first = np.flatnonzero(~found)[0]
            pair = f"tree {trees[first]}, node {ids[first]}"
            refuse(self._node, f"an entry of {what!r}", pair, "a node that there is")
        return self._order[at]


def read_numbered(node: Node, real: str) -> tuple[Trees, Places]:
    """Read nodes that have numbers within their tree, whose first node is its root."""
    tree_ids = integers(node, "nodes_treeids")
    count = len(tree_ids)
    if not count:
        refuse(node, "number of nodes", 0, "one or more")
    ids = integers(node, "nodes_nodeids", count)
    modes = node.attribute("nodes_modes") or []
    unknown = sorted(set(modes) - set(MODES))
    if unknown or len(modes) != count:
        refuse(node, "attribute 'nodes_modes'", unknown or len(modes), f"{count} of {MODES}")
    codes = {mode: code for code, mode in enumerate(MODES)}
    kinds = np.array([codes[mode] for mode in modes], np.int64)
    inner = kinds != _LEAF
    places = Places(node, tree_ids, ids)

    def children(name: str) -> np.ndarray:
        found = np.zeros(count, np.int64)
        found[inner] = places.of(tree_ids[inner], integers(node, name, count)[inner], name)
        return found

    splits = numbers(node, "nodes_values", count)
    if splits is None:
        refuse(node, "number of entries of 'nodes_values'", 0, str(count))
    trees = Trees(
        np.unique(tree_ids, return_index=True)[1],
        integers(node, "nodes_featureids", count),
        _as_real(splits, real),
        kinds,
        _missing(node, count),
        children("nodes_truenodeids"),
        children("nodes_falsenodeids"),
    )
    return _checked(node, trees), places


def read_with_leaves(node: Node, real: str) -> Trees:
    """Read nodes of TreeEnsemble, and after them its leaves, which have a table of their own."""
    features = integers(node, "nodes_featureids")
    count, leaves = len(features), len(integers(node, "leaf_targetids"))
    codes, splits = tensor(node, "nodes_modes", count), tensor(node, "nodes_splits", count)
    if codes is None or splits is None or not leaves:
        refuse(node, "number of leaves", leaves, "one or more, and nodes with modes and splits")
    codes = codes.astype(np.int64)
    if count and not 0 <= codes.min() <= codes.max() <= _MEMBER:
        refuse(node, "attribute 'nodes_modes'", np.unique(codes).tolist(), "numbers from 0 to 6")

    def children(branch: str) -> np.ndarray:
        name = f"nodes_{branch}nodeids"
        at, is_leaf = (
            integers(node, name, count),
            integers(node, f"nodes_{branch}leafs", count) != 0,
        )
        wrong = np.flatnonzero((at < 0) | (at >= np.where(is_leaf, leaves, count)))
        if wrong.size:
            kind = "leaf" if is_leaf[wrong[0]] else "node"
            refuse(node, f"an entry of {name!r}", int(at[wrong[0]]), f"a {kind} that there is")
        return np.where(is_leaf, at + count, at)

    def padded(values: np.ndarray, filler: int = 0) -> np.ndarray:
        return np.concatenate([values, np.full(leaves, filler, values.dtype)])

    roots = integers(node, "tree_roots")
    if not roots.size or roots.min() < 0 or roots.max() >= max(count, 1):
        refuse(node, "attribute 'tree_roots'", roots.tolist()[:8], "nodes that there are")
    trees = Trees(
        roots, padded(features), padded(_as_real(splits, real)), padded(codes, _LEAF),
        padded(_missing(node, count)), padded(children("true")), padded(children("false")),
    )  # fmt: skip
    sets = tensor(node, "membership_values")
    return _with_sets(node, _checked(node, trees), sets)


def _with_sets(node: Node, trees: Trees, values: np.ndarray | None) -> Trees:
    """Compare with the members of sets one after the other, each at a node of its own.

    Sets follow each other in ``values``, each with a NaN after it. An empty one is that NaN, which
    no number equals.
    """
    values = np.zeros(0, trees.splits.dtype) if values is None else values
    owners, ends = np.flatnonzero(trees.modes == _MEMBER), np.flatnonzero(np.isnan(values))
    if len(ends) != len(owners):
        refuse(node, "number of sets in 'membership_values'", len(ends), str(len(owners)))
    if not len(owners):
        return trees
    begins = np.append(0, ends[:-1] + 1)
    counts = np.maximum(ends - begins, 1)
    owner = np.repeat(owners, counts - 1)
    first = np.repeat(begins + 1 - np.append(0, np.cumsum(counts - 1)[:-1]), counts - 1)
    places = len(trees.modes) + np.arange(len(owner))
    is_last = np.append(owner[1:] != owner[:-1], True)[: len(owner)]
    false, splits, modes = trees.false.copy(), trees.splits.copy(), trees.modes.copy()
    after = np.where(is_last, false[owner], places + 1)
    more = owners[counts > 1]
    false[more] = len(trees.modes) + (np.cumsum(counts - 1) - (counts - 1))[counts > 1]
    splits[owners], modes[owners] = values[begins], _EQ
    return Trees(
        trees.roots,
        np.append(trees.features, trees.features[owner]),
        np.append(splits, values[first + np.arange(len(owner))].astype(splits.dtype)),
        np.append(modes, np.full(len(owner), _EQ)),
        np.append(trees.missing, np.zeros(len(owner), bool)),
        np.append(trees.true, trees.true[owner]),
        np.append(false, after),
    )


def _as_real(values: np.ndarray, real: str) -> np.ndarray:
    """Return thresholds in the type that comparisons are made in."""
    kind = np.float32 if real == "f32" else np.float64
    with np.errstate(over="ignore"):
        found = values.astype(kind)
    if not np.array_equal(found.astype(values.dtype), values, equal_nan=True):
        raise OnHost("thresholds of a wider type than the features")
    return found


def _checked(node: Node, trees: Trees) -> Trees:
    """Refuse what no kernel may follow."""
    inner = np.flatnonzero(~trees.is_leaf)
    lowest = trees.features.min(initial=0, where=~trees.is_leaf)
    if lowest < 0 or trees.columns > 2**27:
        found = int(lowest) if lowest < 0 else trees.columns - 1
        refuse(node, "an entry of 'nodes_featureids'", found, "the number of a feature")
    after = np.minimum(trees.true, trees.false)[inner] > inner
    if not after.all() and _has_circle(trees, inner):
        refuse(node, "the list of its nodes", "one with a circle", "trees")
    return trees


def _has_circle(trees: Trees, inner: np.ndarray) -> bool:
    """Tell whether a node is its own descendant: then some have parents that never come first."""
    parents = np.bincount(np.concatenate([trees.true[inner], trees.false[inner]]),
                          minlength=len(trees.modes))  # fmt: skip
    ready, done = np.flatnonzero(parents == 0), 0
    while ready.size:
        done += len(ready)
        ready = ready[~trees.is_leaf[ready]]
        children = np.concatenate([trees.true[ready], trees.false[ready]])
        np.subtract.at(parents, children, 1)
        ready = np.unique(children[parents[children] == 0])
    return done < len(trees.modes)


# --- weights ----------------------------------------------------------------------------------


def gathered(leaves: np.ndarray, targets: np.ndarray, values: np.ndarray, real: str) -> Weights:
    """Order weights by leaf and target; those of one leaf and target are added up."""
    width = int(targets.max(initial=0)) + 1
    keys, which = np.unique(leaves * width + targets, return_inverse=True)
    sums = np.zeros(len(keys), np.float32 if real == "f32" else np.float64)
    np.add.at(sums, which, values.astype(np.float64))
    return Weights(keys // width, keys % width, sums)


# --- packed tables ----------------------------------------------------------------------------


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
    is_opposite = (modes == _GT) | (modes == _GTE)
    keys = bounds.copy()
    bounds = bounds + ~np.isin(modes, [_LT, _GTE])
    never = np.where(is_opposite, limits.max, limits.min + 1)  # met by numbers, if a is NaN
    bounds = np.where(np.isnan(trees.splits), never, bounds)
    bounds = np.where(modes == _LEAF, limits.min, bounds).astype(keys.dtype)
    nan_below = np.where(is_opposite, ~missing, missing & (modes != _NEQ))
    first = np.where(is_opposite, trees.true, trees.false)
    second = np.where(is_opposite, trees.false, trees.true)
    of_equal = np.flatnonzero((modes == _EQ) | (modes == _NEQ))
    is_equal = modes[of_equal] == _EQ
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
