"""Boosted trees: of several classes, targets and trees a round, stopped early, averaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sardonyx

xgboost = pytest.importorskip("xgboost", reason="xgboost is no part of the extra sklearn")
rng = np.random.default_rng(0)
X = rng.standard_normal((120, 5)).astype(np.float32)
TARGETS = {
    "one": X[:, 0] * X[:, 1] + 3,
    "two": np.stack([X[:, 0] * X[:, 1] + 3, X[:, 2] - 1], 1),
    "binary": (X[:, 0] > 0).astype(int),
    "three": np.digitize(X[:, 0] + X[:, 1], [-0.5, 0.5]),
}
PARALLEL = {"num_parallel_tree": 3, "subsample": 0.7}


def check(estimator: Any) -> None:
    results = sardonyx.Session(sardonyx.load(estimator), threads=1).run(None, {"X": X})
    expected = estimator.predict(X)
    if len(results) == 1:
        found = results[0].reshape(expected.shape)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        return
    np.testing.assert_array_equal(results[0], expected)
    np.testing.assert_allclose(results[1], estimator.predict_proba(X), atol=1e-5)


def estimator(kind: str, target: str, **options: Any) -> Any:
    task = "Regressor" if target in ("one", "two") else "Classifier"
    return getattr(xgboost, f"{kind}{task}")(n_estimators=4, **options)


@pytest.mark.parametrize("target", list(TARGETS))
@pytest.mark.parametrize("kind, options", [("XGB", PARALLEL), ("XGBRF", {})])
def test_several_trees_a_round_agree(kind, options, target):
    check(estimator(kind, target, **options).fit(X, TARGETS[target]))


@pytest.mark.parametrize("target", ["one", "binary", "three"])
def test_rounds_after_the_best_one_do_not_count(target):
    stopped = estimator("XGB", target, early_stopping_rounds=1, **PARALLEL)
    stopped.set_params(n_estimators=40)
    y = TARGETS[target]
    stopped.fit(X, y, eval_set=[(X, rng.permutation(y))], verbose=False)
    assert stopped.best_iteration + 1 < stopped.get_booster().num_boosted_rounds()
    check(stopped)


@pytest.mark.parametrize("target, objective", [
    ("three", "multi:softmax"), ("one", "count:poisson"), ("one", "reg:absoluteerror"),
])  # fmt: skip
def test_objectives_agree(target, objective):
    check(estimator("XGB", target, objective=objective).fit(X, np.abs(TARGETS[target])))


def test_an_objective_whose_link_function_is_not_known_is_refused():
    share = 1 / (1 + np.exp(-TARGETS["one"]))
    model = estimator("XGB", "one", objective="reg:logistic").fit(X, share)
    with pytest.raises(sardonyx.ImportFailed, match="objective 'reg:logistic'"):
        sardonyx.load(model)


def gbm(task: str, **options: Any) -> Any:
    module = pytest.importorskip("lightgbm", reason="lightgbm is no part of the extra sklearn")
    return getattr(module, f"LGBM{task}")(n_estimators=7, verbose=-1, **options)


FOREST = {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1}


@pytest.mark.parametrize("task, target, options", [
    ("Regressor", "one", FOREST), ("Regressor", "one", {"boosting_type": "dart"}),
    ("Classifier", "binary", {"sigmoid": 2.0}), ("Classifier", "three", {}),
])  # fmt: skip
def test_options_of_lightgbm_agree(task, target, options):
    check(gbm(task, **options).fit(X, TARGETS[target]))


@pytest.mark.parametrize("task, target, options, what", [
    ("Classifier", "binary", FOREST, "averages of trees"),
    ("Classifier", "three", {"objective": "multiclassova"}, "one class against all others"),
    ("Regressor", "one", {"reg_sqrt": True}, "squares of sums"),
    ("Regressor", "one", {"linear_tree": True, "num_leaves": 4}, "linear models of leaves"),
    ("Regressor", "one", {"zero_as_missing": True}, "zeros that count as missing"),
])  # fmt: skip
def test_what_the_converter_of_lightgbm_leaves_out_is_refused(task, target, options, what):
    x = np.where(np.abs(X) < 0.5, 0, X) if "zero_as_missing" in options else X
    model = gbm(task, **options).fit(x, TARGETS[target])
    with pytest.raises(sardonyx.ImportFailed, match=what):
        sardonyx.load(model)


@pytest.mark.parametrize("package", ["lightgbm", "xgboost"])
@pytest.mark.parametrize("target", ["one", "binary", "three"])
def test_boosters_agree(package, target):
    module = pytest.importorskip(package, reason=f"{package} is no part of the extra sklearn")
    names = {
        "lightgbm": {"one": "regression", "binary": "binary", "three": "multiclass"},
        "xgboost": {"one": "reg:squarederror", "binary": "binary:logistic",
                    "three": "multi:softprob"},
    }  # fmt: skip
    parameters = {"objective": names[package][target]}
    parameters |= {"num_class": 3} if target == "three" else {}
    if package == "lightgbm":
        data, parameters["verbose"] = module.Dataset(X, TARGETS[target]), -1
        booster = module.train(parameters, data, 4)
        expected = booster.predict(X)
    else:
        data = module.DMatrix(X, TARGETS[target])
        booster = module.train({**parameters, **PARALLEL}, data, 4)
        expected = booster.predict(data)
    found = sardonyx.Session(sardonyx.load(booster), threads=1).run(None, {"X": X})[-1]
    found = found[:, 1] if target == "binary" else found.reshape(expected.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
