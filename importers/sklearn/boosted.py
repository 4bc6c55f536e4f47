"""Patches of onnxmltools' converter of XGBoost, which takes the number of a tree for its class.

XGBoost grows ``num_parallel_tree`` trees of one class, or target, and then those of the next. The
converter expects them in turn, one of each, whatever it counts; and it writes scores of regressors
as they are, also where the objective has a link function.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from ...patches import Patch

_LINEAR = (
    "reg:squarederror", "reg:linear", "reg:squaredlogerror", "reg:absoluteerror",
    "reg:pseudohubererror", "reg:quantileerror", "rank:pairwise", "rank:ndcg", "rank:map",
)  # fmt: skip
"""Objectives of regressors whose predictions are the sums of leaves."""
_EXPONENTIAL = ("count:poisson", "reg:gamma", "reg:tweedie")


def _in_turn(common_members: Callable[..., Any]) -> Callable[..., Any]:
    def replacement(estimator: Any, inputs: Any) -> tuple[Any, Any, list[Any], None]:
        objective, base, trees, _ = common_members(estimator, inputs)
        document = json.loads(estimator.get_booster().save_raw("json"))
        model = document["learner"]["gradient_booster"]["model"]
        targets = np.array(model["tree_info"], np.int64)
        if hasattr(estimator, "best_iteration"):  # the last round that predictions use
            targets = targets[: model["iteration_indptr"][estimator.best_iteration + 1]]
        turns = np.zeros(len(targets), np.int64)
        for target in np.unique(targets):
            turns[targets == target] = np.arange(np.count_nonzero(targets == target))
        order = np.lexsort((targets, turns))
        if objective == "multi:softmax":  # probabilities are those of the other objective
            objective = "multi:softprob"
        return objective, base, [trees[index] for index in order], None

    return replacement


def _by_trees(_: Callable[..., int]) -> Callable[..., int]:
    def replacement(estimator: Any, params: dict[str, Any], trees: list[Any]) -> int:
        return len(trees) // max(params.get("num_class", 0), 1)

    return replacement


def _with_targets(convert: Callable[..., None]) -> Callable[..., None]:
    from onnxmltools.convert.xgboost.common import get_xgb_params

    def replacement(scope: Any, operator: Any, container: Any) -> None:
        params = get_xgb_params(operator.raw_operator)
        objective, count = params["objective"], params["n_targets"]
        if objective not in (*_LINEAR, *_EXPONENTIAL) and not callable(objective):
            raise RuntimeError(f"predictions of the objective {objective!r} are not known")
        convert(scope, operator, container)
        if count > 1:
            _name_targets(container.nodes, count)

    return replacement


def _name_targets(nodes: list[Any], count: int) -> None:
    """Give the leaves of the last ensemble the targets of their trees, which come in turn."""
    node = next(node for node in reversed(nodes) if node.op_type == "TreeEnsembleRegressor")
    attributes = {each.name: each for each in node.attribute}
    trees = np.array(attributes["target_treeids"].ints, np.int64)
    ids = onnx.helper.make_attribute("target_ids", (trees % count).tolist())
    attributes["target_ids"].CopyFrom(ids)


def _patch(target: str, replacement: Callable[[Any], Any], reason: str) -> Patch:
    module = "onnxmltools.convert.xgboost.operator_converters.XGBoost"
    return Patch(
        "onnxmltools", f"{module}.{target}", replacement, reason, "1.16",
        during="a model of XGBoost is converted",
    )  # fmt: skip


PATCHES = (
    _patch("XGBConverter.common_members", _in_turn, "it takes the number of a tree for its class"),
    _patch("get_n_estimators_classifier", _by_trees, "it leaves parallel trees out of account"),
    _patch("XGBRegressorConverter.convert", _with_targets, "it takes all trees for one target's"),
)
