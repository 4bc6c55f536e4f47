"""Products of bfloat16: float32 sums of rounded operands, taken only where they pay."""

from __future__ import annotations

import warnings

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx.helper import make_node
from sardonyx.kernels import folders, unit_rates
from sardonyx.kernels.amx_permission import EMULATED
from sardonyx.kernels.machine_costs import costs_given, machine_costs

from .conftest import build


@pytest.fixture(autouse=True)
def fast_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any processor multiply bfloat16 fast enough: without an instruction it widens them."""
    monkeypatch.setattr(unit_rates, "rates", lambda: {"float32": 1.0, "bfloat16": 2.0})


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(list(shape)).standard_normal(shape, np.float32)


def half(array: np.ndarray) -> np.ndarray:
    return array.astype(ml_dtypes.bfloat16).astype(np.float32)


def kernels(session: sardonyx.Session) -> str:
    return " ".join(str(kernel) for kernel in session.engine.program.kernels)


def assert_rounded(
    model: onnx.ModelProto, rounded: onnx.ModelProto, feeds: list[dict[str, np.ndarray]]
) -> None:
    """Compare with float32's results of a model whose operands are rounded already."""
    session = sardonyx.Session(model, precision="bf16", threads=2)
    assert session.engine.program.metadata["bfloats"]
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    other = onnxruntime.InferenceSession(rounded.SerializeToString(), options)
    for feed in feeds:
        wanted = other.run(None, {name: half(array) for name, array in feed.items()})
        for y, right in zip(session.run(None, feed), wanted, strict=True):
            np.testing.assert_allclose(y, right, rtol=1e-4, atol=1e-5 * np.abs(right).max())


@pytest.mark.parametrize("depth", [8, 33, 300])
@pytest.mark.parametrize("columns", [48, 70, 256])
def test_products_of_matrices(depth: int, columns: int) -> None:
    nodes = [make_node("MatMul", ["x", "w"], ["m"]), make_node("Relu", ["m"], ["y"])]
    w = normal(depth, columns)
    feeds = [{"x": normal(rows, depth)} for rows in (20, 9, 101)]
    models = [build(nodes, feeds, {"w": each}, dims={"x": ("n", depth)}) for each in (w, half(w))]
    assert_rounded(*models, feeds)


@pytest.mark.parametrize("turned", [0, 1])
def test_gemm(turned: int) -> None:
    w, c = normal(90, 64), normal(64 if not turned else 90)
    feeds = [{"x": normal(17, 64 if turned else 90)}]
    gemm = make_node("Gemm", ["x", "w", "c"], ["y"], transB=turned)
    models = [build([gemm], feeds, {"w": each, "c": c}) for each in (w, half(w))]
    assert_rounded(*models, feeds)


