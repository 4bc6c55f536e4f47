"""Networks whose products and convolutions run by large tiles, against onnx.reference."""

from types import SimpleNamespace

import numpy as np
import pytest
import sardonyx
from onnx import helper
from onnx.reference import ReferenceEvaluator
from sardonyx.kernels.cuda.simulator import matrices
from sardonyx.kernels.cuda.tensor_cores.tiles import GroupTile, Tile
from sardonyx.runtime.devices.cuda import tensor_product, tensor_tiles
from sardonyx.tools.cuda_cases.both import same_as_cpu
from sardonyx.tools.cuda_cases.integers import drawn
from sardonyx.tools.cuda_cases.networks import Network
from sardonyx.tools.cuda_cases.runs import check, floats, kernels_elsewhere, model_of, on_gpu

node = helper.make_node
PRECISIONS = {"fp32": 2e-6, "fast": 2e-3}
"""Errors of results, as parts of the largest one: of sums of float32, and of operands that tensor
cores take 11 bits of."""


def families(session):
    """Name the kernels of large tiles that a session has, without their words."""
    refs = [session.engine.program.kernels[s.kernel] for s in session.engine.program.steps]
    return [ref.function for ref in refs if ref.module == "kernels.cuda.tensor_cores.steps"]


def compare(nodes, feeds, weights, precision, dims=None):
    """Compare with onnx.reference; gives the families of kernels."""
    model = model_of(nodes, feeds, weights, dims)
    session = on_gpu(model, precision=precision)
    assert kernels_elsewhere(session) == []
    expected = ReferenceEvaluator(model).run(None, feeds)
    for got, wanted in zip(session.run(None, feeds), expected, strict=True):
        assert got.shape == wanted.shape
        error = np.abs(got - wanted).max() / np.abs(wanted).max()
        assert error < PRECISIONS[precision], error
    return families(session)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_layers_with_bias_residual_and_activation(precision):
    nodes = [
        node("MatMul", ["x", "w"], ["t"]), node("Add", ["t", "b"], ["u"]),
        node("Add", ["u", "r"], ["v"]), node("Gelu", ["v"], ["g"]),
        node("Gemm", ["g", "v2", "c"], ["h"], transB=1), node("Tanh", ["h"], ["y"]),
    ]  # fmt: skip
    feeds = {"x": floats(40, 36), "r": floats(40, 68, seed=1)}
    weights = {"w": floats(36, 68, seed=2), "b": floats(68, seed=3),
               "v2": floats(37, 68, seed=4) * np.float32(0.01),
               "c": floats(37, seed=5)}  # fmt: skip
    found = compare(nodes, feeds, weights, precision)
    assert found == [{"fp32": "multiply_add_product", "fast": "warp_product"}[precision]] * 2


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_residual_block_of_a_network_of_images(precision):
    nodes = [
        node("Conv", ["x", "w0", "b0"], ["t0"], strides=[2, 2], pads=[1, 1, 1, 1]),
        node("Relu", ["t0"], ["h0"]),
        node("Conv", ["h0", "w1", "b1"], ["t1"], pads=[1, 1, 1, 1], group=2),
        node("Relu", ["t1"], ["h1"]),
        node("Conv", ["h1", "w2", "b2"], ["t2"]),
        node("Add", ["t2", "h0"], ["s2"]), node("Relu", ["s2"], ["h2"]),
        node("Conv", ["h2", "w3", "b3"], ["t3"], strides=[2, 1], pads=[0, 1, 1, 2],
             dilations=[1, 2]),
        node("Sigmoid", ["t3"], ["y"]),
    ]  # fmt: skip
    shapes = {0: (48, 3, 3, 3), 1: (48, 24, 3, 3), 2: (48, 48, 1, 1), 3: (20, 48, 2, 3)}
    weights = {f"w{i}": floats(*s, seed=i) * np.float32(0.1) for i, s in shapes.items()}
    weights |= {f"b{i}": floats(s[0], seed=9 + i) for i, s in shapes.items()}
    found = compare(nodes, {"x": floats(2, 3, 11, 10)}, weights, precision)
    # The first layer has 3 channels, which are no 16 bytes.
    rest = {"fast": "warp", "fp32": "multiply_add"}[precision]
    assert found == ["multiply_add_convolution", f"{rest}_convolution", f"{rest}_product",
                     f"{rest}_convolution"]  # fmt: skip


