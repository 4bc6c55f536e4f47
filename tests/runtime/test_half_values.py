"""Values that lie as bfloat16 between products by AMX, or its emulation: results of any graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
import sardonyx
from onnx.helper import make_node
from sardonyx.kernels.amx_permission import has_amx
from sardonyx.runtime.inplace import Inplace
from sardonyx.runtime.ops import forms, matmul
from sardonyx.runtime.tensors import Tensor

from .drawn_networks import draw, filters, normal, transformer_layer
from .ops.conftest import build

pytestmark = pytest.mark.skipif(not has_amx(), reason="no AMX, and none emulated")

Feeds = list[dict[str, np.ndarray]]


@pytest.fixture(autouse=True)
def fast_unit(monkeypatch: pytest.MonkeyPatch, lowered_anew: None) -> None:
    """Take products by AMX wherever they may be taken."""
    monkeypatch.setattr(matmul, "pays", lambda conv, terms, rows=0: True)
    monkeypatch.setattr(forms, "pays_by_terms", lambda conv, terms, gain: True)


def steps(session: sardonyx.Session) -> list[str]:
    return [str(kernel) for kernel in session.engine.program.kernels]


def assert_near(model: onnx.ModelProto, feeds: Feeds, limit: float = 0.02) -> list[str]:
    """Compare with float32, by the errors of rounded values; returns the kernels."""
    exact = sardonyx.Session(model, precision="strict")
    for threads in (1, 2):
        session = sardonyx.Session(model, precision="bf16", threads=threads)
        for feed in feeds:
            for y, wanted in zip(session.run(None, feed), exact.run(None, feed), strict=True):
                assert y.dtype == wanted.dtype
                assert y.shape == wanted.shape
                assert np.abs(y - wanted).max() <= limit * np.abs(wanted).max()
    return steps(session)


def counted(kernels: list[str], name: str, kinds: str) -> int:
    return sum(name in kernel and kinds in kernel for kernel in kernels)


# --- graphs by hand -----------------------------------------------------------------------------


def test_convolutions_read_and_write_halves_and_the_outputs_are_float32() -> None:
    nodes = [
        make_node("Conv", ["x", "v", "b"], ["h"]), make_node("Relu", ["h"], ["r"]),
        make_node("Conv", ["r", "w"], ["s"], pads=[1, 1, 1, 1]), make_node("Relu", ["s"], ["t"]),
        make_node("Conv", ["t", "q"], ["u"]), make_node("Add", ["u", "r"], ["y"]),
    ]  # fmt: skip
    weights = {"v": filters(40, 33, 1, 1), "b": normal(40), "w": filters(64, 40, 3, 3),
               "q": filters(40, 64, 1, 1)}  # fmt: skip
    feeds = [{"x": normal(2, 33, 9, 11)}]
    kernels = assert_near(build(nodes, feeds, weights), feeds)
    assert counted(kernels, "term_convolve", "'f32', 'bf16', 'f32'") == 1
    assert counted(kernels, "term_convolve", "'bf16', 'bf16', 'f32'") == 1
    assert counted(kernels, "term_convolve", "'bf16', 'f32', 'bf16'") == 1


def test_a_value_that_is_an_output_too_stays_float32() -> None:
    nodes = [make_node("Conv", ["x", "v"], ["h"]), make_node("Conv", ["h", "w"], ["y"])]
    weights = {"v": filters(40, 33, 1, 1), "w": filters(64, 40, 1, 1)}
    feeds = [{"x": normal(1, 33, 9, 11)}]
    kernels = assert_near(build(nodes, feeds, weights, ["h", "y"]), feeds)
    assert not any("bf16" in kernel for kernel in kernels)


def test_results_lie_over_a_residual_that_nothing_else_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows of 99 pixels are cut into pieces that overlap, whose sums are added once."""
    nodes = [
        make_node("Conv", ["x", "v"], ["h"]), make_node("Relu", ["h"], ["r"]),
        make_node("Conv", ["r", "w"], ["s"]), make_node("Relu", ["s"], ["t"]),
        make_node("Conv", ["t", "q"], ["u"]), make_node("Add", ["u", "r"], ["z"]),
        make_node("Conv", ["z", "p"], ["k"]), make_node("Add", ["k", "z"], ["m"]),
        make_node("Conv", ["m", "p"], ["y"]),
    ]  # fmt: skip
    weights = {"v": filters(64, 33, 1, 1), "w": filters(32, 64, 1, 1), "q": filters(64, 32, 1, 1),
               "p": filters(64, 64, 1, 1)}  # fmt: skip
    feeds = [{"x": normal(2, 33, 9, 11)}]
    allowed: list[str] = []

    def allow(
        self: Inplace, time: int, result: Tensor, operands: Sequence[Tensor], used: Sequence[Tensor]
    ) -> None:
        allowed.extend(operand.name for operand in operands)
        original(self, time, result, operands, used)

    original = Inplace.allow
    monkeypatch.setattr(Inplace, "allow", allow)
    assert_near(build(nodes, feeds, weights), feeds)
    assert set(allowed) == {"r"}


