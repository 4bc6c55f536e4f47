"""Ensembles of trees as tables: nodes and weights of a node's attributes, checked, and packed.

Kernels follow the places in these tables without a look, so whatever they lead to is checked here:
each child is a node, no node is its own descendant, each weight belongs to a sum.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...kernels.cpu.trees import NODE_WORDS
from ..graph import Node, OnHost, refuse

LESS, EQUAL, GREATER, NAN = 1, 2, 4, 8
"""Cases in which a walk takes the branch of a comparison that is met."""
MET = {
    "BRANCH_LEQ": LESS | EQUAL, "BRANCH_LT": LESS, "BRANCH_GTE": EQUAL | GREATER,
    "BRANCH_GT": GREATER, "BRANCH_EQ": EQUAL, "BRANCH_NEQ": LESS | GREATER | NAN,
    "BRANCH_MEMBER": EQUAL, "LEAF": 0,
}  # fmt: skip
"""These cases by the mode of a node, in the order of TreeEnsemble's numbers."""
MODES = tuple(MET)


@dataclass(frozen=True)
class Trees:
    """Nodes of all trees; ``met`` has cases, ``true`` and ``false`` places of children."""

    roots: np.ndarray
    features: np.ndarray
    splits: np.ndarray
    met: np.ndarray
    true: np.ndarray
    false: np.ndarray
    is_leaf: np.ndarray

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
    met = np.array([MET[mode] for mode in modes], np.int64)
    is_leaf = met == 0
    places = Places(node, tree_ids, ids)

    def children(name: str) -> np.ndarray:
        found, inner = np.zeros(count, np.int64), ~is_leaf
        found[inner] = places.of(tree_ids[inner], integers(node, name, count)[inner], name)
        return found

    splits = numbers(node, "nodes_values", count)
    if splits is None:
        refuse(node, "number of entries of 'nodes_values'", 0, str(count))
    trees = Trees(
        np.unique(tree_ids, return_index=True)[1],
        integers(node, "nodes_featureids", count),
        _as_real(splits, real),
        np.where(_missing(node, count) & ~is_leaf, met | NAN, met),
        children("nodes_truenodeids"),
        children("nodes_falsenodeids"),
        is_leaf,
    )
    return _checked(node, trees), places


def read_with_leaves(node: Node, real: str) -> Trees:
    """Read nodes of TreeEnsemble, after which its leaves follow, which have a table of their own."""
    features = integers(node, "nodes_featureids")
    count, leaves = len(features), len(integers(node, "leaf_targetids"))
    codes, splits = tensor(node, "nodes_modes", count), tensor(node, "nodes_splits", count)
    if codes is None or splits is None or not leaves:
        refuse(node, "number of leaves", leaves, "one or more, and nodes with modes and splits")
    if count and codes.max() > MODES.index("BRANCH_MEMBER"):
        refuse(node, "an entry of 'nodes_modes'", int(codes.max()), "a number from 0 to 6")
    met = np.array([MET[mode] for mode in MODES], np.int64)[codes.astype(np.int64)]

    def children(branch: str) -> np.ndarray:
        name = f"nodes_{branch}nodeids"
        at, is_leaf = integers(node, name, count), integers(node, f"nodes_{branch}leafs", count) != 0
        wrong = np.flatnonzero((at < 0) | (at >= np.where(is_leaf, leaves, count)))
        if wrong.size:
            kind = "leaf" if is_leaf[wrong[0]] else "node"
            refuse(node, f"an entry of {name!r}", int(at[wrong[0]]), f"a {kind} that there is")
        return np.where(is_leaf, at + count, at)

    def padded(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.zeros(leaves, values.dtype)])

    roots = integers(node, "tree_roots")
    if not roots.size or roots.min() < 0 or roots.max() >= max(count, 1):
        refuse(node, "attribute 'tree_roots'", roots.tolist()[:8], "nodes that there are")
    trees = Trees(
        roots, padded(features), padded(_as_real(splits, real)),
        padded(np.where(_missing(node, count), met | NAN, met)),
        padded(children("true")), padded(children("false")), np.arange(count + leaves) >= count,
    )  # fmt: skip
    sets = tensor(node, "membership_values")
    members = np.flatnonzero(codes == MODES.index("BRANCH_MEMBER"))
    return _checked(node, _with_sets(node, trees, members, sets))


def _with_sets(node: Node, trees: Trees, members: np.ndarray, values: np.ndarray | None) -> Trees:
    """Compare with the members of sets one after the other, each at a node of its own.

    Sets follow each other in ``values``, each with a NaN after it.
    """
    values = np.zeros(0, np.float32) if values is None else values
    ends = np.flatnonzero(np.isnan(values))
    if len(ends) != len(members):
        refuse(node, "number of sets in 'membership_values'", len(ends), str(len(members)))
    fields = {name: [getattr(trees, name)] for name in ("features", "splits", "met", "true")}
    false, count = [trees.false.copy()], len(trees.met)
    splits, met = trees.splits.copy(), trees.met.copy()
    fields["splits"], fields["met"] = [splits], [met]
    begin = 0
    for place, end in zip(members.tolist(), ends.tolist(), strict=True):
        members_of, begin = values[begin:end], end + 1
        if not len(members_of):
            met[place] &= NAN
            continue
        splits[place] = members_of[0]
        more = len(members_of) - 1
        last = false[0][place]
        if more:
            false[0][place] = count
        for name in ("features", "met", "true"):
            fields[name].append(np.full(more, fields[name][0][place]))
        fields["splits"].append(members_of[1:].astype(splits.dtype))
        false.append(np.append(np.arange(count + 1, count + more), last)[:more])
        count += more
    joined = {name: np.concatenate(parts) for name, parts in fields.items()}
    is_leaf = np.append(trees.is_leaf, np.zeros(count - len(trees.met), bool))
    return replace(trees, **joined, false=np.concatenate(false), is_leaf=is_leaf)