@pytest.mark.parametrize("precision", PRECISIONS)
def test_products_of_batches(precision):
    """Both operands are computed: one along two axes, one lies with its rows contiguous."""
    nodes = [
        node("Transpose", ["q"], ["a"], perm=[0, 2, 1, 3]),
        node("Transpose", ["k"], ["b"], perm=[0, 2, 3, 1]), node("MatMul", ["a", "b"], ["s"]),
        node("Mul", ["s", "f"], ["y"]),
    ]  # fmt: skip
    feeds = {"q": floats(2, 33, 3, 32), "k": floats(2, 36, 3, 32, seed=1)}
    found = compare(nodes, feeds, {"f": np.array(0.1, np.float32)}, precision)
    assert len(found) == 1


def test_sizes_that_only_a_run_tells():
    nodes = [node("MatMul", ["x", "w"], ["t"]), node("Relu", ["t"], ["y"])]
    weights = {"w": floats(40, 36)}
    dims = {"x": ["batch", "length", 40]}
    several = [{"x": floats(2, 20, 40)}, {"x": floats(1, 1, 40)}, {"x": floats(0, 3, 40)}]
    assert families(check(nodes, several, weights, dims)) == ["multiply_add_product"]


def test_a_block_of_a_transformer():
    net, width = Network(), 48
    heads = net.weight(np.array([0, 0, 3, 16]))
    whole = net.weight(np.array([0, 0, width]))

    def normal(x):
        return net("LayerNormalization", x, net.drawn(width), net.drawn(width), axis=-1)

    def split(x):
        own = net("Reshape", net.linear(x, width, width), heads)
        return net("Transpose", own, perm=[0, 2, 1, 3])

    x = normal("x")
    mixed = net("Attention", split(x), split(x), split(x))
    mixed = net("Reshape", net("Transpose", mixed, perm=[0, 2, 1, 3]), whole)
    x = net("Add", net.linear(mixed, width, width), "x")
    wide = net("Gelu", net.linear(normal(x), width, 2 * width))
    net("Add", net.linear(wide, 2 * width, width), x)
    found = compare(net.nodes, {"x": floats(1, 40, width)}, net.weights, "fast")
    assert found == ["warp_product"] * 6


@pytest.mark.parametrize(("dtype", "point"), [("uint8", 77), ("int8", -9)])
def test_bytes_are_exact(dtype, point):
    """Padding is the zero point, as in the products."""
    weights = {"w": drawn("int8", 40, 16, 3, 3), "p": np.array(point, dtype),
               "s": np.float32(0.02), "t": np.abs(floats(40)) / 30, "q": np.zeros(40, np.int8),
               "u": np.float32(0.5), "z": np.array(3, dtype), "b": drawn("int32", 40)}  # fmt: skip
    one = node("QLinearConv", ["x", "s", "p", "w", "t", "q", "u", "z", "b"], ["y"],
               pads=[1, 0, 2, 1], group=2)  # fmt: skip
    session = same_as_cpu(one, {"x": drawn(dtype, 2, 32, 6, 7)}, weights)
    assert families(session) == ["warp_convolution"]
    for depth, columns in ((48, 36), (45, 37)):
        weights = {"w": drawn("int8", depth, columns), "p": np.array(point, dtype)}
        one = node("MatMulInteger", ["x", "w", "p"], ["y"])
        session = same_as_cpu(one, {"x": drawn(dtype, 2, 20, depth)}, weights)
        assert families(session) == ["warp_product"]


