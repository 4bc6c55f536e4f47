import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.importers import load
from sardonyx.optimizer import optimize_with_report, pipeline


def build(nodes, inputs, outputs, **weights):
    graph = oh.make_graph(
        nodes,
        "test",
        [oh.make_tensor_value_info(n, 1, s) for n, s in inputs],
        [oh.make_tensor_value_info(n, 1, None) for n in outputs],
        [onnx.numpy_helper.from_array(a, n) for n, a in weights.items()],
    )
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)
    return load(onnx.shape_inference.infer_shapes(model))


def run(model, **feeds):
    data = ir.to_proto(model).SerializeToString()
    return ort.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, feeds)


def operators(model):
    return [node.op_type for node in model.graph]


def floats(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def statistics(rng, channels):
    return {
        "s": floats(rng, channels),
        "b": floats(rng, channels),
        "m": floats(rng, channels),
        "v": rng.random(channels, np.float32) + 0.5,
    }


BN = oh.make_node("BatchNormalization", ["a", *"sbmv"], ["z"], name="bn", epsilon=1e-3)
OUT = oh.make_node("Relu", ["z"], ["y"])


@pytest.mark.parametrize(
    ("node", "x", "w"),
    [
        (oh.make_node("Conv", ["x", "w"], ["a"]), (2, 3, 9, 8), (6, 3, 3, 3)),
        (oh.make_node("Conv", ["x", "w"], ["a"], group=3), (1, 3, 9, 8), (6, 1, 3, 3)),
        (
            oh.make_node("ConvTranspose", ["x", "w"], ["a"], strides=[2, 2]),
            (1, 3, 5, 4),
            (3, 6, 2, 2),
        ),
        (oh.make_node("Gemm", ["x", "w"], ["a"], transB=1), (4, 5), (6, 5)),
        (oh.make_node("Gemm", ["x", "w"], ["a"]), (4, 5), (5, 6)),
    ],
)
def test_batch_normalization_goes_into_the_weights(rng, node, x, w):
    model = build([node, BN, OUT], [("x", x)], ["y"], w=floats(rng, *w), **statistics(rng, 6))
    optimized, report = optimize_with_report(model, verify=True, explain=True)
    assert operators(optimized) == [node.op_type, "Relu"]
    assert any("bn" in text for text in report.explanations)
    feeds = floats(rng, *x)
    np.testing.assert_allclose(
        run(optimized, x=feeds)[0], run(model, x=feeds)[0], rtol=1e-4, atol=1e-5
    )


def test_batch_normalization_alone_becomes_mul_and_add(rng):
    shape = (2, 6, 4, 4)
    model = build(
        [oh.make_node("Relu", ["x"], ["a"]), BN, OUT], [("x", shape)], ["y"], **statistics(rng, 6)
    )
    optimized, _ = optimize_with_report(model, verify=True)
    assert operators(optimized) == ["Relu", "Mul", "Add", "Relu"]


def test_a_convolution_used_twice_keeps_its_weights(rng):
    nodes = [
        oh.make_node("Conv", ["x", "w"], ["a"]),
        BN,
        oh.make_node("Add", ["z", "a"], ["y"]),
    ]
    model = build(
        nodes, [("x", (1, 3, 5, 5))], ["y"], w=floats(rng, 6, 3, 1, 1), **statistics(rng, 6)
    )
    optimized, _ = optimize_with_report(model)
    x = floats(rng, 1, 3, 5, 5)
    np.testing.assert_allclose(run(optimized, x=x)[0], run(model, x=x)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 1, 1), (1, 6, 1, 1), ()])
@pytest.mark.parametrize("kind", ["Mul", "Add", "Sub"])
def test_affine_operators_go_into_the_weights(rng, kind, shape):
    nodes = [oh.make_node("Conv", ["x", "w"], ["a"]), oh.make_node(kind, ["a", "k"], ["z"]), OUT]
    model = build(
        nodes, [("x", (2, 3, 5, 5))], ["y"], w=floats(rng, 6, 3, 3, 3), k=floats(rng, *shape)
    )
    optimized, _ = optimize_with_report(model, verify=True)
    assert operators(optimized) == ["Conv", "Relu"]


def test_an_operand_that_differs_by_pixel_stays(rng):
    nodes = [oh.make_node("Conv", ["x", "w"], ["a"]), oh.make_node("Add", ["a", "k"], ["z"]), OUT]
    model = build(
        nodes, [("x", (1, 3, 5, 5))], ["y"], w=floats(rng, 6, 3, 1, 1), k=floats(rng, 5, 5)
    )
    optimized, report = optimize_with_report(model, explain=True)
    assert operators(optimized) == ["Conv", "Add", "Relu"]
    assert any("one value per channel" in text for text in report.explanations)


def test_constants_fold_up_to_a_limit(rng):
    nodes = [
        oh.make_node("Mul", ["k", "k"], ["a"]),
        oh.make_node("Expand", ["k", "big"], ["c"], name="expand"),
        oh.make_node("Add", ["x", "a"], ["z"]),
        oh.make_node("Add", ["z", "c"], ["y"]),
    ]
    model = build(nodes, [("x", (1,))], ["y"], k=floats(rng, 1), big=np.array([1 << 20], np.int64))
    optimized, report = optimize_with_report(model, explain=True)
    assert operators(optimized).count("Mul") == 0
    assert "Expand" in operators(optimized)
    assert any("not folded" in text for text in report.explanations)


