"""Cases of the operators of ai.onnx.ml."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from .drawing import STRINGS, Case, Draw, draws

ML = "ai.onnx.ml"
F32 = np.float32
TRANSFORMS = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]


def numbers(draw: Draw, count: int, scale: float = 1.0) -> list[float]:
    return [round(float(v), 3) for v in draw.rng.normal(0, scale, count)]


def matrix(draw: Draw, columns: int | None = None) -> np.ndarray:
    kind = draw.kind()
    return draw.array((draw.int(1, 4), columns or draw.int(1, 4)), kind)


def labels(draw: Draw, count: int) -> dict[str, Any]:
    if draw.chance(0.5):
        return {"classlabels_strings": [f"c{i}" for i in range(count)]}
    name = (
        "classlabels_int64s"
        if "classlabels_int64s" in draw.schema.attributes
        else "classlabels_ints"
    )
    return {name: [3 * i + draw.pick([0, 2]) for i in range(count)]}


@draws("ArrayFeatureExtractor", ML)
def extractor(draw: Draw) -> Case:
    x = draw.array(draw.shape(1, 3, (1, 2, 4)), draw.kind(leave="USc"))
    return Case([x, draw.rng.integers(0, x.shape[-1], draw.int(1, 4))])


@draws("Binarizer", ML)
def binarizer(draw: Draw) -> Case:
    return Case([matrix(draw)], draw.some(threshold=0.5))


@draws("Normalizer", ML)
def normalizer(draw: Draw) -> Case:
    x = matrix(draw)
    return Case([x * draw.pick([0, 1, 1, 1])], draw.some(norm=draw.pick(["MAX", "L1", "L2"])))


@draws("Scaler", ML)
def scaler(draw: Draw) -> Case:
    x = matrix(draw)
    count = draw.pick([1, x.shape[1]])
    return Case([x], {"offset": numbers(draw, count), "scale": numbers(draw, count)})


@draws("Imputer", ML)
def imputer(draw: Draw) -> Case:
    x = matrix(draw)
    count = draw.pick([1, x.shape[1]])
    if x.dtype.kind == "f":
        missing = draw.pick([float("nan"), 2.0])
        x[draw.rng.random(x.shape) < 0.4] = missing
        return Case(
            [x],
            {"imputed_value_floats": numbers(draw, count), "replaced_value_float": missing},
            exact=True,
        )
    x[draw.rng.random(x.shape) < 0.4] = 2
    return Case(
        [x],
        {"imputed_value_int64s": list(range(7, 7 + count)), "replaced_value_int64": 2},
        exact=True,
    )


@draws("FeatureVectorizer", ML)
def features(draw: Draw) -> Case:
    kind, rows = draw.kind(), draw.int(1, 3)
    parts = [draw.array((rows, draw.int(1, 3)), kind) for _ in range(draw.int(1, 3))]
    return Case(parts, {"inputdimensions": [part.shape[1] for part in parts]})


@draws("OneHotEncoder", ML)
def one_hot(draw: Draw) -> Case:
    kind = draw.kind(leave="USc")
    shape = draw.shape(1, 2, (1, 2, 3))
    known = draw.some(zeros=1)
    if kind.kind == "O":
        words = list(STRINGS[:4])
        return Case(
            [draw.rng.choice(STRINGS[: 4 if "zeros" not in known else 6], shape)],
            {"cats_strings": words} | known,
        )
    high = 4 if "zeros" not in known else 7
    return Case(
        [draw.rng.integers(0, high, shape).astype(kind)], {"cats_int64s": [0, 1, 2, 3]} | known
    )


@draws("LabelEncoder", ML)
def label_encoder(draw: Draw) -> Case:
    source, target = (draw.pick([np.int64, F32, object]) for _ in range(2))
    if draw.version < 2:
        words = ["a", "b", "Ab"]
        if draw.chance(0.5):
            return Case(
                [draw.rng.choice(STRINGS, (2, 3))],
                {"classes_strings": words} | draw.some(default_int64=-7),
            )
        return Case(
            [draw.rng.integers(-1, 5, (2, 3))],
            {"classes_strings": words} | draw.some(default_string="none"),
        )
    if draw.version >= 4 and draw.chance(0.4):
        source, target = (
            draw.pick([np.int64, F32, np.int32, np.int16, np.float64]) for _ in range(2)
        )
        keys = helper.make_tensor(
            "k", helper.np_dtype_to_tensor_dtype(np.dtype(source)), [3], [1, 2, 3]
        )
        values = helper.make_tensor(
            "v", helper.np_dtype_to_tensor_dtype(np.dtype(target)), [3], [7, 8, 9]
        )
        default = helper.make_tensor("d", values.data_type, [1], [5])
        x = draw.rng.integers(0, 5, (2, 3)).astype(source)
        return Case(
            [x],
            {"keys_tensor": keys, "values_tensor": values, "default_tensor": default},
            exact=True,
        )
    kinds = {np.int64: "int64s", F32: "floats", object: "strings"}
    pools = {
        np.int64: [1, 2, 3],
        F32: [1.5, 2.5, float("nan") if draw.version > 2 else 3.5],
        object: ["a", "Ab", "über"],
    }
    attributes = {f"keys_{kinds[source]}": pools[source], f"values_{kinds[target]}": pools[target]}
    attributes |= draw.some(default_int64=-7, default_float=0.5, default_string="none")
    choice = np.array([*pools[source], *(["zz"] if source is object else [9])], source)
    return Case([draw.rng.choice(choice, draw.shape(1, 2, (1, 2, 3)))], attributes, exact=True)


@draws("CategoryMapper", ML)
def category_mapper(draw: Draw) -> Case:
    attributes = {"cats_int64s": [1, 2, 3], "cats_strings": ["a", "Ab", "x,y"]}
    attributes |= draw.some(default_int64=-7, default_string="none")
    if draw.chance(0.5):
        return Case([draw.rng.choice(STRINGS, (2, 3))], attributes)
    return Case([draw.rng.integers(0, 5, (3,))], attributes)


@draws("LinearRegressor", ML)
def linear_regressor(draw: Draw) -> Case:
    x, targets = matrix(draw), draw.int(1, 3)
    attributes = {"coefficients": numbers(draw, targets * x.shape[1]), "targets": targets}
    attributes |= {"intercepts": numbers(draw, targets)} if draw.chance(0.7) else {}
    if draw.chance(0.4) and targets > 1:  # a single score, onnxruntime does not transform
        attributes["post_transform"] = draw.pick(TRANSFORMS[:3])
    return Case([x], attributes)


@draws("LinearClassifier", ML)
def linear_classifier(draw: Draw) -> Case:
    classes = draw.int(2, 4)
    x = matrix(draw)
    rows = 1 if classes == 2 and draw.chance(0.6) else classes
    attributes = {
        "coefficients": numbers(draw, rows * x.shape[1]),
        "intercepts": numbers(draw, rows),
    }
    attributes |= labels(draw, classes) | draw.some(multi_class=draw.int(0, 1))
    if draw.chance(0.6):
        attributes["post_transform"] = draw.pick(TRANSFORMS[:4])
    return Case([x], attributes, 2, tolerance=1e-5)


def trees(
    draw: Draw, columns: int, leaves: int, *, positive: bool
) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    """Nodes of trees of up to three levels, and their leaves."""
    fields: dict[str, list[Any]] = {
        f"nodes_{name}": []
        for name in (
            "treeids",
            "nodeids",
            "featureids",
            "values",
            "modes",
            "truenodeids",
            "falsenodeids",
            "missing_value_tracks_true",
        )
    }
    modes = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
    modes = modes if draw.chance(0.4) else [draw.pick(modes[:4])]
    found = []
    for tree in range(draw.int(1, leaves)):
        depth = draw.int(0, 3)
        count = 2 ** (depth + 1) - 1
        for node in range(count):
            inner = node < 2**depth - 1
            row = (
                tree,
                node,
                draw.int(0, columns - 1) if inner else 0,
                round(float(draw.rng.normal()), 1) if inner else 0.0,
                draw.pick(modes) if inner else "LEAF",
                2 * node + 1 if inner else 0,
                2 * node + 2 if inner else 0,
                draw.int(0, 1) if inner else 0,
            )
            for values, value in zip(fields.values(), row, strict=True):
                values.append(value)
            if not inner:
                found.append((tree, node))
    return fields, found


@draws("TreeEnsembleRegressor", ML)
def tree_regressor(draw: Draw) -> Case:
    x, targets = matrix(draw), draw.int(1, 3)
    fields, found = trees(draw, x.shape[1], 3, positive=False)
    share = draw.pick([0.8, 1.0])
    rows = [
        (tree, node, target)
        for tree, node in found
        for target in range(targets)
        if draw.chance(share)
    ]
    rows = rows or [(*found[0], 0)]
    fields |= {
        "target_treeids": [r[0] for r in rows],
        "target_nodeids": [r[1] for r in rows],
        "target_ids": [r[2] for r in rows],
        "target_weights": numbers(draw, len(rows)),
        "n_targets": targets,
    }
    if draw.chance(0.6):
        fields["aggregate_function"] = draw.pick(
            ["SUM", "AVERAGE", *(["MIN", "MAX"] if share == 1 else [])]
        )
    # Without a weight, onnxruntime leaves the base value out.
    if draw.chance(0.4) and share == 1:
        fields["base_values"] = numbers(draw, targets)
    # A single score, onnxruntime does not transform.
    if draw.chance(0.2) and share == 1 and targets > 1:
        fields["post_transform"] = draw.pick(TRANSFORMS[:4])
    if x.dtype.kind == "f" and draw.chance(0.2):
        x[0, 0] = np.nan
    return Case([x], fields, tolerance=1e-5)


@draws("TreeEnsembleClassifier", ML)
def tree_classifier(draw: Draw) -> Case:
    x, classes = matrix(draw), draw.int(2, 4)
    fields, found = trees(draw, x.shape[1], 3, positive=True)
    # Of two classes that both have weights, onnxruntime does not tell the larger.
    single = classes == 2
    chosen = [draw.int(0, 1)] if single and draw.chance(0.3) else [1] if single else range(classes)
    rows = [(tree, node, label) for tree, node in found for label in chosen]
    weights = numbers(draw, len(rows))
    if draw.chance(0.5):
        weights = [abs(w) for w in weights]
    fields |= {
        "class_treeids": [r[0] for r in rows],
        "class_nodeids": [r[1] for r in rows],
        "class_ids": [r[2] for r in rows],
        "class_weights": weights,
    }
    fields |= labels(draw, classes)
    if draw.chance(0.3) and not single:
        fields["base_values"] = numbers(draw, classes)
    if draw.chance(0.6):
        fields["post_transform"] = draw.pick(TRANSFORMS[:4])
    return Case([x], fields, 2, tolerance=1e-5)


@draws("TreeEnsemble", ML)
def tree_ensemble(draw: Draw) -> Case:
    x = matrix(draw)
    real, code = x.dtype, helper.np_dtype_to_tensor_dtype(x.dtype)
    targets = draw.int(1, 2)
    # A node with two leaves, and one of them a node with two leaves again.
    splits = np.round(draw.rng.normal(size=2), 1).astype(real)
    modes = [draw.int(0, 5) for _ in range(2)]
    weights = draw.array((3,), real)
    attributes = {
        "tree_roots": [0],
        "nodes_featureids": [draw.int(0, x.shape[1] - 1) for _ in range(2)],
        "nodes_splits": helper.make_tensor("s", code, [2], splits.tolist()),
        "nodes_modes": helper.make_tensor("m", TensorProto.UINT8, [2], modes),
        "nodes_truenodeids": [1, 0],
        "nodes_trueleafs": [0, 1],
        "nodes_falsenodeids": [2, 1],
        "nodes_falseleafs": [1, 1],
        "leaf_targetids": [draw.int(0, targets - 1) for _ in range(3)],
        "leaf_weights": helper.make_tensor("w", code, [3], weights.tolist()),
        "n_targets": targets,
        "aggregate_function": draw.int(0, 3),
    }
    return Case([x], attributes, tolerance=1e-5)


KERNELS = ["LINEAR", "POLY", "RBF", "SIGMOID"]


@draws("SVMRegressor", ML)
def svm_regressor(draw: Draw) -> Case:
    x = draw.array((draw.int(1, 4), draw.int(1, 3)), F32, scale=1)
    count = draw.int(1, 4)
    attributes = {
        "kernel_type": draw.pick(KERNELS),
        "kernel_params": [0.3, 0.5, 2.0],
        "n_supports": count,
        "coefficients": numbers(draw, count),
        "support_vectors": numbers(draw, count * x.shape[1]),
        "rho": numbers(draw, 1),
    } | draw.some(one_class=1)
    if draw.chance(0.3):  # a linear model
        attributes |= {
            "n_supports": 0,
            "kernel_type": "LINEAR",
            "coefficients": numbers(draw, x.shape[1]),
        }
        attributes.pop("support_vectors")
    return Case([x], attributes, tolerance=1e-5)


@draws("SVMClassifier", ML)
def svm_classifier(draw: Draw) -> Case:
    x = draw.array((draw.int(1, 4), draw.int(1, 3)), F32, scale=1)
    classes = draw.int(2, 4)
    pairs = classes * (classes - 1) // 2
    kernel = {"kernel_type": draw.pick(KERNELS), "kernel_params": [0.3, 0.5, 2.0]}
    if draw.chance(0.3) and classes > 2:  # of two, onnxruntime does not tell the larger
        attributes = kernel | {
            "kernel_type": "LINEAR",
            "coefficients": numbers(draw, classes * x.shape[1]),
            "rho": numbers(draw, 1),
        }
    else:
        per = [draw.int(1, 3) for _ in range(classes)]
        attributes = kernel | {
            "vectors_per_class": per,
            "support_vectors": numbers(draw, sum(per) * x.shape[1]),
            "coefficients": numbers(draw, (classes - 1) * sum(per)),
            "rho": numbers(draw, pairs),
        }
        if draw.chance(0.5):
            attributes |= {
                "prob_a": [-abs(v) - 0.1 for v in numbers(draw, pairs)],
                "prob_b": numbers(draw, pairs, 0.2),
            }
    if draw.chance(0.4):
        attributes["post_transform"] = draw.pick(TRANSFORMS[:4])
    return Case([x], attributes | labels(draw, classes), 2, tolerance=1e-4)