def test_a_quantized_network():
    """Scales, zero points and bytes between layers, as quantizers write them."""
    net = Network()

    def grid(x, scale, point, dtype):
        words = [net.weight(np.float32(scale)), net.weight(np.array(point, dtype))]
        return net("DequantizeLinear", net("QuantizeLinear", x, *words), *words)

    def weights(*shape):
        scale = net.weight(np.abs(floats(shape[0], seed=5)) / 500 + np.float32(0.001))
        zero = net.weight(np.zeros(shape[0], np.int8))
        return net("DequantizeLinear", net.weight(drawn("int8", *shape)), scale, zero, axis=0)

    x = grid("x", 0.03, 120, "uint8")
    x = net("Relu", net("Conv", x, weights(32, 16, 3, 3), net.drawn(32), pads=[1] * 4))
    x = grid(x, 0.06, 0, "uint8")
    y = net("Conv", x, weights(32, 32, 3, 3), net.drawn(32), pads=[1] * 4, strides=[2, 2])
    y = grid(net("Flatten", net("Relu", grid(y, 0.1, 128, "uint8"))), 0.1, 0, "uint8")
    net("Gemm", y, weights(36, 32 * 9), net.drawn(36), transB=1)
    feeds = {"x": floats(24, 16, 6, 5)}
    model = model_of(net.nodes, feeds, net.weights)
    session = on_gpu(model)
    (got,) = session.run(None, feeds)
    (wanted,) = ReferenceEvaluator(model).run(None, feeds)
    assert families(session) == ["warp_convolution"] * 2 + ["warp_product"]
    # A number between two of the grid's may be rounded to either.
    assert np.abs(got - wanted).max() < 0.01 * np.abs(wanted).max()


@pytest.mark.parametrize("kind", ["causal", "mask", "bools", "cache"])
def test_attention(kind):
    """Grouped heads; of scores and values 8 bits count."""
    feeds = {"q": floats(2, 4, 20, 24), "k": floats(2, 2, 70, 24, seed=1),
             "v": floats(2, 2, 70, 24, seed=2)}  # fmt: skip
    names, options, outputs = ["q", "k", "v"], {}, ["y"]
    if kind == "causal":
        options["is_causal"] = 1
    elif kind == "mask":
        feeds["m"] = floats(2, 1, 20, 70, seed=3)
        names.append("m")
    elif kind == "bools":
        feeds["m"] = floats(20, 70, seed=3) > 0
        names.append("m")
    else:
        feeds |= {"pk": floats(2, 2, 9, 24, seed=4), "pv": floats(2, 2, 9, 24, seed=5)}
        names += ["", "pk", "pv"]
        outputs += ["nk", "nv"]
        options["is_causal"] = 1
    model = model_of([node("Attention", names, outputs, **options)], feeds)
    session = on_gpu(model, precision="bf16")
    found = [session.engine.program.kernels[s.kernel] for s in session.engine.program.steps]
    assert "warp_attention" in [ref.function for ref in found]
    expected = ReferenceEvaluator(model).run(None, feeds)
    for got, wanted in zip(session.run(None, feeds), expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=0.03)


def test_lengths_of_attention_are_checked():
    feeds = {"q": floats(2, 2, 20, 16), "k": floats(2, 2, 70, 16, seed=1),
             "v": floats(2, 2, 70, 16, seed=2), "n": np.array([60, 33])}  # fmt: skip
    one = node("Attention", ["q", "k", "v", "", "", "", "n"], ["y"], is_causal=1)
    model = model_of([one], feeds)
    model.opset_import[0].version = 24
    session, cpu = on_gpu(model, precision="bf16"), sardonyx.Session(model.SerializeToString())
    (got,), (wanted,) = (each.run(None, feeds) for each in (session, cpu))
    np.testing.assert_allclose(got, wanted, atol=0.03)
    with pytest.raises(sardonyx.KernelError, match="index 71 out of range in 'n'"):
        session.run(None, {**feeds, "n": np.array([60, 71])})


@pytest.mark.parametrize("batch", [(), (2,)])
def test_tensor_maps_follow_sizes_and_addresses(monkeypatch, lowered_anew, batch):
    """By wgmma, which a GPU has for large products only: both operands are read by their maps."""
    tile = GroupTile("tf32", "f32", 64, 64, 64, 64, 2)
    monkeypatch.setattr(tensor_product, "tile_for", lambda *_: tile)
    nodes = [node("MatMul", ["x", "w"], ["t"]), node("Add", ["t", "b"], ["u"]),
             node("Relu", ["u"], ["y"])]  # fmt: skip
    weights = {"w": floats(*batch, 40, 68), "b": floats(68, seed=1)}
    model = model_of(nodes, {"x": floats(*batch, 33, 40)}, weights, {"x": [*batch, "rows", 40]})
    session = on_gpu(model, precision="fast")
    assert families(session) == ["group_product"]
    for rows in (33, 70, 33):
        feeds = {"x": floats(*batch, rows, 40, seed=rows)}
        (got,), (wanted,) = session.run(None, feeds), ReferenceEvaluator(model).run(None, feeds)
        assert np.abs(got - wanted).max() < 2e-3 * np.abs(wanted).max()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("rows", [1, 40])
