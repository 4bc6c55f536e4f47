"""Quantized models run alike in sardonyx, onnxruntime and OpenVINO, and lose little."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper, numpy_helper
from sardonyx import InvalidArgument
from sardonyx.tools.demo import DATA, held_out_images

F32 = np.float32
DIGITS = str(DATA / "digits.onnx")


class Net:
    """Builds a network on an image x: convolutions a of x and b of a, whatever follows, and y."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, np.ndarray] = {}

    def constant(self, array: Any) -> str:
        name = f"c{len(self.arrays)}"
        self.arrays[name] = np.asarray(array)
        return name

    def op(self, op_type: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        made = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op_type, names, made, **attributes))
        return made[0] if outputs == 1 else made

    def conv(self, x: str, before: int, after: int, size: int = 3, **attributes: Any) -> str:
        group = attributes.get("group", 1)
        weights = self.rng.standard_normal((after, before // group, size, size))
        weights *= self.rng.uniform(0.2, 1, (after, 1, 1, 1)) / np.sqrt(weights[0].size)
        bias = self.rng.standard_normal(after) * 0.1
        pads = [size // 2] * 4
        return self.op("Conv", x, weights.astype(F32), bias.astype(F32), pads=pads, **attributes)

    def model(self, *outputs: str, shape: Any = ("n", 4, 8, 8), opset: int = 21) -> Any:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", 1, shape)],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.arrays.items()],
        )
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def head(net: Net, kind: str) -> str:
    """What lies between two convolutions and the last; returns what the last reads, 8 channels."""
    a = net.conv("x", 4, 8)
    relu = net.op("Relu", a)
    b = net.conv(relu, 8, 8)
    scale = net.rng.uniform(0.5, 1.5, (1, 8, 1, 1)).astype(F32)
    halves = np.array([4, 4])
    match kind:
        case "relu6":
            return net.op("Clip", b, F32(0), F32(0.5))
        case "swish":
            return net.op("Mul", b, net.op("Sigmoid", b))
        case "add":
            return net.op("Relu", net.op("Add", relu, b))
        case "sum":
            return net.op("Mul", net.op("Sum", relu, b), scale)
        case "concat":
            return net.conv(net.op("Concat", relu, b, axis=1), 16, 8)
        case "concat, relu":
            return net.conv(net.op("Relu", net.op("Concat", a, b, axis=1)), 16, 8)
        case "concat, scaled":
            return net.op("Mul", net.conv(net.op("Concat", a, b, axis=1), 16, 8), scale)
        case "dense":
            two = net.op("Concat", relu, b, axis=1)
            c = net.conv(net.op("Relu", two), 16, 8)
            return net.conv(net.op("Relu", net.op("Concat", two, c, axis=1)), 24, 8)
        case "shuffle":
            x = net.op("Reshape", b, np.array([0, 2, 4, 8, 8]))
            x = net.op("Transpose", x, perm=[0, 2, 1, 3, 4])
            return net.op("Reshape", x, np.array([0, 8, 8, 8]))
        case "split":
            first, second = net.op("Split", b, halves, outputs=2, axis=1)
            return net.op("Concat", net.conv(first, 4, 4), second, axis=1)
        case "max pool":
            return net.op("Relu", net.op("MaxPool", b, kernel_shape=[2, 2], strides=[2, 2]))
        case "average":
            return net.op("AveragePool", b, kernel_shape=[2, 2], strides=[2, 2])
        case "resize":
            return net.op("Resize", b, "", np.array([1, 1, 2, 2], F32), mode="nearest")
        case "pad":
            return net.op("Pad", b, np.array([0, 0, 1, 1, 0, 0, 1, 1]))
        case "gate":
            pooled = net.op("GlobalAveragePool", b)
            return net.op("Mul", b, net.op("Sigmoid", net.conv(pooled, 8, 8, 1)))
        case "transposed" | "transposed groups":
            group = 2 if kind == "transposed groups" else 1
            weights = net.rng.standard_normal((8, 8 // group, 2, 2)).astype(F32) / F32(6)
            bias = net.rng.standard_normal(8).astype(F32)
            x = net.op("ConvTranspose", b, weights, bias, strides=[2, 2], group=group)
            return net.op("Relu", x)
        case "depthwise":
            return net.conv(b, 8, 8, group=8)
        case "normalized":
            positive = [net.rng.uniform(0.5, 2, 8).astype(F32) for _ in range(4)]
            return net.op("BatchNormalization", b, *positive)
        case "no bias":
            return net.op("Conv", b, net.rng.standard_normal((8, 8, 1, 1)).astype(F32) / F32(3))
    raise AssertionError(kind)


KINDS = (
    "relu6", "swish", "add", "sum", "concat", "concat, relu", "concat, scaled", "dense", "shuffle",
    "split", "max pool", "average", "resize", "pad", "gate", "depthwise", "normalized", "no bias",
    "transposed", "transposed groups",
)  # fmt: skip


def image_net(kind: str, classes: bool = False) -> Any:
    net = Net()
    y = net.conv(head(net, kind), 8, 8)
    if classes:
        y = net.op("Flatten", net.op("GlobalAveragePool", net.op("Relu", y)))
        weights = net.rng.standard_normal((8, 5)).astype(F32)
        y = net.op("Gemm", y, weights, net.rng.standard_normal(5).astype(F32))
    return net.model(y)


def transformer() -> Any:
    """An attention block and two products with GELU, with residuals and normalization."""
    net, width = Net(), 16
    dense = [(net.rng.standard_normal((width, width)) / 4).astype(F32) for _ in range(5)]
    ones, zeros = np.ones(width, F32), np.zeros(width, F32)

    def heads(x: str, perm: list[int]) -> str:
        return net.op("Transpose", net.op("Reshape", x, np.array([0, 0, 2, 8])), perm=perm)

    q, k, v = (net.op("Add", net.op("MatMul", "x", w), zeros + F32(0.1)) for w in dense[:3])
    scores = net.op("MatMul", heads(q, [0, 2, 1, 3]), heads(k, [0, 2, 3, 1]))
    weights = net.op("Softmax", net.op("Div", scores, F32(8**0.5)), axis=-1)
    mixed = net.op("MatMul", weights, heads(v, [0, 2, 1, 3]))
    mixed = net.op("Reshape", net.op("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([0, 0, 16]))
    x = net.op("LayerNormalization", net.op("Add", "x", mixed), ones, zeros)
    inner = net.op("Gelu", net.op("MatMul", x, dense[3]))
    y = net.op("LayerNormalization", net.op("Add", x, net.op("MatMul", inner, dense[4])), ones)
    return net.model(y, shape=("n", 6, width))


def samples(rng: np.random.Generator, count: int = 24, shape: Any = (4, 8, 8)) -> dict[str, Any]:
    return {"x": rng.standard_normal((count, *shape)).astype(F32)}


def decibels(expected: np.ndarray, found: np.ndarray) -> float:
    """Signal to noise."""
    expected = expected.astype(np.float64)
    error = np.square(found - expected).mean()
    return float(10 * np.log10(np.square(expected).mean() / max(error, 1e-30)))


def in_onnxruntime(model: Any, feeds: dict[str, Any]) -> np.ndarray:
    data = model if isinstance(model, str) else sardonyx.importers.to_bytes(model)
    result: np.ndarray = onnxruntime.InferenceSession(data).run(None, feeds)[0]
    return result


def in_openvino(path: Path, feeds: dict[str, Any]) -> np.ndarray:
    openvino = pytest.importorskip("openvino")
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return np.asarray(compiled(feeds)[0])


def check(
    model: Any, feeds: dict[str, Any], path: Path, least: float, floats: int = 0, **options: Any
) -> Any:
    """Quantize, and compare with floats and between runtimes; returns the quantized graph.

    So many products stay as they are.
    """
    done = sardonyx.quantize(model, feeds, path, threads=1, **options)
    quantized = onnx.load(path)
    onnx.checker.check_model(quantized, full_check=True)
    expected = in_onnxruntime(model, feeds)
    found = sardonyx.Session(str(path), threads=1).run(None, feeds)[0]
    others = [in_onnxruntime(str(path), feeds)]
    if importlib.util.find_spec("openvino") is not None:
        others.append(in_openvino(path, feeds))
    for each in (found, *others):
        assert decibels(expected, each) > least
    for each in others:  # what rounds the other way is one step of the grid
        assert decibels(each, found) > least + 3
    kinds = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    heads = [node for node in quantized.graph.node if node.op_type in kinds]
    assert done.count == len(heads) - floats
    return quantized.graph


def grid(graph: Any, name: str) -> str | None:
    """Scale of what quantizes a tensor, or has dequantized it."""
    for node in graph.node:
        quantizes = node.op_type == "QuantizeLinear" and node.input[0] == name
        if quantizes or (node.op_type == "DequantizeLinear" and node.output[0] == name):
            return str(node.input[1])
    return None


@pytest.mark.parametrize("kind", KINDS)
def test_regions_of_convolutions(kind, rng, tmp_path):
    """All convolutions compute with integers, and what moves elements keeps their grid."""
    path = tmp_path / "q.onnx"
    graph = check(image_net(kind), samples(rng), path, 28.0)
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    steps = sardonyx.Session(str(path), threads=1).engine.program.steps
    integers = sum("QLinearConv" in step.op_type for step in steps)
    assert integers >= len(convolutions)
    moving = ("Concat", "Reshape", "Transpose", "Split", "MaxPool", "Resize", "Pad")
    for node in graph.node:
        if node.op_type in moving:
            given = len(node.input) if node.op_type == "Concat" else 1
            grids = {grid(graph, name) for name in node.input[:given]}
            results = {grid(graph, name) for name in node.output} - {None}
            assert len(grids) == 1 and None not in grids and results <= grids


def test_classifiers_end_in_floats(rng, tmp_path):
    graph = check(image_net("add", classes=True), samples(rng), tmp_path / "q.onnx", 28.0)
    assert graph.node[-1].op_type == "Gemm"
    assert all(grid(graph, name) for name in graph.node[-1].input[:1])


@pytest.mark.parametrize("axes", [1, 3])
def test_convolutions_of_other_ranks(axes, rng, tmp_path):
    net = Net()
    weights = [(net.rng.standard_normal((4, 4, *[3] * axes)) / 6).astype(F32) for _ in range(2)]
    inner = net.op("Relu", net.op("Conv", "x", weights[0], pads=[1] * axes * 2))
    y = net.op("Conv", inner, weights[1], np.ones(4, F32))
    shape = (4, *[6] * axes)
    model = net.model(y, shape=("n", *shape))
    check(model, samples(rng, 9, shape), tmp_path / "q.onnx", 30.0)


def test_sums_of_products_stay_floats_for_what_adds_them(rng, tmp_path):
    net = Net()
    dense = [(net.rng.standard_normal((16, 16)) / 4).astype(F32) for _ in range(2)]
    first = net.op("MatMul", "x", dense[0])
    model = net.model(net.op("Add", first, net.op("MatMul", first, dense[1])), shape=("n", 16))
    graph = check(model, samples(rng, 9, (16,)), tmp_path / "q.onnx", 30.0)
    assert graph.node[-1].input[0] == first


@pytest.mark.parametrize("products", [False, True])
def test_transformers(products, rng, tmp_path):
    """Attention is quantized only where that is asked for; normalization and Softmax never are."""
    path, feeds = tmp_path / "q.onnx", samples(rng, 9, (6, 16))
    graph = check(transformer(), feeds, path, 30.0, products=products, floats=2 - 2 * products)
    inner = [node for node in graph.node if node.op_type in ("Softmax", "LayerNormalization")]
    assert not any(grid(graph, node.input[0]) for node in inner)


@pytest.mark.parametrize("method", ["auto", "minmax", "average", "percentile", "entropy", "mse"])
def test_accuracy_on_handwritten_digits(method, tmp_path):
    """Calibrated on 50 images, at most half a point of accuracy is lost on the others."""
    images = held_out_images()
    calibration, feeds = images.pixels[::9], {"pixels": images.pixels}
    path = tmp_path / "q.onnx"
    done = sardonyx.quantize(DIGITS, calibration, path, method=method, threads=1)
    assert done.runs == -(-len(calibration) // 8)

    def accuracy(model: str) -> float:
        found = sardonyx.Session(model, threads=1).run(None, feeds)[0]
        return float((found.argmax(1) == images.labels).mean())

    assert accuracy(str(path)) >= accuracy(DIGITS) - 0.005
    assert path.stat().st_size < Path(DIGITS).stat().st_size


@pytest.mark.parametrize(("mode", "options"), [
    ("dynamic", {}), ("weights", {}), ("weights", {"bits": 4}),
    ("weights", {"bits": 4, "block": 16, "rounding": "mse"}),
])  # fmt: skip
def test_modes_without_data(mode, options, rng, tmp_path):
    net = Net()
    first = (net.rng.standard_normal((40, 64)) / 6).astype(F32)
    second = (net.rng.standard_normal((30, 64)) / 8).astype(F32)
    y = net.op("Relu", net.op("MatMul", "x", first))
    bias = net.rng.standard_normal(30).astype(F32)
    y = net.op("Gemm", y, second, bias, transB=1, alpha=0.5, beta=2.0)
    model, path = net.model(y, shape=("n", 40)), tmp_path / "q.onnx"
    feeds = samples(rng, 20, (40,))
    done = sardonyx.quantize(model, None, path, mode=mode, threads=1, **options)
    assert done.count == 2
    onnx.checker.check_model(onnx.load(path), full_check=True)
    least = 18 if options and mode == "weights" else 35
    expected, found = in_onnxruntime(model, feeds), in_onnxruntime(str(path), feeds)
    ours = sardonyx.Session(str(path), threads=1).run(None, feeds)[0]
    assert decibels(expected, found) > least and decibels(expected, ours) > least
    assert decibels(found, ours) > 35


def test_weights_that_several_nodes_read_are_written_once(rng, tmp_path):
    net = Net()
    weights = net.constant((net.rng.standard_normal((40, 40)) / 6).astype(F32))
    y = net.op("MatMul", net.op("Relu", net.op("MatMul", "x", weights)), weights)
    model = net.model(y, shape=("n", 40))
    for mode in ("static", "weights"):
        done = sardonyx.quantize(model, samples(rng, 4, (40,)), mode=mode)
        large = [v for v in done.model.graph.initializers.values() if v.const_value.size == 1600]
        assert len(large) == 1


def test_weights_and_biases_of_layers_with_other_scales_have_names_of_their_own(rng, tmp_path):
    net = Net()
    weights = (rng.standard_normal((8, 4, 3, 3)) / 6).astype(F32)
    weights, bias = net.constant(weights), net.constant(rng.standard_normal(8).astype(F32))
    both = [net.op("Conv", x, weights, bias) for x in ("x", net.op("Mul", "x", F32(9)))]
    y = net.op("Sub", *both)
    quantized = check(net.model(y), samples(rng), tmp_path / "q.onnx", 25)
    made = [name for node in quantized.node for name in node.output]
    assert len(made) == len(set(made))
    arrays = map(numpy_helper.to_array, quantized.initializer)
    assert sum(array.dtype == np.int32 and bool(array.any()) for array in arrays) == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "needs calibration data"),
        ([], "calibration data is empty"),
        ({"x": np.zeros((0, 4, 8, 8), F32)}, "calibration data is empty"),
        ([{"z": np.zeros((1, 4, 8, 8), F32)}], "no input 'z'; the model has x"),
        ([{}], "input 'x' is missing"),
        ([np.zeros((1, 4, 8, 8))], "'x' is float64, expected float32"),
        ([np.zeros((1, 3, 8, 8), F32)], r"'x' has the shape \(1, 3, 8, 8\)"),
        ([np.full((1, 4, 8, 8), np.nan, F32)], "run 1 .* input 'x' is NaN"),
        (7, "not a int"),
        ([[[1.0], [1.0, 2.0]]], "run 1 .* input 'x' is no array"),
    ],
)
def test_bad_data_is_refused_and_nothing_written(data, message, tmp_path):
    path = tmp_path / "q.onnx"
    with pytest.raises(InvalidArgument, match=message):
        sardonyx.quantize(image_net("add"), data, path)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", "objects.npy", "objects.npz"])
def test_files_that_hold_no_arrays_are_named(content, tmp_path):
    path = tmp_path / (content if isinstance(content, str) else "x.npz")
    objects = np.array([{}], object)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".npy":
        np.save(path, objects, allow_pickle=True)
    else:
        np.savez(path, x=objects)
    with pytest.raises(InvalidArgument, match=f"{path.name}: not a readable .npy or .npz file"):
        sardonyx.quantize(image_net("add"), path)


def test_a_folder_without_arrays_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InvalidArgument, match=f"{tmp_path} holds no file of .npy, .npz, nor"):
        sardonyx.quantize(image_net("add"), tmp_path)


def test_a_tensor_that_overflows_is_named(tmp_path):
    net = Net()
    y = net.conv(net.op("Exp", net.op("Mul", "x", F32(1e30))), 4, 4)
    with pytest.raises(InvalidArgument, match=r"tensor 'v1_0' is NaN or infinite in run 1"):
        sardonyx.quantize(net.model(y), [np.ones((1, 4, 8, 8), F32)])


def test_a_tensor_that_is_zero_is_named(rng, tmp_path):
    net = Net()
    y = net.conv(net.op("Relu", net.conv("x", 4, 8)), 8, 4)
    model, path = net.model(y), tmp_path / "q.onnx"
    with pytest.warns(UserWarning, match="'x' is zero in all runs"):
        sardonyx.quantize(model, [np.zeros((1, 4, 8, 8), F32)], path)
    assert np.isfinite(in_onnxruntime(str(path), samples(rng, 2))).all()


def test_what_is_quantized_already_is_refused(rng, tmp_path):
    path = tmp_path / "q.onnx"
    sardonyx.quantize(image_net("add"), samples(rng), path)
    for mode in ("static", "dynamic", "weights"):
        with pytest.raises(InvalidArgument, match="quantized already: node"):
            sardonyx.quantize(str(path), samples(rng), mode=mode)


@pytest.mark.parametrize(
    "options",
    [{"mode": "int8"}, {"method": "max"}, {"bits": 5}, {"block": 24}, {"rounding": "hqq"},
     {"percentile": 0.9}, {"percentile": "99"}, {"block": 32.0}, {"keep": "conv"},
     {"rounding": "mse"}, {"max_drop": "1"}, {"labels": 3}],
)  # fmt: skip
def test_unknown_options_are_refused(options):
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        sardonyx.quantize(DIGITS, held_out_images().pixels, **options)


@pytest.mark.parametrize(("mode", "options"), [
    ("dynamic", {"rounding": "gptq"}), ("dynamic", {"keep": ["node_linear"]}),
    ("weights", {"equalize": True}), ("weights", {"plots": "pictures"}),
    ("fp16", {"correct": True}), ("static", {"ports": True}), ("bf16", {"products": True}),
])  # fmt: skip
def test_options_that_a_mode_does_not_read_are_refused(mode, options):
    name = next(iter(options))
    with pytest.raises(InvalidArgument, match=f"{name}=.* changes nothing with mode '{mode}'"):
        sardonyx.quantize(DIGITS, held_out_images().pixels[:8], mode=mode, **options)


def test_places_that_cannot_be_written_to_are_refused_first(tmp_path):
    (tmp_path / "file").write_text("")
    for path, options, message in (
        (tmp_path / "none" / "q.onnx", {}, "there is no folder"),
        (tmp_path, {}, "is a folder: name a file"),
        (tmp_path / "q.onnx", {"plots": tmp_path / "file"}, "is no folder"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            sardonyx.quantize(DIGITS, "data that is not read", path, **options)


def test_a_model_stays_as_it_is_beside_its_halves():
    """Types are not shared with the copy that becomes float16, nor with what a session makes."""
    model = sardonyx.load(DIGITS)
    kinds = [value.dtype for node in model.graph for value in node.outputs]
    halves = sardonyx.quantize(model, mode="fp16").model
    narrow = [value.dtype for node in halves.graph for value in node.outputs]
    sardonyx.Session(halves)
    assert kinds == [value.dtype for node in model.graph for value in node.outputs] != narrow
    assert narrow == [value.dtype for node in halves.graph for value in node.outputs]


def test_models_without_products_are_refused(rng):
    net = Net()
    with pytest.raises(InvalidArgument, match="nothing to quantize"):
        sardonyx.quantize(net.model(net.op("Relu", "x")), samples(rng))


def test_the_command(call, tmp_path):
    pixels, path = held_out_images().pixels, tmp_path / "q.onnx"
    np.savez(tmp_path / "a.npz", pixels=pixels[:20])
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(3):
        np.save(folder / f"{i}.npy", pixels[i : i + 1])
    for data in (tmp_path / "a.npz", folder):
        found = call("quantize", DIGITS, "-o", path, "--data", data)
        assert found.exit_code == 0, found.stderr
        assert "5 convolutions and products quantized (static), 3 runs" in found.stdout
        path.unlink()
    assert call("quantize", DIGITS, "-o", path, "--mode", "weights", "--bits", 4).exit_code == 0


def test_images_are_no_arrays(call, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    found = call("quantize", DIGITS, "-o", tmp_path / "q.onnx", "--data", tmp_path)
    assert found.exit_code == 1 and "give mean and scale" in found.stderr


def test_weights_that_are_no_numbers_are_named() -> None:
    net = Net()
    weights = net.rng.standard_normal((8 * 8 * 4, 64)).astype(F32)
    weights[3, 5] = np.nan
    flat = net.op("Reshape", "x", np.array([0, -1]))
    made = net.model(net.op("MatMul", flat, net.constant(weights)))
    with pytest.warns(UserWarning, match=r"NaN or infinite: 'c1' of node .*MatMul"):
        sardonyx.quantize(made, mode="fp16")


def test_what_is_kept_has_to_be_there() -> None:
    net = Net()
    made = net.model(net.conv("x", 4, 8))
    with pytest.raises(InvalidArgument, match="no node or operator 'nope'"):
        sardonyx.quantize(made, mode="fp16", keep=["nope"])
    assert sardonyx.quantize(made, mode="fp16", keep=["Softmax"]).count


def test_opsets_that_are_too_new_are_refused_before_calibrating() -> None:
    def data() -> Any:
        raise AssertionError("calibrated")
        yield

    net = Net()
    with pytest.raises(InvalidArgument, match="target_opset must be at most"):
        sardonyx.quantize(net.model(net.conv("x", 4, 8)), data(), target_opset=99)


def test_labels_that_are_no_class_are_refused() -> None:
    flat = Net()
    made = flat.model(flat.op("Flatten", flat.op("GlobalAveragePool", flat.conv("x", 4, 8))))
    x = flat.rng.standard_normal((16, 4, 8, 8)).astype(F32)
    with pytest.raises(InvalidArgument, match="label 8 is none of the 8 classes"):
        sardonyx.quantize(made, x, max_drop=1, labels=np.full(16, 8), force=True)
