"""Operators of ai.onnx.ml that are products, look-ups and the like, on drawn attributes.

Expected are results of the operators on the host, which ``tests/reference`` compares with
onnxruntime on the same draws; models of scikit-learn are compared with it.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper
from sardonyx.reference import evaluator

from ...reference import draw_ml  # noqa: F401  (it fills the table)
from ...reference.drawing import DRAWN, Case, Draw
from ...reference.modelling import node_model, untyped
from ...reference.witness import ours

ML = "ai.onnx.ml"
OPERATORS = (
    "ArrayFeatureExtractor", "Binarizer", "FeatureVectorizer", "Imputer", "LabelEncoder",
    "LinearClassifier", "LinearRegressor", "Normalizer", "OneHotEncoder", "SVMClassifier",
    "SVMRegressor", "Scaler",
)  # fmt: skip
CASES = 16


def typed(model: onnx.ModelProto, inputs: list[np.ndarray], is_open: bool) -> onnx.ModelProto:
    """Declare the inputs; the first axis of each is open or fixed."""
    for port, array in zip(model.graph.input, inputs, strict=True):
        kind = onnx.TensorProto.STRING
        if array.dtype != object:
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        dims: list[Any] = list(array.shape)
        if is_open and dims:
            dims[0] = f"rows of {port.name}"
        port.CopyFrom(helper.make_tensor_value_info(port.name, kind, dims))
    return model


def steps_on_host(name: str, draw: Draw, case: Case) -> set[str]:
    """Say which operators of a case have no kernel."""
    x = case.inputs[0]
    if name == "LabelEncoder":
        is_text = any("strings" in key and not key.startswith("default") for key in case.attributes)
        return {name} if is_text else set()
    if name == "OneHotEncoder":
        return {name} if x.dtype == object or case.attributes.get("zeros") == 0 else set()
    return {"LabelEncoder"} if "classlabels_strings" in case.attributes else set()


def same(a: Any, b: Any, tolerance: float = 1e-5) -> None:
    assert (a.dtype, a.shape) == (b.dtype, b.shape)
    if a.dtype.kind == "f":
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    else:
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", OPERATORS)
def test_drawn_cases(guard, name):
    compiled = 0
    for number in range(CASES):
        draw = Draw([number, 7, zlib.crc32(name.encode())], name, ML)
        case = DRAWN[ML, name](draw)
        is_open = number % 2 == 1 and len(case.inputs) == 1
        model = typed(node_model(draw, case, untyped), case.inputs, is_open)
        feeds = {f"x{i}": x for i, x in enumerate(case.inputs)}
        with np.errstate(all="ignore"):
            wanted = evaluator(model).run(None, feeds)
        sessions = [sardonyx.Session(model, threads=n, optimize="none") for n in (1, 2, 3)]
        hosts = {step.op_type for step in sessions[0].engine.program.host_steps}
        assert hosts == steps_on_host(name, draw, case), (number, case.attributes)
        for a, b in zip(sessions[0].run(None, feeds), wanted, strict=True):
            same(a, b, 1e-4 if name.startswith("SVM") else 1e-5)
        if is_open and not hosts:
            check_rows(sessions, feeds["x0"], wanted)
        compiled += name not in hosts
    assert compiled >= CASES // 4


def check_rows(sessions: list[sardonyx.Session], x: np.ndarray, wanted: Any) -> None:
    """Run no rows, and many; on any number of threads the results are the same bits."""
    for count in (0, 300):
        times = [count] + [1] * (x.ndim - 1)
        found, *others = (session.run(None, {"x0": np.tile(x, times)}) for session in sessions)
        for results in others:
            for a, b in zip(found, results, strict=True):
                np.testing.assert_array_equal(a, b)
        for a, b in zip(found, wanted, strict=True):
            if count:
                same(a, np.tile(b, [count] + [1] * (b.ndim - 1)), 1e-4)
            else:
                assert a.shape == (0, *b.shape[1:])


def session_of(op_type: str, x: np.ndarray, outputs: int = 1, version: int = 3,
               more: Any = (), names: Any = (), **attributes: Any) -> sardonyx.Session:  # fmt: skip
    results = names or [f"y{i}" for i in range(outputs)]
    node = helper.make_node(op_type, ["x", *more], results, "node", domain=ML, **attributes)
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    ports = [helper.make_tensor_value_info("x", kind, ["n", *x.shape[1:]])]
    ports += [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in dict(more).items()
    ]
    graph = helper.make_graph(
        [node], "g", ports, [onnx.ValueInfoProto(name=n) for n in results if n]
    )
    imports = [helper.make_opsetid("", 21), helper.make_opsetid(ML, version)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    return sardonyx.Session(model, threads=2)


@pytest.mark.parametrize("kind", ["float32", "float64", "int16", "int32", "int64"])
def test_keys_in_any_order_and_those_that_are_none(kind, rng):
    count = 37
    keys = rng.permutation(200)[:count].astype(kind)
    values = rng.integers(-100, 100, count)
    x = np.arange(-3, 205).astype(kind)
    tensors = {
        "keys_tensor": helper.make_tensor("k", helper.np_dtype_to_tensor_dtype(keys.dtype),
                                          [count], keys.tolist()),
        "values_tensor": helper.make_tensor("v", onnx.TensorProto.INT16, [count], values.tolist()),
        "default_tensor": helper.make_tensor("d", onnx.TensorProto.INT16, [1], [777]),
    }  # fmt: skip
    session = session_of("LabelEncoder", x, version=4, **tensors)
    table = dict(zip(keys.tolist(), values.tolist(), strict=True))
    (y,) = session.run(None, {"x": x})
    assert y.dtype == np.int16 and y.tolist() == [table.get(v, 777) for v in x.tolist()]
    assert not session.engine.program.host_steps


def test_the_key_nan_and_infinities():
    keys = [np.nan, np.inf, -np.inf, 0.0, 2.5]
    x = np.array([[2.5, -0.0, np.nan], [np.inf, -np.inf, 7.0]], np.float32)
    session = session_of("LabelEncoder", x, keys_floats=keys, values_floats=[1, 2, 3, 4, 5.0],
                         default_float=-9.0)  # fmt: skip
    assert session.run(None, {"x": x})[0].tolist() == [[5, 4, 1], [2, 3, -9]]


@pytest.mark.parametrize(
    ("op_type", "outputs", "attributes", "reason"),
    [
        ("LinearRegressor", 1, {"coefficients": [1.0] * 5, "targets": 2}, "coefficients"),
        ("LinearRegressor", 1, {"coefficients": [1.0] * 3, "intercepts": [1.0, 2.0]}, "intercepts"),
        ("LinearClassifier", 2, {"coefficients": [1.0] * 7}, "coefficients"),
        ("LinearClassifier", 2, {"coefficients": [1.0] * 9, "classlabels_ints": [1, 2]}, "classes"),
        ("LinearClassifier", 2, {"coefficients": [1.0] * 9, "post_transform": "X"}, "transform"),
        ("SVMRegressor", 1, {"coefficients": [1.0], "n_supports": 1, "rho": [0.0],
                             "support_vectors": [1.0] * 2}, "support_vectors"),
        ("SVMRegressor", 1, {"coefficients": [1.0] * 3}, "rho"),
        ("SVMRegressor", 1, {"coefficients": [1.0], "n_supports": 1, "rho": [0.0],
                             "support_vectors": [1.0] * 3, "kernel_type": "RBF"}, "kernel_params"),
        ("SVMClassifier", 2, {"vectors_per_class": [1, 1], "coefficients": [1.0], "rho": [0.0],
                              "support_vectors": [1.0] * 6}, "coefficients"),
        ("SVMClassifier", 2, {"vectors_per_class": [1, 1], "coefficients": [1.0] * 2, "rho": [0.0],
                              "support_vectors": [1.0] * 6, "prob_a": [1.0, 2.0]}, "prob_a"),
        ("Scaler", 1, {"offset": [1.0, 2.0]}, "offset"),
        ("Normalizer", 1, {"norm": "L3"}, "norm"),
        ("Imputer", 1, {}, "imputed_value_floats"),
        ("LabelEncoder", 1, {"keys_floats": [1.0], "values_floats": [1.0, 2.0]}, "values"),
    ],
)  # fmt: skip
def test_attributes_that_do_not_fit_are_refused(op_type, outputs, attributes, reason):
    with pytest.raises(sardonyx.InvalidModel, match=reason):
        session_of(op_type, np.ones((2, 3), np.float32), outputs, **attributes)


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
@pytest.mark.parametrize("columns", [1, 3, 16, 17, 70])
def test_norms_of_any_numbers(norm, columns, rng):
    x = (rng.normal(size=(40, columns)) - 1).astype(np.float32)
    x[3, columns // 2], x[5], x[7] = np.nan, 0, -np.abs(x[7])
    (y,) = session_of("Normalizer", x, norm=norm).run(None, {"x": x})
    sizes = {"MAX": x.max(1), "L1": np.abs(x).sum(1), "L2": np.sqrt((x * x).sum(1))}[norm]
    same(y, x / np.where(sizes == 0, 1, sizes)[:, None])


def test_indices_out_of_range_are_errors():
    x, at = np.ones((2, 3), np.float32), np.array([0, 3])
    session = session_of("ArrayFeatureExtractor", x, more={"at": at})
    with pytest.raises(
        sardonyx.KernelError, match=r"index 3 out of range in 'at': expected -3 to 2$"
    ):
        session.run(None, {"x": x, "at": at})


def test_only_scores_or_only_labels_are_wanted(rng):
    x = rng.normal(size=(9, 3)).astype(np.float32)
    attributes: dict[str, Any] = {
        "coefficients": rng.normal(size=9).tolist(), "classlabels_ints": [3, 5, 7],
        "post_transform": "SOFTMAX",
    }  # fmt: skip
    labels, scores = session_of("LinearClassifier", x, 2, **attributes).run(None, {"x": x})
    for wanted, others in ((0, ["y0", ""]), (1, ["", "y1"])):
        session = session_of("LinearClassifier", x, 2, names=others, **attributes)
        assert np.array_equal(session.run(None, {"x": x})[0], (labels, scores)[wanted])
    assert np.array_equal(np.array([3, 5, 7])[scores.argmax(1)], labels)


@pytest.mark.parametrize("kernel", ["LINEAR", "POLY", "RBF", "SIGMOID"])
@pytest.mark.parametrize("sizes", [[3, 40], [0, 17, 16], [1, 2, 3, 30]])
def test_support_vectors_of_any_number_and_rows_with_nan(kernel, sizes, rng):
    count, classes, columns = sum(sizes), len(sizes), 5
    pairs = classes * (classes - 1) // 2
    attributes: dict[str, Any] = {
        "vectors_per_class": sizes, "kernel_type": kernel, "kernel_params": [0.1, 0.0, -1.0],
        "support_vectors": (rng.normal(size=count * columns) + 4).tolist(),
        "coefficients": rng.normal(size=(classes - 1) * count).tolist(),
        "rho": rng.normal(size=pairs).tolist(), "classlabels_ints": list(range(classes)),
    }  # fmt: skip
    x = (rng.normal(size=(50, columns)) + 4).astype(np.float32)
    x[7, 2] = np.nan
    node = helper.make_node("SVMClassifier", ["x"], ["y0", "y1"], "n", domain=ML, **attributes)
    ports = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)]
    graph = helper.make_graph(
        [node], "g", ports, [onnx.ValueInfoProto(name=n) for n in node.output]
    )
    imports = [helper.make_opsetid("", 21), helper.make_opsetid(ML, 3)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    with np.errstate(all="ignore"):
        labels, scores = evaluator(model).run(None, {"x": x})
    found, values = session_of("SVMClassifier", x, 2, **attributes).run(None, {"x": x})
    is_clear = ~(np.abs(scores) < 1e-5).any(1)
    np.testing.assert_array_equal(found[is_clear], labels[is_clear])
    same(values, scores, 1e-4)


def test_a_pair_whose_score_is_no_number_is_won_by_its_second_class():
    attributes: dict[str, Any] = {
        "vectors_per_class": [1, 1, 1], "kernel_type": "LINEAR", "kernel_params": [1.0, 0.0, 1.0],
        "support_vectors": [1.0, 2.0, 3.0], "coefficients": [1.0] * 6, "rho": [0.0] * 3,
        "classlabels_ints": [10, 11, 12],
    }  # fmt: skip
    x = np.array([[np.nan], [1.0]], np.float32)
    compiled = session_of("SVMClassifier", x, 2, **attributes).run(None, {"x": x})[0]
    case = Case([x], attributes, 2)
    on_host = ours(Draw(0, "SVMClassifier", ML), case)[0]
    assert compiled.tolist() == on_host.tolist() == [12, 10]


# --- scikit-learn -----------------------------------------------------------------------------


def converted(model: Any, x: np.ndarray, **options: Any) -> sardonyx.Session:
    skl2onnx = pytest.importorskip("skl2onnx")
    kind = skl2onnx.common.data_types.FloatTensorType([None, x.shape[1]])
    proto = skl2onnx.convert_sklearn(model, initial_types=[("x", kind)], options=options or None)
    return sardonyx.Session(proto.SerializeToString(), threads=2)


def estimators() -> dict[str, Any]:
    pytest.importorskip("sklearn")
    from sklearn import linear_model, pipeline, preprocessing, svm

    scaled = preprocessing.StandardScaler
    return {
        "logistic": linear_model.LogisticRegression(),
        "scaled": pipeline.make_pipeline(scaled(), linear_model.LogisticRegression()),
        "normalized": pipeline.make_pipeline(
            preprocessing.Normalizer(), linear_model.LogisticRegression(C=9.0)
        ),
        "ridge": linear_model.RidgeClassifier(),
        "svc": svm.SVC(),
        "svc, probabilities": pipeline.make_pipeline(scaled(), svm.SVC(probability=True)),
        "polynomial svc": svm.SVC(kernel="poly", degree=2),
        "linear svc": svm.LinearSVC(),
        "nu svc": svm.NuSVC(nu=0.2, kernel="sigmoid"),
    }


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("number", list(range(9)))
def test_classifiers_of_scikit_learn(number, classes):
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_iris(return_X_y=True)
    x, y = x[y < classes].astype(np.float32), y[y < classes] * 3 + 1
    title, model = list(estimators().items())[number]
    model.fit(x, y)
    try:
        session = converted(model, x, zipmap=False)
    except NameError:  # the converter has no such option for it
        session = converted(model, x)
    labels, scores = session.run(None, {"x": x})
    assert {step.op_type for step in session.engine.program.host_steps} <= {"ZipMap"}, title
    assert np.array_equal(labels, model.predict(x)), title
    if hasattr(model, "predict_proba"):
        np.testing.assert_allclose(scores, model.predict_proba(x), atol=1e-5)


@pytest.mark.filterwarnings("ignore")
def test_features_of_any_scale():
    datasets = pytest.importorskip("sklearn.datasets")
    from sklearn import svm

    x, y = datasets.load_breast_cancer(return_X_y=True)
    x = x.astype(np.float32)
    model = svm.SVC(probability=True).fit(x, y)
    labels, scores = converted(model, x, zipmap=False).run(None, {"x": x})
    assert np.array_equal(labels, model.predict(x))
    np.testing.assert_allclose(scores, model.predict_proba(x), atol=3e-6)


@pytest.mark.filterwarnings("ignore")
def test_regressors_and_encoders_of_scikit_learn(rng):
    pytest.importorskip("sklearn")
    from sklearn import linear_model, pipeline, preprocessing, svm

    x = (rng.normal(size=(200, 5)) * [1, 2, 3, 40, 5] + 20).astype(np.float32)
    y = np.sin(x[:, 0]) + x[:, 1] / 9
    for model in (
        linear_model.LinearRegression(), linear_model.Lasso(0.01), svm.SVR(C=2.0),
        pipeline.make_pipeline(preprocessing.StandardScaler(), svm.NuSVR()),
        pipeline.make_pipeline(preprocessing.Binarizer(threshold=20), linear_model.Ridge()),
    ):  # fmt: skip
        model.fit(x, y)
        session = converted(model, x)
        (found,) = session.run(None, {"x": x})
        assert not session.engine.program.host_steps, model
        np.testing.assert_allclose(found[:, 0], model.predict(x), rtol=1e-5, atol=1e-5)
