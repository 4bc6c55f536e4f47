"""Ensembles of trees as tables: nodes and weights of a node's attributes, checked.

Kernels follow the places in these tables without a look, so whatever they lead to is checked here:
each child is a node, no node is its own descendant, each weight belongs to a sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from ..graph import Node, OnHost, refuse


class Mode(IntEnum):
    """Comparisons of nodes, by their numbers in TreeEnsemble."""

    LEQ, LT, GTE, GT, EQ, NEQ, MEMBER, LEAF = range(8)


MODES = (
    "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ",
    "BRANCH_MEMBER", "LEAF",
)  # fmt: skip
"""Names of modes, in the order of their numbers."""


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
        return np.asarray(self.modes == Mode.LEAF)

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
    inner = kinds != Mode.LEAF
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
    if count and not 0 <= codes.min() <= codes.max() <= Mode.MEMBER:
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
        roots, padded(features), padded(_as_real(splits, real)), padded(codes, Mode.LEAF),
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
    owners, ends = np.flatnonzero(trees.modes == Mode.MEMBER), np.flatnonzero(np.isnan(values))
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
    splits[owners], modes[owners] = values[begins], Mode.EQ
    return Trees(
        trees.roots,
        np.append(trees.features, trees.features[owner]),
        np.append(splits, values[first + np.arange(len(owner))].astype(splits.dtype)),
        np.append(modes, np.full(len(owner), Mode.EQ)),
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