def test_weights_of_four_bits(precision, rows):
    """As other runtimes store them, with zero points; what follows is one step with the product."""
    columns, depth, block = 132, 128, 32
    blocks = depth // block
    weights = {
        "b": drawn("uint8", columns, blocks, block // 2),
        "z": drawn("uint8", columns * blocks // 2),
        "s": np.abs(floats(columns * blocks)) / 16, "c": floats(columns, seed=3),
    }  # fmt: skip
    nodes = [
        node("MatMulNBits", ["x", "b", "s", "z"], ["t"], domain="com.microsoft", K=depth,
             N=columns, bits=4, block_size=block),
        node("Add", ["t", "c"], ["u"]), node("Relu", ["u"], ["y"]),
    ]  # fmt: skip
    feeds = {"x": floats(rows, depth)}
    model = model_of(nodes, feeds, weights)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    session = on_gpu(model, precision=precision)
    found = [session.engine.program.kernels[s.kernel] for s in session.engine.program.steps]
    assert [ref.function for ref in found] == ["nibble_product"]
    numbers = np.stack([weights["b"] & 15, weights["b"] >> 4], -1).reshape(columns, blocks, block)
    zeros = np.stack([weights["z"] & 15, weights["z"] >> 4], -1).reshape(columns, blocks, 1)
    whole = (numbers - zeros.astype(np.float64)) * weights["s"].reshape(columns, blocks, 1)
    wanted = np.maximum(feeds["x"] @ whole.reshape(columns, depth).T + weights["c"], 0)
    (got,) = session.run(None, feeds)
    assert np.abs(got - wanted).max() < PRECISIONS[precision] * np.abs(wanted).max()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_parts_of_a_long_depth(monkeypatch, lowered_anew, precision):
    """Where few tiles would leave processors idle: cut, and added up with what follows."""
    monkeypatch.setattr(tensor_product, "parts_for", lambda *_: 4)
    nodes = [node("Gemm", ["x", "w", "b"], ["t"]), node("Relu", ["t"], ["u"]),
             node("Add", ["u", "r"], ["v"]), node("Mul", ["v", "v"], ["y"])]  # fmt: skip
    weights = {"w": floats(256, 36), "b": floats(36, seed=1)}
    feeds = {"x": floats(20, 256), "r": floats(20, 36, seed=2)}
    assert len(compare(nodes, feeds, weights, precision)) == 1


def test_parts_are_chosen_where_tiles_are_few():
    emits = SimpleNamespace(options={"device": "cuda:90", "precision": "fast"})
    tile = Tile("tf32", "f32", 64, 64, 32, 32, 3)
    assert tensor_tiles.parts_for(emits, tile, (64, 256, 8192)) > 1
    assert tensor_tiles.parts_for(emits, tile, (4096, 4096, 4096)) == 1
    assert tensor_tiles.parts_for(emits, tile, (64, 256, 256)) == 1


def test_a_fault_of_a_register_is_found(monkeypatch):
    """Lanes whose fragments of A are exchanged give another product."""
    right = matrices.SHAPES["m16n8k8"].a
    wrong = type(matrices.SHAPES["m16n8k8"])(
        16, 8, 8, 32, lambda g, t, i: right(g, t, i ^ 1), *(
            getattr(matrices.SHAPES["m16n8k8"], each) for each in "bc"
        )
    )  # fmt: skip
    monkeypatch.setitem(matrices.SHAPES, "m16n8k8", wrong)
    matrices._places.cache_clear()
    feeds, weights = {"x": floats(40, 32)}, {"w": floats(32, 36)}
    try:
        with pytest.raises(AssertionError):
            compare([node("MatMul", ["x", "w"], ["y"])], feeds, weights, "fast")
    finally:
        matrices._places.cache_clear()


def test_the_cpu_has_the_precision_too():
    model = model_of([node("MatMul", ["x", "w"], ["y"])], {"x": floats(4, 8)}, {"w": floats(8, 6)})
    session = sardonyx.Session(model.SerializeToString(), precision="fast")
    assert session.engine.program.metadata["precision"] == "bf16x3"