def test_weights_used_twice() -> None:
    nodes = [
        make_node("Conv", ["x", "w", "b"], ["h"]), make_node("Relu", ["h"], ["r"]),
        make_node("Conv", ["r", "w", "b"], ["y"]),
    ]  # fmt: skip
    feeds = [{"x": normal(1, 48, 8, 8)}]
    assert_near(build(nodes, feeds, {"w": filters(48, 48, 1, 1), "b": normal(48)}), feeds)


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("case", [(2, 2, 0, 40), (3, 2, 1, 40), (3, 1, 1, 12)])
def test_pooling(operator: str, case: tuple[int, int, int, int]) -> None:
    size, stride, pad, channels = case
    pool = make_node(operator, ["h"], ["p"], kernel_shape=[size] * 2, strides=[stride] * 2,
                     pads=[pad] * 4)  # fmt: skip
    nodes = [make_node("Conv", ["x", "v"], ["h"]), pool, make_node("Conv", ["p", "w"], ["y"])]
    weights = {"v": filters(channels, 33, 1, 1), "w": filters(64, channels, 1, 1)}
    feeds = [{"x": normal(1, 33, 13, 19)}]
    kernels = assert_near(build(nodes, feeds, weights), feeds)
    assert any("pool" in kernel and "bf16" in kernel for kernel in kernels)


def test_a_dense_block_lies_in_one_buffer() -> None:
    nodes, weights, x = [make_node("Conv", ["x", "v"], ["f0"])], {"v": filters(32, 16, 3, 3)}, "f0"
    for i in range(3):
        weights[f"w{i}"] = filters(32, 32 * (i + 1), 3, 3)
        nodes += [
            make_node("Relu", [x], [f"r{i}"]),
            make_node("Conv", [f"r{i}", f"w{i}"], [f"c{i}"], pads=[1, 1, 1, 1]),
            make_node("Concat", [x, f"c{i}"], [f"f{i + 1}"], axis=1),
        ]
        x = f"f{i + 1}"
    weights["q"] = filters(8, 128, 1, 1)
    nodes.append(make_node("Conv", [x, "q"], ["y"]))
    feeds = [{"x": normal(2, 16, 11, 12)}]
    kernels = assert_near(build(nodes, feeds, weights), feeds)
    assert counted(kernels, "copy", "") <= 1  # but for the input


def test_a_concatenation_converts_what_is_float32() -> None:
    nodes = [
        make_node("Conv", ["x", "v"], ["h"]), make_node("Conv", ["x", "w"], ["s"]),
        make_node("Resize", ["s", "", "scales"], ["r"], mode="nearest"),
        make_node("AveragePool", ["r"], ["q"], kernel_shape=[2, 2], strides=[2, 2]),
        make_node("Concat", ["h", "q"], ["c"], axis=1), make_node("Conv", ["c", "u"], ["y"]),
    ]  # fmt: skip
    weights = {"v": filters(40, 33, 1, 1), "w": filters(24, 33, 1, 1), "u": filters(20, 64, 3, 3),
               "scales": np.array([1, 1, 2, 2], np.float32)}  # fmt: skip
    feeds = [{"x": normal(1, 33, 9, 11)}]
    kernels = assert_near(build(nodes, feeds, weights), feeds)
    assert counted(kernels, "term_convolve", "'bf16', 'f32', 'f32'") == 1


def test_depthwise_convolutions() -> None:
    nodes = [
        make_node("Conv", ["x", "v", "b"], ["h"]), make_node("HardSwish", ["h"], ["r"]),
        make_node("Conv", ["r", "d"], ["s"], pads=[1, 1, 1, 1], group=40, strides=[2, 2]),
        make_node("Gelu", ["s"], ["t"]), make_node("Conv", ["t", "w"], ["y"]),
    ]  # fmt: skip
    weights = {"v": filters(40, 33, 1, 1), "b": normal(40), "d": filters(40, 1, 3, 3),
               "w": filters(20, 40, 1, 1)}  # fmt: skip
    feeds = [{"x": normal(2, 33, 15, 14)}]
    kernels = assert_near(build(nodes, feeds, weights), feeds)
    assert counted(kernels, "depthwise", "bf16") == 1


