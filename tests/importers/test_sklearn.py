"""Estimators of scikit-learn, LightGBM and XGBoost, against their own predictions."""

import numpy as np
import pytest
import sardonyx
from sardonyx import ImportFailed, InvalidArgument

pytest.importorskip("skl2onnx", reason="needs the extra sklearn")
pytest.importorskip("onnxmltools", reason="needs the extra sklearn")

from sklearn import (
    cluster,
    compose,
    decomposition,
    discriminant_analysis,
    ensemble,
    linear_model,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    svm,
    tree,
)

rng = np.random.default_rng(0)
X = rng.standard_normal((120, 5)).astype(np.float32)
LABELS = {
    "two classes": (X[:, 0] + X[:, 1] > 0).astype(int),
    "three classes": np.digitize(X[:, 0], [-0.4, 0.4]),
    "names": np.array(["no", "maybe", "yes"])[np.digitize(X[:, 0], [-0.4, 0.4])],
}

CLASSIFIERS = [
    linear_model.LogisticRegression(),
    linear_model.Perceptron(),
    linear_model.RidgeClassifier(),
    discriminant_analysis.LinearDiscriminantAnalysis(),
    svm.SVC(),
    svm.LinearSVC(),
    tree.DecisionTreeClassifier(max_depth=4),
    ensemble.RandomForestClassifier(8, random_state=0),
    ensemble.GradientBoostingClassifier(n_estimators=5, random_state=0),
    ensemble.HistGradientBoostingClassifier(max_iter=5),
    neighbors.KNeighborsClassifier(),
    naive_bayes.GaussianNB(),
    neural_network.MLPClassifier((8,), max_iter=20, random_state=0),
    pipeline.make_pipeline(preprocessing.StandardScaler(), linear_model.LogisticRegression()),
]
OTHERS = [
    linear_model.LinearRegression(),
    linear_model.PoissonRegressor(),
    svm.SVR(),
    ensemble.RandomForestRegressor(8, random_state=0),
    ensemble.HistGradientBoostingRegressor(max_iter=5),
    neighbors.KNeighborsRegressor(),
    cluster.KMeans(3, n_init=1, random_state=0),
    decomposition.PCA(3),
    preprocessing.PolynomialFeatures(),
    preprocessing.MinMaxScaler(),
    svm.OneClassSVM(),
]


def check(estimator, x=X[:20]):
    converted = sardonyx.convert(estimator, feeds={"X": x})
    assert not converted.unchecked
    differences = [(each.name, each.max_abs) for each in converted.outputs]
    assert converted.agrees, differences
    return converted


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=lambda each: type(each).__name__)
def test_classifiers_give_labels_and_probabilities(estimator, labels):
    converted = check(estimator.fit(X, LABELS[labels]))
    assert [value.name for value in converted.model.graph.outputs] == ["label", "probabilities"]
    assert converted.labels == [str(each) for each in np.unique(LABELS[labels])]


@pytest.mark.parametrize("estimator", OTHERS, ids=lambda each: type(each).__name__)
def test_other_estimators_agree(estimator):
    check(estimator.fit(X, np.abs(X[:, 0])))


@pytest.mark.parametrize("package, names", [
    ("lightgbm", ("LGBMClassifier", "LGBMRegressor")),
    ("xgboost", ("XGBClassifier", "XGBRegressor")),
])  # fmt: skip
def test_boosted_trees_agree_alone_and_in_pipelines(package, names):
    module = pytest.importorskip(package, reason=f"{package} is no part of the extra sklearn")
    options = {"verbose": -1} if package == "lightgbm" else {}
    target = LABELS["three classes"]
    for name in names:
        estimator = getattr(module, name)(n_estimators=5, **options).fit(X, target)
        check(estimator)
        halves = preprocessing.FunctionTransformer()
        check(
            pipeline.make_pipeline(halves, getattr(module, name)(n_estimators=5, **options)).fit(
                X, target
            )
        )
    booster = getattr(estimator, "booster_", None) or estimator.get_booster()
    x = X[:20]
    expected = booster.predict(x if package == "lightgbm" else module.DMatrix(x))
    (found,) = sardonyx.Session(sardonyx.load(booster)).run(None, {"X": x})
    np.testing.assert_allclose(found.reshape(-1), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("package", ["lightgbm", "xgboost"])
def test_boosted_trees_of_missing_values_names_and_ranks_agree(package):
    module = pytest.importorskip(package, reason=f"{package} is no part of the extra sklearn")
    x = np.where(rng.random(X.shape) < 0.15, np.nan, X).astype(np.float32)
    prefix, options = ("LGBM", {"verbose": -1}) if package == "lightgbm" else ("XGB", {})
    groups = {"group": [60, 60]} if package == "lightgbm" else {"qid": np.arange(120) // 60}
    ranker = getattr(module, f"{prefix}Ranker")(n_estimators=5, **options)
    ranker.fit(x, LABELS["three classes"], **groups)
    (found,) = sardonyx.Session(sardonyx.load(ranker)).run(None, {"X": x})
    np.testing.assert_allclose(found.reshape(-1), ranker.predict(x), rtol=1e-5, atol=1e-5)
    target = LABELS["names" if package == "lightgbm" else "three classes"]  # xgboost takes numbers
    classifier = getattr(module, f"{prefix}Classifier")(n_estimators=5, **options).fit(x, target)
    labels, scores = sardonyx.Session(sardonyx.load(classifier)).run(None, {"X": x})
    np.testing.assert_array_equal(labels, classifier.predict(x))
    np.testing.assert_allclose(scores, classifier.predict_proba(x), atol=1e-5)


def test_columns_of_a_frame_are_inputs():
    pandas = pytest.importorskip("pandas", reason="frames are those of pandas")
    towns = np.array(["a", "b", "c"])[np.arange(120) % 3]
    frame = pandas.DataFrame({"age": X[:, 0], "count": np.arange(120) % 7, "town": towns})
    columns = compose.make_column_transformer(
        (preprocessing.StandardScaler(), ["age", "count"]),
        (preprocessing.OneHotEncoder(handle_unknown="ignore"), ["town"]),
    )
    estimator = pipeline.make_pipeline(columns, linear_model.LogisticRegression())
    estimator.fit(frame, LABELS["two classes"])
    converted = sardonyx.convert(estimator, example_inputs=frame[:10])
    assert [value.name for value in converted.model.graph.inputs] == ["age", "count", "town"]
    assert converted.agrees, converted.unchecked


def test_doubles_stay_doubles():
    x = X.astype(np.float64) + 1e-9
    estimator = linear_model.LinearRegression().fit(x, x[:, 0] * 3)
    model = sardonyx.load(estimator, example_inputs=x)
    (found,) = sardonyx.Session(model).run(None, {"X": x})
    assert found.dtype == np.float64
    np.testing.assert_allclose(found.reshape(-1), estimator.predict(x), rtol=1e-12)


def test_errors_name_the_estimator():
    with pytest.raises(ImportFailed, match="Birch"):
        sardonyx.load(cluster.Birch().fit(X))
    with pytest.raises(InvalidArgument, match="LogisticRegression"):
        sardonyx.load(linear_model.LogisticRegression())