def test_batches_and_readers_that_share_rows() -> None:
    nodes = [
        make_node("MatMul", ["x", "v"], ["a"]), make_node("MatMul", ["x", "w"], ["b"]),
        make_node("MatMul", ["x", "u"], ["c"]), make_node("Concat", ["a", "b", "c"], ["y"], axis=2),
    ]  # fmt: skip
    weights = {"v": normal(64, 64), "w": normal(64, 50), "u": normal(3, 64, 49)}
    feeds = [{"x": normal(3, 21, 64)}]
    rounded = {name: half(w) for name, w in weights.items()}
    assert_rounded(build(nodes, feeds, weights), build(nodes, feeds, rounded), feeds)
    session = sardonyx.Session(build(nodes, feeds, weights), precision="bf16")
    steps = [step.op_type for step in session.engine.program.steps]
    assert steps.count("Bfloats") <= 2  # rows of all images, and those of each


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, object]]] = {
    "pixels": ((2, 32, 9, 7), (50, 32, 1, 1), {}),
    "odd channels": ((1, 13, 9, 7), (50, 13, 1, 1), {}),
    "padded": ((1, 16, 9, 11), (24, 16, 5, 3), {"pads": [2, 1, 2, 1]}),
    "strided": ((1, 16, 9, 11), (24, 16, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "dilated": ((1, 9, 12, 11), (24, 9, 3, 3), {"dilations": [2, 3], "pads": [2, 3, 2, 3]}),
    "groups": ((2, 27, 9, 8), (48, 9, 3, 3), {"group": 3, "pads": [1, 1, 1, 1]}),
    "a line": ((2, 24, 40), (32, 24, 5), {"pads": [2, 2]}),
    "a volume": ((1, 16, 5, 6, 7), (20, 16, 3, 2, 3), {"pads": [1, 0, 1, 1, 1, 1]}),
}


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(case: str) -> None:
    shape, kernel, attributes = CONVOLUTIONS[case]
    nodes = [
        make_node("Conv", ["x", "w", "b"], ["h"], **attributes),
        make_node("HardSwish", ["h"], ["y"]),
    ]
    w, b, feeds = normal(*kernel), normal(kernel[0]), [{"x": normal(*shape)}]
    models = [build(nodes, feeds, {"w": each, "b": b}) for each in (w, half(w))]
    assert_rounded(*models, feeds)


def test_costs_decide_what_is_rounded() -> None:
    """Products by few filters are float32 where it takes long to round, and bfloat16 where not."""
    w, feeds = normal(24, 32, 1, 1), [{"x": normal(1, 32, 9, 7)}]
    nodes = [make_node("Conv", ["x", "w"], ["y"])]
    models = [build(nodes, feeds, {"w": each}) for each in (w, half(w))]
    costs = machine_costs()
    for rounded, is_rounded in ((0.0, True), (1e4, False)):
        streams = costs.streams._replace(near=0.0, far=0.0, memory=0.0)
        vectors = costs.vectors._replace(rounded=rounded)
        with costs_given(costs._replace(streams=streams, vectors=vectors)):
            session = sardonyx.Session(models[0], precision="bf16")
            steps = [step.op_type for step in session.engine.program.steps]
            assert ("Bfloats" in steps) is is_rounded
            if is_rounded:
                assert_rounded(*models, feeds)
                continue
            other = onnxruntime.InferenceSession(models[0].SerializeToString())
            (wanted,) = other.run(None, feeds[0])
            np.testing.assert_allclose(session(*feeds[0].values()), wanted, rtol=1e-4, atol=1e-5)


def test_a_residual_and_what_follows_are_float32() -> None:
    nodes = [
        make_node("Conv", ["x", "w"], ["h"]), make_node("Add", ["h", "x"], ["s"]),
        make_node("Relu", ["s"], ["r"]), make_node("Softmax", ["r"], ["y"], axis=1),
    ]  # fmt: skip
    w, feeds = normal(48, 48, 1, 1), [{"x": half(normal(1, 48, 8, 8))}]
    models = [build(nodes, feeds, {"w": each}) for each in (w, half(w))]
    assert_rounded(*models, feeds)


def test_networks_stay_close_to_float32() -> None:
    nodes = [
        make_node("Conv", ["x", "k0"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        make_node("Relu", ["a"], ["b"]),
        make_node("Conv", ["b", "k1"], ["c"]), make_node("Relu", ["c"], ["d"]),
        make_node("Conv", ["d", "k2"], ["e"], pads=[1, 1, 1, 1]),
        make_node("Add", ["e", "b"], ["f"]), make_node("Reshape", ["f", "s"], ["g"]),
        make_node("Transpose", ["g"], ["h"], perm=[0, 2, 1]),
        make_node("LayerNormalization", ["h", "g1", "g0"], ["n"]),
        make_node("MatMul", ["n", "w0"], ["q"]), make_node("Gelu", ["q"], ["r"]),
        make_node("MatMul", ["r", "w1"], ["t"]), make_node("Add", ["t", "h"], ["y"]),
    ]  # fmt: skip
    weights = {
        "k0": normal(64, 16, 3, 3) / 12, "k1": normal(64, 64, 1, 1) / 8,
        "k2": normal(64, 64, 3, 3) / 24, "s": np.array([1, 64, -1]), "g1": normal(64),
        "g0": normal(64), "w0": normal(64, 128) / 8, "w1": normal(128, 64) / 11,
    }  # fmt: skip
    x = normal(1, 16, 20, 20)
    model = build(nodes, [{"x": x}], weights)
    exact, rounded = (
        sardonyx.Session(model, precision=p).run(None, {"x": x})[0] for p in ("fp32", "bf16")
    )
    error = np.abs(exact - rounded)
    assert 0 < np.sqrt((error**2).mean()) < 2**-8 * np.sqrt((exact**2).mean())
    assert error.max() < 2**-6 * np.abs(exact).max()


# --- where it does not pay ----------------------------------------------------------------------


@pytest.mark.skipif(EMULATED, reason="an emulated unit is taken for a fast one")
@pytest.mark.parametrize("speed", [0.0, 0.5])
def test_without_a_fast_unit_there_is_a_warning_and_float32(
    monkeypatch: pytest.MonkeyPatch, speed: float
) -> None:
    found = {"float32": 2.0} | ({"bfloat16": 2.0 * speed} if speed else {})
    monkeypatch.setattr(unit_rates, "rates", lambda: found)
    monkeypatch.setattr(folders, "_warned", set())
    x = normal(20, 64)
    model = build([make_node("MatMul", ["x", "w"], ["y"])], [{"x": x}], {"w": normal(64, 64)})
    with pytest.warns(RuntimeWarning, match="bf16.*fp32.*bfloat16"):
        session = sardonyx.Session(model, precision="bf16")
    np.testing.assert_array_equal(
        session.run(None, {"x": x})[0], sardonyx.Session(model).run(None, {"x": x})[0]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sardonyx.Session(model, precision="bf16")


def test_few_channels_and_columns_stay_float32() -> None:
    for shape, kernel in (((1, 1, 20, 20), (32, 1, 3, 3)), ((1, 8, 20, 20), (4, 8, 1, 1))):
        x = normal(*shape)
        model = build([make_node("Conv", ["x", "w"], ["y"])], [{"x": x}], {"w": normal(*kernel)})
        assert "bf16" not in kernels(sardonyx.Session(model, precision="bf16"))


def test_few_rows_read_weights_of_half_the_size() -> None:
    x, w = normal(2, 64), normal(64, 80)
    model = build([make_node("MatMul", ["x", "w"], ["y"])], [{"x": x}], {"w": w})
    assert "packed_product['bf16'" in kernels(sardonyx.Session(model, precision="bf16"))


@pytest.mark.parametrize("head", ["MatMul", "Gemm", "Conv"])
def test_a_note_asks_for_one_layer(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other layer stays float32, and so do both in a strict session, or without a fast unit."""
    x = normal(20, 64) if head != "Conv" else normal(1, 64, 12, 12)
    w = normal(64, 64) if head != "Conv" else normal(64, 64, 1, 1)
    bias = normal(64) if head != "Conv" else normal(64, 1, 1)

    def model(weights: np.ndarray, noted: bool) -> onnx.ModelProto:
        nodes = [make_node(head, ["x", "w"], ["a"], "one"), make_node("Add", ["a", "b"], ["c"])]
        nodes += [make_node("Relu", ["c"], ["y"]), make_node(head, ["y", "v"], ["z"], "two")]
        constants = {"w": weights, "b": bias, "v": w}
        made = build(nodes, [{"x": x}], constants, outputs=["y", "z"])
        if noted:
            made.graph.node[0].metadata_props.add(key="sardonyx.precision", value="bf16")
        return made

    noted = model(w, True)
    session = sardonyx.Session(noted)
    y, z = session.run(None, {"x": x})
    (rounded,) = session.engine.program.metadata["bfloats"]
    steps = [step for step in session.profile({"x": x}).steps if step.precision == "bf16"]
    assert {rounded in step.nodes for step in steps} == {True}
    assert not any("two" in step.nodes for step in steps)
    (right, _) = sardonyx.Session(model(half(w), False)).run(None, {"x": half(x)})
    np.testing.assert_allclose(y, right, rtol=1e-4, atol=1e-5 * np.abs(right).max())
    floats = y @ w if head != "Conv" else np.einsum("nchw,oc->nohw", y, w[:, :, 0, 0])
    np.testing.assert_allclose(z, floats, rtol=1e-4, atol=1e-5 * np.abs(floats).max())
    assert "'bf16'" not in kernels(sardonyx.Session(noted, precision="strict"))
    monkeypatch.setattr(unit_rates, "rates", lambda: {"float32": 2.0, "bfloat16": 1.0})
    assert "'bf16'" not in kernels(sardonyx.Session(noted, optimize="basic"))


def test_processors_without_bfloat16_convolve_floats(monkeypatch, lowered_anew):
    monkeypatch.setattr(unit_rates, "rates", lambda: {"float32": 1.0, "int16 in two steps": 1.0})
    node = make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    feeds, weights = {"x": normal(1, 16, 12, 12)}, {"w": normal(32, 16, 3, 3)}
    session = sardonyx.Session(build([node], [feeds], weights), threads=1)
    (found,) = session.run(None, feeds)
    reference = onnxruntime.InferenceSession(build([node], [feeds], weights).SerializeToString())
    (wanted,) = reference.run(None, feeds)
    np.testing.assert_allclose(found, wanted, atol=1e-3)
