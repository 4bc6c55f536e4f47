"""Patches of onnxmltools' converters of XGBoost and LightGBM, which are wrong without a word.

XGBoost grows ``num_parallel_tree`` trees of one class, or target, and then those of the next. The
converter expects them in turn, one of each, whatever it counts; and it writes scores of regressors
as they are, also where the objective has a link function. Averages of LightGBM's trees it divides
by 100, however many there are, and the factor of the logistic function it leaves out; what else it
does not write is refused.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
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


# --- LightGBM ---------------------------------------------------------------------------------


def _scaled(dump: Callable[..., Any]) -> Callable[..., Any]:
    def replacement(booster: Any, *args: Any, **options: Any) -> Any:
        model, info = dump(booster, *args, **options)
        nodes = [node for tree in model["tree_info"] for node in _nodes(tree["tree_structure"])]
        words = str(model.get("objective", "")).split()
        if what := _not_written(model, words, nodes):
            raise RuntimeError(f"{what} are not converted")
        factor = next((float(w.partition(":")[2]) for w in words if w.startswith("sigmoid:")), 1.0)
        if model.get("average_output"):
            factor *= 100 * model["num_tree_per_iteration"] / len(model["tree_info"])
        for node in nodes if factor != 1 else ():
            if "leaf_value" in node:
                node["leaf_value"] *= factor
        return model, info

    return replacement


def _nodes(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    left = [root]
    while left:
        node = left.pop()
        yield node
        left += [node[side] for side in ("left_child", "right_child") if side in node]


def _not_written(model: dict[str, Any], words: list[str], nodes: list[dict[str, Any]]) -> str:
    """Name what the converter would leave out of a model."""
    objective = words[0] if words else ""
    is_linear = objective.startswith(("regression", "quantile", "huber"))
    if model.get("average_output") and not is_linear:
        return f"averages of trees (boosting_type='rf') for the objective {objective!r}"
    if objective == "multiclassova":
        return "probabilities of one class against all others (objective 'multiclassova')"
    if "sqrt" in words:
        return "squares of sums (reg_sqrt)"
    if any(node.get("leaf_coeff") for node in nodes):
        return "linear models of leaves (linear_tree)"
    if any(node.get("missing_type") == "Zero" for node in nodes):
        return "zeros that count as missing (zero_as_missing)"
    return ""


# --- patches ----------------------------------------------------------------------------------


def _patch(target: str, replacement: Callable[[Any], Any], reason: str) -> Patch:
    return Patch(
        "onnxmltools", f"onnxmltools.convert.{target}", replacement, reason, "1.16",
        during="boosted trees are converted",
    )  # fmt: skip


_XGBOOST, _LIGHTGBM = (
    "xgboost.operator_converters.XGBoost", "lightgbm.operator_converters.LightGbm"
)  # fmt: skip
PATCHES = {
    "xgboost": (
        _patch(f"{_XGBOOST}.XGBConverter.common_members", _in_turn,
               "it takes the number of a tree for its class"),
        _patch(f"{_XGBOOST}.get_n_estimators_classifier", _by_trees,
               "it leaves parallel trees out of account"),
        _patch(f"{_XGBOOST}.XGBRegressorConverter.convert", _with_targets,
               "it takes all trees for one target's"),
    ),
    "lightgbm": (
        _patch(f"{_LIGHTGBM}.dump_booster_model", _scaled,
               "it divides averages by 100, and leaves out what it does not know"),
    ),
}  # fmt: skip
"""Patches by the package whose models are converted."""


def patches() -> list[Patch]:
    """Return those for the packages that are imported."""
    return [patch for package, some in PATCHES.items() if package in sys.modules for patch in some]
