"""Ensembles of decision trees: all rows walk all trees together, a level at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .ml_scores import both_classes, labelled, transformed
from .operator import ML, Operator

_MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
_COMPARE = [np.less_equal, np.less, np.greater_equal, np.greater, np.equal, np.not_equal]
LEAF, MEMBER = 7, 6
_AGGREGATES = ["AVERAGE", "SUM", "MIN", "MAX"]


@dataclass(frozen=True)
class _Trees:
    """Nodes of all trees in one table; ``modes`` has LEAF where a tree ends."""

    roots: np.ndarray
    features: np.ndarray
    splits: np.ndarray
    modes: np.ndarray
    true: np.ndarray
    false: np.ndarray
    missing: np.ndarray
    members: dict[int, np.ndarray]

    def leaves(self, x: np.ndarray) -> np.ndarray:
        """Leaf that each row reaches in each tree, by its place in the table."""
        at = np.broadcast_to(self.roots, (len(x), len(self.roots))).copy()
        rows = np.arange(len(x))[:, None]
        for _ in range(len(self.modes) + 1):
            modes = self.modes[at]
            if (modes == LEAF).all():
                return at
            values, splits = x[rows, self.features[at]], self.splits[at]
            met = np.zeros(at.shape, bool)
            for mode, compare in enumerate(_COMPARE):
                met = np.where(modes == mode, compare(values, splits), met)
            for node, members in self.members.items():
                met = np.where(at == node, np.isin(values, members), met)
            met |= self.missing[at] & np.isnan(values)
            at = np.where(modes == LEAF, at, np.where(met, self.true[at], self.false[at]))
        raise ValueError("a tree goes round in a circle")


def _old_trees(given: dict[str, Any]) -> tuple[_Trees, dict[tuple[int, int], int]]:
    """Trees whose nodes have numbers within their tree; and the places of these nodes."""
    trees, numbers = given["nodes_treeids"], given["nodes_nodeids"]
    places = {pair: place for place, pair in enumerate(zip(trees, numbers, strict=True))}
    modes = np.array([LEAF if m == "LEAF" else _MODES.index(m) for m in given["nodes_modes"]])

    def children(name: str) -> np.ndarray:
        pairs = zip(trees, given[name], modes, strict=True)
        return np.array([0 if m == LEAF else places[tree, n] for tree, n, m in pairs], np.int64)

    count = len(trees)
    tensor = given.get("nodes_values_as_tensor")
    splits = np.array(given["nodes_values"], np.float32) if tensor is None else tensor
    missing = np.array(given.get("nodes_missing_value_tracks_true") or [0] * count, bool)
    true, false = children("nodes_truenodeids"), children("nodes_falsenodeids")
    # The root of a tree is the first of its nodes.
    roots = np.unique(trees, return_index=True)[1]
    features = np.array(given["nodes_featureids"], np.int64)
    return _Trees(roots, features, splits, modes, true, false, missing, {}), places


def _numbers(given: dict[str, Any], name: str) -> np.ndarray | None:
    tensor = given.get(f"{name}_as_tensor")
    if tensor is not None:
        return np.asarray(tensor, np.float64)
    return np.array(given[name], np.float64) if given.get(name) else None


def _real(x: np.ndarray) -> np.ndarray:
    rows = x.reshape(1, -1) if x.ndim == 1 else x
    return rows if rows.dtype.kind == "f" else rows.astype(np.float32)


def _weights(
    places: Any, targets: Any, weights: Any, nodes: int, count: int, kind: np.dtype[Any]
) -> tuple[np.ndarray, np.ndarray]:
    """Weights by leaf and target, in the type of the features, and which of them there are."""
    table, exists = np.zeros((nodes, count), kind), np.zeros((nodes, count), bool)
    np.add.at(table, (places, targets), weights)
    exists[places, targets] = True
    return table, exists


def _aggregated(
    leaves: np.ndarray, table: np.ndarray, exists: np.ndarray, how: str, base: Any
) -> np.ndarray:
    """Sum, mean or extremum over the trees, in their order; without weights it is zero."""
    y = np.zeros((len(leaves), table.shape[1]), table.dtype)
    if how in ("SUM", "AVERAGE"):
        for reached in leaves.T:
            y += table[reached]
        y = y / len(leaves.T) if how == "AVERAGE" else y
    else:
        far, choose = (np.inf, np.minimum) if how == "MIN" else (-np.inf, np.maximum)
        y[...] = far
        for reached in leaves.T:
            y = choose(y, np.where(exists[reached], table[reached], far))
        y = np.where(exists[leaves].any(1), y, 0)
    return np.asarray(y if base is None else y + base.astype(y.dtype), table.dtype)


class TreeEnsembleRegressor(Operator):
    """TreeEnsembleRegressor."""

    op_domain = ML

    def _run(
        self, x: np.ndarray, *, aggregate_function: str, n_targets: int, post_transform: str,
        **given: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        rows, (trees, places) = _real(x), _old_trees(given)
        pairs = zip(given["target_treeids"], given["target_nodeids"], strict=True)
        table, exists = _weights(
            [places[pair] for pair in pairs], given["target_ids"],
            _numbers(given, "target_weights"), len(trees.modes), n_targets, rows.dtype,
        )  # fmt: skip
        base = _numbers(given, "base_values")
        y = _aggregated(trees.leaves(rows), table, exists, aggregate_function, base)
        return (transformed(y.astype(np.float32), post_transform),)


class TreeEnsembleClassifier(Operator):
    """TreeEnsembleClassifier; weights of one class only may stand for two classes."""

    op_domain = ML

    def _run(
        self, x: np.ndarray, *, classlabels_int64s: Any, classlabels_strings: Any,
        post_transform: str, **given: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        rows, (trees, places) = _real(x), _old_trees(given)
        count = len(classlabels_strings or classlabels_int64s)
        pairs = zip(given["class_treeids"], given["class_nodeids"], strict=True)
        weights = _numbers(given, "class_weights")
        assert weights is not None
        table, exists = _weights(
            [places[pair] for pair in pairs], given["class_ids"], weights, len(trees.modes),
            max(count, 2), rows.dtype,
        )  # fmt: skip
        scores = _aggregated(
            trees.leaves(rows), table, exists, "SUM", _numbers(given, "base_values")
        )
        single = len(set(given["class_ids"])) == 1
        indices = scores.argmax(1)
        if single and count <= 2:
            only = given["class_ids"][0]
            positive = bool((weights >= 0).all())
            second = scores[:, only]
            indices = (second > (0.5 if positive else 0)).astype(np.int64)
            if only == 0:
                y = both_classes(second[:, None], post_transform, probabilities=positive)
                return labelled(indices, classlabels_int64s, classlabels_strings), y
        y = transformed(scores.astype(np.float32), post_transform)
        return labelled(indices, classlabels_int64s, classlabels_strings), y


class TreeEnsemble(Operator):
    """TreeEnsemble of version 5, whose leaves have a table of their own."""

    op_domain = ML

    def _run(
        self, x: np.ndarray, *, aggregate_function: int, n_targets: int, post_transform: int,
        leaf_targetids: list[int], leaf_weights: np.ndarray, tree_roots: list[int], **given: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        rows = _real(x)
        trees, first = _new_trees(given, tree_roots, len(leaf_targetids))
        leaves = trees.leaves(rows) - first
        places = np.arange(len(leaf_targetids))
        table, exists = _weights(
            places, leaf_targetids, leaf_weights, len(places), n_targets, rows.dtype
        )
        y = _aggregated(leaves, table, exists, _AGGREGATES[aggregate_function], None)
        names = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"]
        return (transformed(y, names[post_transform]),)


def _new_trees(given: dict[str, Any], roots: list[int], leaves: int) -> tuple[_Trees, int]:
    """Inner nodes, then leaves; the place of the first leaf.

    A tree that is a single leaf has a root both of whose branches lead to it.
    """
    count = len(given["nodes_featureids"])
    modes = np.concatenate([given["nodes_modes"].astype(np.int64), np.full(leaves, LEAF)])

    def children(kind: str) -> np.ndarray:
        is_leaf = np.array(given[f"nodes_{kind}leafs"], bool)
        targets = np.array(given[f"nodes_{kind}nodeids"], np.int64)
        return np.concatenate([np.where(is_leaf, targets + count, targets), np.zeros(leaves, int)])

    def padded(values: Any, kind: Any) -> np.ndarray:
        return np.concatenate([np.asarray(values, kind), np.zeros(leaves, kind)])

    members = {}
    if given.get("membership_values") is not None:
        sets = _sets(given["membership_values"])
        members = dict(zip(np.flatnonzero(modes == MEMBER).tolist(), sets, strict=True))
    splits = given["nodes_splits"]
    missing = given.get("nodes_missing_value_tracks_true") or [0] * count
    trees = _Trees(
        np.array(roots, np.int64), padded(given["nodes_featureids"], np.int64),
        padded(splits, splits.dtype), modes, children("true"), children("false"),
        padded(missing, bool), members,
    )  # fmt: skip
    return trees, count


def _sets(values: np.ndarray) -> list[np.ndarray]:
    """Sets of values that NaN separates."""
    ends = np.flatnonzero(np.isnan(values))
    begins = [0, *(ends + 1)]
    return [values[begin:end] for begin, end in zip(begins, ends, strict=False)]