def _as_real(values: np.ndarray, real: str) -> np.ndarray:
    """Return thresholds in the type that comparisons are made in."""
    kind = np.float32 if real == "f32" else np.float64
    with np.errstate(over="ignore"):
        found = values.astype(kind)
    if not np.array_equal(found.astype(values.dtype), values, equal_nan=True):
        raise OnHost("thresholds of a wider type than the features")
    return found


def _checked(node: Node, trees: Trees) -> Trees:
    """Refuse what no kernel may follow; let comparisons with NaN be ones that are never met."""
    inner = np.flatnonzero(~trees.is_leaf)
    lowest = trees.features.min(initial=0, where=~trees.is_leaf)
    if lowest < 0 or trees.columns > 2**27:
        found = int(lowest) if lowest < 0 else trees.columns - 1
        refuse(node, "an entry of 'nodes_featureids'", found, "the number of a feature")
    after = np.minimum(trees.true, trees.false)[inner] > inner
    if not after.all() and _has_circle(trees, inner):
        refuse(node, "the list of its nodes", "one with a circle", "trees")
    is_nan = np.isnan(trees.splits) & ~trees.is_leaf
    if not is_nan.any():
        return trees
    met = trees.met.copy()
    always = (met & LESS != 0) & (met & GREATER != 0)  # BRANCH_NEQ
    met[is_nan] = np.where(always, LESS | EQUAL | GREATER | NAN, met & NAN)[is_nan]
    return replace(trees, met=met, splits=np.where(is_nan, 0, trees.splits).astype(trees.splits.dtype))


def _has_circle(trees: Trees, inner: np.ndarray) -> bool:
    """Tell whether a node is its own descendant: then some have parents that never come first."""
    parents = np.bincount(np.concatenate([trees.true[inner], trees.false[inner]]),
                          minlength=len(trees.met))  # fmt: skip
    ready, done = np.flatnonzero(parents == 0), 0
    while ready.size:
        done += len(ready)
        ready = ready[~trees.is_leaf[ready]]
        children = np.concatenate([trees.true[ready], trees.false[ready]])
        np.subtract.at(parents, children, 1)
        ready = np.unique(children[parents[children] == 0])
    return done < len(trees.met)


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
    """Tables as kernels read them: see `kernels.cpu.trees`, also for the fields' meaning."""

    compare: str
    copied: bool
    nodes: np.ndarray
    node_of: np.ndarray


_UNIFORM = {LESS | EQUAL: "leq", LESS: "lt"}
_MOST_COPIED = 1024  # features; wider rows would take more time to copy than comparisons do


def _way(trees: Trees) -> tuple[str, bool]:
    """Tell how a kernel compares, and whether it takes copies of rows."""
    met, splits = trees.met[~trees.is_leaf], trees.splits[~trees.is_leaf]
    ways = {int(way) & ~NAN for way in np.unique(met)}
    if len(ways) != 1 or not ways & _UNIFORM.keys():
        return "any", False
    compare, of_nan = _UNIFORM[ways.pop()], met & NAN != 0
    is_lowest = bool((splits[of_nan] == -np.inf).any())  # nothing is less
    if of_nan.any() and (trees.columns > _MOST_COPIED or (is_lowest and compare == "lt")):
        return "any", False
    return compare, bool(of_nan.any())


def packed(trees: Trees) -> Packed:
    """Pack nodes: roots first, then the children of each node side by side.

    A node that several others have as a child is there for each of them, its own children once.
    """
    inner = np.flatnonzero(~trees.is_leaf)
    rank = np.zeros(len(trees.met), np.int64)
    rank[inner] = np.arange(len(inner))
    pairs = np.stack([trees.false[inner], trees.true[inner]], 1).reshape(-1)
    node_of = np.concatenate([trees.roots, pairs])
    is_leaf, met, features = (a[node_of] for a in (trees.is_leaf, trees.met, trees.features))
    splits = np.where(is_leaf, np.nan, trees.splits[node_of]).astype(trees.splits.dtype)
    compare, copied = _way(trees)
    if compare == "any":
        features = features << 4 | met
    elif copied:
        features = features * 2 + (met & NAN != 0)
    words = NODE_WORDS["f32" if splits.dtype == np.float32 else "f64"]
    first = np.where(is_leaf, np.arange(len(node_of)), len(trees.roots) + 2 * rank[node_of])
    nodes = np.empty((len(node_of), words), np.uint32)
    nodes[:, : words - 2] = splits.reshape(-1, 1).view(np.uint32)
    nodes[:, -2] = np.where(is_leaf, 0, features)
    nodes[:, -1] = first * words
    return Packed(compare, copied, nodes, node_of)


def leaf_weights(weights: Weights, node_of: np.ndarray) -> np.ndarray:
    """Weight of each packed node, where a leaf has one at most."""
    at = np.searchsorted(weights.leaves, node_of).clip(0, max(len(weights.leaves) - 1, 0))
    if not len(weights.leaves):
        return np.zeros(len(node_of), weights.values.dtype)
    found = weights.leaves[at] == node_of
    return np.where(found, weights.values[at], 0).astype(weights.values.dtype)


def leaf_ranges(weights: Weights, node_of: np.ndarray) -> np.ndarray:
    """First weight of each packed node, and the one after its last."""
    ends = [np.searchsorted(weights.leaves, node_of, side) for side in ("left", "right")]
    return np.stack(ends, 1).astype(np.int32)