def test_transformer_layers_of_open_lengths() -> None:
    nodes, weights = transformer_layer("n")
    feeds = [{"x": normal(1, rows, 72)} for rows in (40, 3, 129)]
    kernels = assert_near(build(nodes, feeds, weights, dims={"x": (1, "n", 72)}), feeds)
    assert counted(kernels, "layer_norm", "bf16") == 1


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("heads", [2, 3])
def test_attention_between_products(heads: int, masked: bool) -> None:
    """Heads of 48 and 32 elements, of which a row of a tile holds 32."""
    project = [
        node
        for name in "qkv"
        for node in (
            make_node("MatMul", ["x", f"w{name}"], [f"p{name}"]),
            make_node("Add", [f"p{name}", f"b{name}"], [name]),
        )
    ]
    attend = make_node("Attention", ["q", "k", "v", *(["m"] if masked else [])], ["a"],
                       q_num_heads=heads, kv_num_heads=heads)  # fmt: skip
    nodes = [*project, attend, make_node("MatMul", ["a", "w"], ["y"])]
    weights = {"w": filters(96, 40)} | {f"b{name}": normal(96) for name in "qkv"}
    weights |= {f"w{name}": 3 * filters(64, 96) for name in "qkv"}
    feeds = [{"x": normal(2, rows, 64)} for rows in (70, 3, 290, 1)]
    dims: dict[str, tuple[int | str, ...]] = {"x": (2, "n", 64)}
    for feed in feeds if masked else ():
        rows = feed["x"].shape[1]
        feed["m"] = np.where(normal(2, 1, 1, rows) > 1, np.float32(-1e4), np.float32(0))
        dims["m"] = (2, 1, 1, "n")
    kernels = assert_near(build(nodes, feeds, weights, dims=dims, opset=24), feeds, 0.03)
    assert counted(kernels, "half_attention", "'bf16', 'bf16'") == 1


def test_what_takes_float32_alone_reads_it() -> None:
    nodes = [
        make_node("Conv", ["x", "v"], ["h"]), make_node("Relu", ["h"], ["r"]),
        make_node("ReduceMean", ["r", "axes"], ["m"]), make_node("Mul", ["r", "m"], ["p"]),
        make_node("Conv", ["p", "w"], ["y"]),
    ]  # fmt: skip
    weights = {"v": filters(40, 33, 1, 1), "w": filters(24, 40, 3, 3), "axes": np.array([2, 3])}
    feeds = [{"x": normal(1, 33, 9, 11)}]
    assert_near(build(nodes, feeds, weights), feeds)


def test_infinities_stay_such() -> None:
    nodes = [make_node("Conv", ["x", "v"], ["h"]), make_node("Conv", ["h", "w"], ["y"])]
    weights = {"v": abs(filters(40, 33, 1, 1)), "w": abs(filters(64, 40, 1, 1))}
    x = normal(1, 33, 4, 20)
    x[0, 3, 1, 2], x[0, 4, 2, 7] = np.inf, np.nan
    session = sardonyx.Session(build(nodes, [{"x": x}], weights), precision="bf16")
    (y,) = session.run(None, {"x": x})
    assert np.isposinf(y[0, :, 1, 2]).all()
    assert np.isnan(y[0, :, 2, 7]).all()
    assert np.isfinite(y[0, :, 3]).all()


@pytest.mark.parametrize("turned", [0, 1])
def test_gemm_behind_an_activation(turned: int) -> None:
    nodes = [
        make_node("Gemm", ["x", "v", "b"], ["h"], transB=turned, alpha=0.5),
        make_node("Sigmoid", ["h"], ["s"]), make_node("Gemm", ["s", "w"], ["y"], alpha=2.0),
    ]  # fmt: skip
    weights = {"v": normal(*((48, 64) if turned else (64, 48))), "b": normal(48),
               "w": filters(48, 24)}  # fmt: skip
    feeds = [{"x": normal(rows, 64)} for rows in (20, 1, 67)]
    kernels = assert_near(build(nodes, feeds, weights, dims={"x": ("n", 64)}), feeds)
    assert counted(kernels, "term_convolve", "'bf16', 'f32', 'f32'") == 1


def test_a_body_reads_what_was_computed_before() -> None:
    inner = [make_node("Conv", ["h", "w"], ["i"]), make_node("Relu", ["i"], ["j"]),
             make_node("Conv", ["j", "w"], ["k"])]  # fmt: skip
    other = [make_node("Neg", ["h"], ["o"])]
    bodies = [
        onnx.helper.make_graph(body, name, [], [onnx.ValueInfoProto(name=body[-1].output[0])])
        for name, body in (("then", inner), ("else", other))
    ]
    nodes = [
        make_node("Conv", ["x", "v"], ["h"]), make_node("ReduceMax", ["h"], ["m"], keepdims=0),
        make_node("Less", ["m", "limit"], ["c"]),
        make_node("If", ["c"], ["f"], then_branch=bodies[0], else_branch=bodies[1]),
        make_node("Conv", ["f", "w"], ["y"]),
    ]  # fmt: skip
    weights = {"v": filters(40, 33, 1, 1), "w": filters(40, 40, 1, 1),
               "limit": np.array(100, np.float32)}  # fmt: skip
    x = normal(1, 33, 9, 11)
    feeds = [{"x": x}, {"x": 1000 * x}]
    kernels = assert_near(build(nodes, feeds, weights), feeds)
    assert counted(kernels, "term_convolve", "'bf16', 'f32', 'f32'") == 1


# --- graphs at random ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_graphs_at_random(seed: int) -> None:
    assert_near(*draw(seed, is_open=seed % 2 == 1), 0.04)
