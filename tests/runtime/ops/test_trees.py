"""Ensembles of trees, against the standard's semantics on the host, and onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import TensorProto, helper
from sardonyx.reference import evaluator

ML = "ai.onnx.ml"
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
TRANSFORMS = ["NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT"]
ROWS = (0, 1, 2, 7, 8, 9, 300, 700)
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5]
FEATURES = 5


def build(op_type: str, kind: Any, attributes: dict[str, Any], version: int = 3,
          dims: Any = ("n", FEATURES)) -> onnx.ModelProto:  # fmt: skip
    count = 2 if op_type == "TreeEnsembleClassifier" else 1
    names = ["y", "z"][:count]
    node = helper.make_node(op_type, ["x"], names, "forest", domain=ML, **attributes)
    x = helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(np.dtype(kind)), dims)
    graph = helper.make_graph([node], "trees", [x], [onnx.ValueInfoProto(name=n) for n in names])
    imports = [helper.make_opsetid("", 21), helper.make_opsetid(ML, version)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def grown(rng: Any, trees: int, modes: list[str], missing: bool = True) -> Any:
    """Nodes of trees of uneven depth, in any order but for the root, and their leaves."""
    rows: list[tuple[Any, ...]] = []
    leaves: list[tuple[int, int]] = []
    for tree in range(trees):
        numbers = rng.permutation(200)[:64].tolist()
        own, open_nodes = [], [(numbers.pop(), 0)]
        while open_nodes:
            number, depth = open_nodes.pop()
            if depth > 6 or len(numbers) < 2 or rng.random() < 0.15 * depth:
                own.append((tree, number, 0, 0.0, "LEAF", 0, 0, 0))
                leaves.append((tree, number))
                continue
            left, right = numbers.pop(), numbers.pop()
            open_nodes += [(left, depth + 1), (right, depth + 1)]
            own.append((
                tree, number, int(rng.integers(FEATURES)), float(rng.integers(-3, 4)) / 2,
                str(rng.choice(modes)), left, right, int(missing and rng.random() < 0.4),
            ))  # fmt: skip
        rows += [own[0], *(own[i + 1] for i in rng.permutation(len(own) - 1))]
    names = ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids",
             "missing_value_tracks_true")  # fmt: skip
    columns = zip(*rows, strict=True)
    fields = {f"nodes_{name}": list(c) for name, c in zip(names, columns, strict=True)}
    return fields, leaves


def rows_of(rng: Any, kind: Any, count: int) -> np.ndarray:
    x = np.round(rng.normal(size=(count, FEATURES)) * 2) / 2
    if np.dtype(kind).kind == "f":
        at = rng.random(x.shape) < 0.2
        x[at] = rng.choice(SPECIAL, int(at.sum()))
    return x.astype(kind)


def weighted(rng: Any, leaves: Any, kind: str, targets: int, share: float = 1.0) -> dict[str, Any]:
    """Weights of leaves for some targets, one of them in two pieces."""
    rows = [(*leaf, t) for leaf in leaves for t in range(targets) if rng.random() < share]
    rows = [*(rows or [(*leaves[0], 0)]), *rows[:1]]
    ids = "ids"
    return {
        f"{kind}_treeids": [row[0] for row in rows],
        f"{kind}_nodeids": [row[1] for row in rows],
        f"{kind}_{ids}": [row[2] for row in rows],
        f"{kind}_weights": np.round(rng.normal(size=len(rows)), 3).tolist(),
    }


def as_tensors(attributes: dict[str, Any], *names: str) -> dict[str, Any]:
    """Attributes of doubles, as tensors."""
    return {
        f"{name}_as_tensor" if name in names else name:
        helper.make_tensor(name, TensorProto.DOUBLE, [len(v)], v) if name in names else v
        for name, v in attributes.items()
    }  # fmt: skip


def check(model: onnx.ModelProto, rng: Any, kind: Any, host: tuple[str, ...] = ()) -> None:
    """Compare with the host's operators for all numbers of rows; threads give the same bits."""
    sessions = [sardonyx.Session(model, threads=n, optimize="none") for n in (1, 2, 3, 4)]
    assert {step.op_type for step in sessions[0].engine.program.host_steps} == set(host)
    wanted_by = evaluator(model)
    attributes = {a.name: helper.get_attribute_value(a) for a in model.graph.node[0].attribute}
    is_probit = attributes["post_transform"] in (b"PROBIT", 4)
    for count in ROWS:
        x = rows_of(rng, kind, count)
        with np.errstate(all="ignore"):
            wanted = wanted_by.run(None, {"x": x}) if count else None
        found, *others = [session.run(None, {"x": x}) for session in sessions]
        for results in others:
            for a, b in zip(found, results, strict=True):
                np.testing.assert_array_equal(a, b)
        assert all(len(each) == count for each in found)
        for a, b in zip(found, wanted or [], strict=bool(wanted)):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            if a.dtype.kind == "f":
                rtol = 1e-5
                if is_probit:  # in float32, which is the host's, digits cancel around 0.5 and 1
                    rtol, clear = 2e-3, (np.abs(b) > 0.05) & (np.abs(b) < 3)
                    a, b = a[clear], b[clear]
                np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-6)
            else:
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", range(24))
def test_regressors(guard, seed):
    rng = np.random.default_rng([1, seed])
    kind = [np.float32, np.float64, np.int32, np.int64][seed % 4]
    fields, leaves = grown(
        rng, int(rng.integers(1, 20)), MODES if seed % 3 else MODES[seed // 3 % 4 :][:1]
    )
    targets = int(rng.integers(1, 4))
    fields |= weighted(rng, leaves, "target", targets, rng.choice([0.6, 1.0]))
    fields |= {"n_targets": targets, "post_transform": TRANSFORMS[seed % 5],
               "aggregate_function": ["SUM", "AVERAGE", "MIN", "MAX"][seed // 2 % 4]}  # fmt: skip
    if seed % 3 == 0:
        fields["base_values"] = np.round(rng.normal(size=targets), 3).tolist()
    if kind == np.float64:
        fields = as_tensors(fields, "nodes_values", "target_weights", "base_values")
    check(
        build("TreeEnsembleRegressor", kind, fields, 1 if kind != np.float64 and seed % 2 else 3),
        rng,
        kind,
    )


@pytest.mark.parametrize("seed", range(30))
def test_classifiers(guard, seed):
    rng = np.random.default_rng([2, seed])
    kind = [np.float32, np.float64, np.int64][seed % 3]
    fields, leaves = grown(rng, int(rng.integers(1, 20)), MODES[: 1 + seed % 6])
    classes = 2 if seed % 2 else int(rng.integers(2, 6))
    weights = weighted(rng, leaves, "class", classes)
    if classes == 2 and seed % 4 == 1:
        weights = weighted(rng, leaves, "class", 1)
        weights["class_ids"] = [int(seed % 8 == 5)] * len(weights["class_ids"])
    if seed % 5 < 2:
        weights["class_weights"] = [abs(w) / 8 for w in weights["class_weights"]]
    fields |= weights | {"post_transform": TRANSFORMS[seed // 2 % 5]}
    if seed % 3 == 0:
        fields["base_values"] = np.round(rng.normal(size=classes), 3).tolist()
    strings = seed % 7 == 0
    labels = {"classlabels_strings": [f"c{i}" for i in range(classes)]}
    fields |= labels if strings else {"classlabels_int64s": [3 * i - 1 for i in range(classes)]}
    if kind == np.float64 and seed % 2:
        fields = as_tensors(fields, "nodes_values", "class_weights", "base_values")
    version = 3 if any("tensor" in name for name in fields) else [1, 3][seed // 3 % 2]
    host = ("LabelEncoder",) if strings else ()
    check(build("TreeEnsembleClassifier", kind, fields, version), rng, kind, host)


def with_leaves(rng: Any, kind: Any, modes: list[int], targets: int) -> dict[str, Any]:
    """Attributes of TreeEnsemble: a list of nodes in which children come after their parents."""
    code = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    nodes: list[list[int]] = []
    leaves = 0

    def grow(depth: int) -> tuple[int, int]:
        nonlocal leaves
        if depth and (depth > 4 or rng.random() < 0.3):
            leaves += 1
            return leaves - 1, 1
        place = len(nodes)
        nodes.append([int(rng.integers(FEATURES)), int(rng.choice(modes)), int(rng.random() < 0.4)])
        nodes[place] += [*grow(depth + 1), *grow(depth + 1)]
        return place, 0

    roots = [grow(0)[0] for _ in range(int(rng.integers(1, 15)))]
    features, kinds, missing, true, true_leaf, false, false_leaf = zip(*nodes, strict=True)
    splits = rng.integers(-3, 4, len(nodes)) / 2
    sets: list[float] = []
    for mode in kinds:
        if mode == 6:
            sets += [*(rng.integers(-3, 4, rng.integers(0, 5)) / 2), np.nan]
    fields = {
        "tree_roots": roots, "nodes_featureids": features, "n_targets": targets,
        "nodes_splits": helper.make_tensor("s", code, [len(nodes)], splits),
        "nodes_modes": helper.make_tensor("m", TensorProto.UINT8, [len(nodes)], kinds),
        "nodes_missing_value_tracks_true": missing, "nodes_truenodeids": true,
        "nodes_trueleafs": true_leaf, "nodes_falsenodeids": false, "nodes_falseleafs": false_leaf,
        "leaf_targetids": rng.integers(0, targets, leaves).tolist(),
        "leaf_weights": helper.make_tensor("w", code, [leaves], rng.normal(size=leaves)),
    }  # fmt: skip
    if sets:
        fields["membership_values"] = helper.make_tensor("v", code, [len(sets)], sets)
    return fields


@pytest.mark.parametrize("seed", range(20))
def test_ensembles_of_version_5(guard, seed):
    rng = np.random.default_rng([3, seed])
    kind, targets = [np.float32, np.float64][seed % 2], int(rng.integers(1, 4))
    modes = [[0], [0, 6], [6], list(range(7))][seed // 2 % 4]
    fields = with_leaves(rng, kind, modes, targets)
    fields |= {"aggregate_function": seed % 4, "post_transform": seed // 2 % 5}
    check(build("TreeEnsemble", kind, fields, 5), rng, kind)


@pytest.mark.parametrize("seed", range(8))
def test_scores_are_those_of_onnxruntime(guard, seed):
    rng = np.random.default_rng([4, seed])
    fields, leaves = grown(rng, 12, MODES if seed % 2 else MODES[:1])
    name = ["TreeEnsembleRegressor", "TreeEnsembleClassifier"][seed % 2]
    kind = np.float32
    if seed % 2:
        fields |= weighted(rng, leaves, "class", 3) | {"classlabels_int64s": [4, 5, 6]}
        fields["post_transform"] = TRANSFORMS[seed // 2]
    else:
        fields |= weighted(rng, leaves, "target", 2) | {"n_targets": 2}
        fields["aggregate_function"] = ["SUM", "AVERAGE", "MIN", "MAX"][seed // 2]
    fields = {k: v[:-1] if "class_" in k or "target_" in k else v for k, v in fields.items()}
    model = build(name, kind, fields)
    x = rows_of(rng, kind, 200)
    wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    found = sardonyx.Session(model, threads=2).run(None, {"x": x})
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_thresholds_that_are_infinite_or_no_numbers(guard):
    rng = np.random.default_rng(0)
    for mode in MODES:
        fields, leaves = grown(rng, 6, [mode])
        values = fields["nodes_values"]
        fields["nodes_values"] = [rng.choice(SPECIAL) if rng.random() < 0.6 else v for v in values]
        fields |= weighted(rng, leaves, "target", 1) | {"n_targets": 1, "post_transform": "NONE"}
        check(build("TreeEnsembleRegressor", np.float32, fields), rng, np.float32)


@pytest.mark.parametrize("transform", ["NONE", "LOGISTIC"])
@pytest.mark.parametrize("only", [0, 1])
def test_one_class_with_weights_takes_its_own_base_value(only, transform):
    """'Base values for classification, added to final class score', one for each class.

    onnxruntime gives 0 as the other score, though it takes the sum for the label; of class 1 alone
    it gives the base value without the trees.
    """
    fields = {k: v for k, v in stump().items() if "target" not in k}
    base = [0.25, -0.125]
    fields |= {
        "class_treeids": [0, 0], "class_nodeids": [1, 2], "class_ids": [only] * 2,
        "class_weights": [-0.5, 0.75], "classlabels_int64s": [0, 1], "base_values": base,
        "post_transform": transform,
    }  # fmt: skip
    model = build("TreeEnsembleClassifier", np.float32, fields)
    x = np.zeros((2, FEATURES), np.float32)
    x[1, 1] = 1
    sums = np.array([-0.5, 0.75]) + base[only]
    others = -sums if only == 0 else np.full(2, base[0])  # class 0 alone stands for both
    wanted = np.stack([others, sums], 1)
    if transform == "LOGISTIC":
        wanted = 1 / (1 + np.exp(-wanted))
    for engine in (sardonyx.Session(model, threads=1), evaluator(model)):
        labels, scores = engine.run(None, {"x": x})
        np.testing.assert_allclose(scores, wanted, rtol=1e-5)
        np.testing.assert_array_equal(labels, sums > 0)


# --- what is refused --------------------------------------------------------------------------


def stump(**changes: Any) -> dict[str, Any]:
    """A tree of one comparison and two leaves."""
    fields = {
        "nodes_treeids": [0, 0, 0], "nodes_nodeids": [0, 1, 2], "nodes_featureids": [1, 0, 0],
        "nodes_values": [0.5, 0.0, 0.0], "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 0, 0], "nodes_falsenodeids": [2, 0, 0],
        "target_treeids": [0, 0], "target_nodeids": [1, 2], "target_ids": [0, 0],
        "target_weights": [1.0, 2.0], "n_targets": 1,
    }  # fmt: skip
    return fields | changes


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"nodes_truenodeids": [0, 0, 0]}, "circle"),
        (
            {"nodes_modes": ["BRANCH_LEQ", "BRANCH_LT", "LEAF"], "nodes_falsenodeids": [2, 2, 0]},
            "circle",
        ),
        ({"nodes_truenodeids": [7, 0, 0]}, "nodes_truenodeids"),
        ({"nodes_falsenodeids": [-1, 0, 0]}, "nodes_falsenodeids"),
        ({"nodes_treeids": [0, 1, 1]}, "nodes_truenodeids"),
        ({"nodes_featureids": [-1, 0, 0]}, "nodes_featureids"),
        ({"nodes_featureids": [2**40, 0, 0]}, "nodes_featureids"),
        ({"nodes_featureids": [5, 0, 0]}, "features of 'x'"),
        ({"nodes_featureids": [1, 0]}, "nodes_featureids"),
        ({"nodes_modes": ["BRANCH", "LEAF", "LEAF"]}, "nodes_modes"),
        ({"nodes_nodeids": [0, 1, 1]}, "twice"),
        ({"nodes_values": [0.5]}, "nodes_values"),
        ({"target_ids": [0, 1]}, "target_ids"),
        ({"target_ids": [-1, 0]}, "target_ids"),
        ({"target_nodeids": [1, 9]}, "target_nodeids"),
        ({"target_weights": [1.0]}, "target_weights"),
        ({"base_values": [1.0, 2.0]}, "base_values"),
        ({"post_transform": "TANH"}, "post_transform"),
        ({"aggregate_function": "MEDIAN"}, "aggregate_function"),
    ],
)
def test_damaged_trees_are_refused(changes, text):
    x = np.ones((3, FEATURES), np.float32)
    for dims in (("n", FEATURES), ("n", "m")):
        model = build("TreeEnsembleRegressor", np.float32, stump(**changes), dims=dims)
        with pytest.raises(sardonyx.SardonyxError, match=text) as error:
            sardonyx.Session(model, optimize="none").run(None, {"x": x})
        assert "'forest'" in str(error.value) and "TreeEnsembleRegressor" in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nodes_truenodeids", 9999), ("nodes_falsenodeids", -1), ("tree_roots", 9999),
        ("leaf_targetids", 9), ("nodes_featureids", 77), ("nodes_truenodeids", 0),
    ],
)  # fmt: skip
def test_damaged_ensembles_of_version_5_are_refused(name, value):
    fields = with_leaves(np.random.default_rng(7), np.float32, [0], 2)
    fields["nodes_trueleafs"] = [0, *fields["nodes_trueleafs"][1:]]
    fields[name] = [value, *fields[name][1:]]
    model = build("TreeEnsemble", np.float32, fields, 5)
    with pytest.raises(sardonyx.InvalidModel, match=r"'forest'.*TreeEnsemble"):
        sardonyx.Session(model, optimize="none").run(None, {"x": np.ones((1, 5), np.float32)})


def test_children_that_several_nodes_share_are_trees():
    """Converters write a set as a chain of comparisons that lead to one child."""
    fields = stump(
        nodes_treeids=[0] * 5, nodes_nodeids=[0, 1, 2, 3, 4], nodes_featureids=[0] * 5,
        nodes_values=[1.0, 2.0, 3.0, 0.0, 0.0], nodes_modes=["BRANCH_EQ"] * 3 + ["LEAF"] * 2,
        nodes_truenodeids=[3, 3, 3, 0, 0], nodes_falsenodeids=[1, 2, 4, 0, 0],
        target_nodeids=[3, 4],
    )  # fmt: skip
    model = build("TreeEnsembleRegressor", np.float32, fields)
    x = np.repeat(np.arange(6, dtype=np.float32)[:, None], FEATURES, 1)
    (found,) = sardonyx.Session(model).run(None, {"x": x})
    assert found[:, 0].tolist() == [2, 1, 1, 1, 2, 2]