def test_duplicates_and_no_ops_go(rng):
    nodes = [
        oh.make_node("Identity", ["x"], ["i"]),
        oh.make_node("Dropout", ["i"], ["d"]),
        oh.make_node("Transpose", ["d"], ["t"], perm=[0, 1]),
        oh.make_node("Relu", ["t"], ["r1"]),
        oh.make_node("Relu", ["x"], ["r2"]),
        oh.make_node("Exp", ["x"], ["unused"]),
        oh.make_node("Add", ["r1", "r2"], ["y"]),
    ]
    optimized, _ = optimize_with_report(build(nodes, [("x", (3, 4))], ["y"]), verify=True)
    assert operators(optimized) == ["Relu", "Add"]


def test_the_given_model_is_not_changed(rng):
    node = oh.make_node("Conv", ["x", "w"], ["a"])
    model = build(
        [node, BN, OUT],
        [("x", (1, 3, 4, 4))],
        ["y"],
        w=floats(rng, 6, 3, 1, 1),
        **statistics(rng, 6),
    )
    before = operators(model)
    optimize_with_report(model)
    assert operators(model) == before


def test_verification_names_the_pass_that_changes_results(rng, monkeypatch):
    def wrong(model, report):
        for node in model.graph:
            if node.op_type == "Add":
                node.op_type = "Sub"
                return 1
        return 0

    monkeypatch.setitem(pipeline.LEVELS, "all", {"wrong": wrong})
    model = build([oh.make_node("Add", ["x", "k"], ["y"])], [("x", (3,))], ["y"], k=floats(rng, 3))
    with pytest.raises(sardonyx.SardonyxError, match="'wrong'"):
        optimize_with_report(model, verify=True)


def test_unknown_levels_are_refused():
    model = build([oh.make_node("Relu", ["x"], ["y"])], [("x", (3,))], ["y"])
    with pytest.raises(sardonyx.InvalidArgument, match="level"):
        optimize_with_report(model, "most")


def test_something_else_than_a_model_is_refused():
    with pytest.raises(sardonyx.InvalidArgument, match=r"sardonyx\.load has read, not a str"):
        sardonyx.optimize("model.onnx")


def test_explanations_are_printed_where_no_report_is_asked_for(rng, capsys):
    node = oh.make_node("Conv", ["x", "w"], ["a"], name="conv")
    weights = floats(rng, 6, 3, 1, 1)
    model = build([node, BN, OUT], [("x", (1, 3, 4, 4))], ["y"], w=weights, **statistics(rng, 6))
    sardonyx.optimize(model, verify=True)
    assert capsys.readouterr().out == ""
    sardonyx.optimize(model, explain=True)
    assert "'bn' folded into 'conv', before it" in capsys.readouterr().out


def test_levels_and_counts(rng):
    nodes = [oh.make_node("Identity", ["x"], ["i"]), oh.make_node("Conv", ["i", "w"], ["a"])]
    weights = {"w": floats(rng, 6, 3, 1, 1), **statistics(rng, 6)}
    model = build([*nodes, BN, OUT], [("x", (1, 3, 4, 4))], ["y"], **weights)
    left = {}
    for level in ("none", "basic", "all"):
        optimized, report = optimize_with_report(model, level)
        left[level] = operators(optimized)
        changed = {each.name for each in report.passes if each.changes}
        assert ("fold_batch_normalization" in changed) == (level == "all")
        assert ("eliminate_no_ops" in changed) == (level != "none")
        # A second run finds nothing to do.
        again, report = optimize_with_report(optimized, level)
        assert report.rounds <= 1 and operators(again) == left[level]
    assert left["none"] == ["Identity", "Conv", "BatchNormalization", "Relu"]
    assert left["basic"] == ["Conv", "BatchNormalization", "Relu"]
    assert left["all"] == ["Conv", "Relu"]


def test_cast_like_of_a_constant_is_folded():
    rng = np.random.default_rng(3)
    nodes = [
        oh.make_node("CastLike", ["c", "x"], ["d"], name="cast"),
        oh.make_node("Mul", ["x", "d"], ["y"]),
    ]
    model = build(nodes, [("x", ["n", 3])], ["y"], c=rng.integers(0, 9, 3))
    optimized, report = optimize_with_report(model, "basic")
    assert operators(optimized) == ["Mul"]
    assert next(p for p in report.passes if p.name == "resolve_cast_like").changes == 1
    x = floats(rng, 2, 3)
    np.testing.assert_array_equal(run(model, x=x)[0], run(optimized, x=x)[0])


def test_verification_takes_inputs(rng):
    nodes = [oh.make_node("MaxPool", ["x"], ["a"], kernel_shape=[5, 5]), BN, OUT]
    model = build(nodes, [("x", ("n", 6, "h", "w"))], ["y"], **statistics(rng, 6))
    with pytest.raises(sardonyx.InvalidArgument, match="give inputs of your own"):
        optimize_with_report(model, verify=True)
    optimized, _ = optimize_with_report(model, verify={"x": floats(rng, 1, 6, 8, 9)})
    assert operators(optimized) == ["MaxPool", "Mul", "Add", "Relu"]
