"""float32 by AMX, or its emulation: as exact as promised, also of numbers that are extreme."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx.helper import make_node
from sardonyx.kernels.amx_permission import has_amx
from sardonyx.kernels.cpu.term_rates import TermCosts
from sardonyx.runtime.ops import forms, matmul, term_products

from .conftest import build

pytestmark = pytest.mark.skipif(not has_amx(), reason="no AMX, and none emulated")

TOLERANCE = {2: 1.5e-5, 3: 5e-7}
"""Largest error by terms, relative to the largest sum of absolute products."""

COSTS = TermCosts(product=0.2, split=20.0, fetch=10.0, result=5.0)


@pytest.fixture(params=[2, 3])
def terms(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Take so many terms."""
    count: int = request.param
    monkeypatch.setattr(matmul, "terms_of", lambda emit, conv: count)
    monkeypatch.setattr(forms, "terms_of", lambda emit, conv: count)
    return count


@pytest.fixture(autouse=True)
def always_taken(monkeypatch: pytest.MonkeyPatch, lowered_anew: None) -> None:
    """Take terms wherever they may be taken."""
    monkeypatch.setattr(matmul, "pays", lambda conv, terms, rows=0: True)
    monkeypatch.setattr(forms, "pays_by_terms", lambda conv, terms, gain: True)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(list(shape)).standard_normal(shape, np.float32)


def kernels(session: sardonyx.Session) -> str:
    return " ".join(map(str, session.engine.program.kernels))


def terms_session(model: onnx.ModelProto, **options: object) -> sardonyx.Session:
    session = sardonyx.Session(model, **options)
    assert "term_convolve" in kernels(session)
    return session


def assert_exact(y: np.ndarray, wanted: np.ndarray, size: float, terms: int) -> None:
    """Compare with exact results, of sums of absolute products as large as ``size``."""
    assert np.abs(y - wanted).max() <= TOLERANCE[terms] * size


# --- products -----------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 31, 33, 200])
@pytest.mark.parametrize("columns", [1, 16, 17, 40, 70])
def test_products_of_any_number_of_rows(terms: int, depth: int, columns: int) -> None:
    w = normal(depth, columns)
    feeds = [{"x": normal(rows, depth)} for rows in (40, 5, 131, 1, 64, 33)]
    node = make_node("MatMul", ["x", "w"], ["y"])
    session = terms_session(build([node], feeds, {"w": w}, dims={"x": ("n", depth)}), threads=2)
    for feed in feeds:
        x = feed["x"].astype(np.float64)
        assert_exact(session.run(None, feed)[0], x @ w, (abs(x) @ abs(w)).max(), terms)


def test_batches_of_matrices(terms: int) -> None:
    x, w = normal(3, 21, 40), normal(3, 40, 49)
    model = build([make_node("MatMul", ["x", "w"], ["y"])], [{"x": x}], {"w": w})
    size = (abs(x).astype(np.float64) @ abs(w)).max()
    y = terms_session(model).run(None, {"x": x})[0]
    assert_exact(y, x.astype(np.float64) @ w, size, terms)


@pytest.mark.parametrize("turned", [0, 1])
def test_gemm_with_what_follows(terms: int, turned: int) -> None:
    w, c, x = normal(90, 64), normal(64 if not turned else 90), normal(17, 64 if turned else 90)
    nodes = [
        make_node("Gemm", ["x", "w", "c"], ["g"], transB=turned),
        make_node("Gelu", ["g"], ["h"]), make_node("Add", ["h", "g"], ["y"]),
    ]  # fmt: skip
    model = build(nodes, [{"x": x}], {"w": w, "c": c})
    wanted = sardonyx.Session(model, precision="strict").run(None, {"x": x})[0]
    y = terms_session(model, threads=2).run(None, {"x": x})[0]
    np.testing.assert_allclose(y, wanted, atol=2 * TOLERANCE[terms] * np.abs(wanted).max())


# --- deep sums ------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_known", [True, False], ids=["constant", "computed"])
def test_deep_sums_are_done_in_parts(
    terms: int, is_known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bias, residual and activation come with the parts they belong to."""
    monkeypatch.setattr(term_products, "ROWS_BYTES", 1 << 13)
    w, c, x, r = normal(330, 50), normal(50), normal(40, 330), normal(40, 50)
    nodes = [
        make_node("Gemm", ["x", "w", "c"], ["g"]), make_node("Add", ["g", "r"], ["s"]),
        make_node("Relu", ["s"], ["y"]),
    ]  # fmt: skip
    feed = {"x": x, "r": r} | ({} if is_known else {"w": w})
    model = build(nodes, [feed], {"c": c} | ({"w": w} if is_known else {}))
    wanted = np.maximum(x.astype(np.float64) @ w + c + r, 0)
    size = (abs(x).astype(np.float64) @ abs(w)).max()
    for threads in (1, 2):
        session = terms_session(model, threads=threads)
        steps = session.profile(feed, runs=1).steps
        assert sum("term_convolve" in step.kernel for step in steps) > 2
        assert_exact(session.run(None, feed)[0], wanted, size, terms)


# --- products of two computed operands ------------------------------------------------------------


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize(("depth", "columns"), [(1, 1), (31, 16), (33, 17), (64, 64), (200, 70)])
def test_computed_matrices(terms: int, depth: int, columns: int, turned: int) -> None:
    """The right operand is read by rows, or by columns."""
    shape = (3, columns, depth) if turned else (3, depth, columns)
    feed = {"x": normal(3, 40, depth), "w": normal(*shape)}
    nodes = [make_node("Transpose", ["w"], ["t"], perm=[0, 2, 1])] if turned else []
    nodes.append(make_node("MatMul", ["x", "t" if turned else "w"], ["y"]))
    w = feed["w"].swapaxes(1, 2) if turned else feed["w"]
    x, w = feed["x"].astype(np.float64), w.astype(np.float64)
    for threads in (1, 2):
        y = terms_session(build(nodes, [feed]), threads=threads).run(None, feed)[0]
        assert_exact(y, x @ w, (abs(x) @ abs(w)).max(), terms)


def test_computed_matrices_of_any_size(terms: int) -> None:
    sizes = ((1, 40, 33, 50), (2, 5, 64, 17), (3, 70, 20, 64))
    feeds = [{"x": normal(b, m, k), "w": normal(k, n), "v": normal(b, n, m)}
             for b, m, k, n in sizes]  # fmt: skip
    nodes = [make_node("MatMul", ["x", "w"], ["h"]), make_node("MatMul", ["h", "v"], ["y"])]
    dims = {"x": ("b", "m", "k"), "w": ("k", "n"), "v": ("b", "n", "m")}
    session = terms_session(build(nodes, feeds, dims=dims), threads=2)
    for feed in feeds:
        x, w, v = (feed[name].astype(np.float64) for name in "xwv")
        size = (abs(x) @ abs(w) @ abs(v)).max()
        assert_exact(session.run(None, feed)[0], x @ w @ v, 2 * size, terms)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3.4e38])
def test_computed_matrices_may_hold_anything(terms: int, value: float) -> None:
    feed = {"x": normal(40, 33), "w": normal(33, 24)}
    feed["x"][:, 5], feed["w"][5, 7] = 0.25, value
    y = terms_session(build([make_node("MatMul", ["x", "w"], ["y"])], [feed])).run(None, feed)[0]
    wanted = feed["x"] @ feed["w"]
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(wanted))
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4)


# --- convolutions -------------------------------------------------------------------------------

CONVOLUTIONS: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, object]]] = {
    "pixels": ((2, 32, 9, 7), (50, 32, 1, 1), {}),
    "few channels": ((2, 3, 9, 17), (5, 3, 3, 3), {"pads": [1, 1, 1, 1]}),
    "every other pixel": ((2, 33, 9, 17), (20, 33, 1, 1), {"strides": [2, 3]}),
    "a border": ((1, 33, 9, 17), (20, 33, 1, 1), {"strides": [2, 3], "pads": [0, 0, 2, 3]}),
    "padded": ((1, 16, 9, 11), (24, 16, 5, 3), {"pads": [2, 1, 2, 1]}),
    "strided": ((1, 70, 9, 31), (24, 70, 3, 3), {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "dilated": ((1, 9, 12, 21), (24, 9, 3, 3), {"dilations": [2, 3], "pads": [2, 3, 2, 3]}),
    "groups": ((2, 27, 9, 8), (48, 9, 3, 3), {"group": 3, "pads": [1, 1, 1, 1]}),
    "a line": ((2, 24, 40), (32, 24, 5), {"pads": [2, 2]}),
    "many rows": ((1, 64, 70, 67), (33, 64, 3, 3), {"pads": [1, 1, 1, 1]}),
    "a long row": ((1, 300, 40, 43), (33, 300, 1, 1), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CONVOLUTIONS)
def test_convolutions(terms: int, case: str) -> None:
    shape, kernel, attributes = CONVOLUTIONS[case]
    nodes = [
        make_node("Conv", ["x", "w", "b"], ["h"], **attributes), make_node("Relu", ["h"], ["y"]),
    ]  # fmt: skip
    x, w, b = normal(*shape), normal(*kernel), normal(kernel[0])
    model = build(nodes, [{"x": x}], {"w": w, "b": b})
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    data = model.SerializeToString()
    wanted = onnxruntime.InferenceSession(data, options).run(None, {"x": x})[0]
    size = np.abs(w[0]).sum() * 3
    for threads in (1, 2):
        y = terms_session(model, threads=threads).run(None, {"x": x})[0]
        assert_exact(y, wanted, size, terms)


def test_a_residual_and_a_concatenation() -> None:
    nodes = [
        make_node("Conv", ["x", "v"], ["h"]), make_node("Add", ["h", "x"], ["s"]),
        make_node("Relu", ["s"], ["r"]), make_node("Conv", ["r", "w"], ["t"]),
        make_node("HardSwish", ["t"], ["u"]), make_node("Concat", ["r", "u"], ["c"], axis=1),
        make_node("Conv", ["c", "q"], ["y"]),
    ]  # fmt: skip
    weights = {"v": normal(48, 48, 1, 1) / 7, "w": normal(20, 48, 1, 1) / 7,
               "q": normal(32, 68, 1, 1) / 8}  # fmt: skip
    x = normal(2, 48, 8, 9)
    model = build(nodes, [{"x": x}], weights)
    wanted = sardonyx.Session(model, precision="strict").run(None, {"x": x})[0]
    y = terms_session(model, threads=2).run(None, {"x": x})[0]
    np.testing.assert_allclose(y, wanted, atol=3e-5 * np.abs(wanted).max())


# --- numbers that are extreme ---------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3.4e38, -3.4028235e38, 3.3961776e38])
@pytest.mark.parametrize("operator", ["MatMul", "Conv"])
def test_what_is_not_finite_or_very_large_gives_what_float32_gives(
    terms: int, value: float, operator: str
) -> None:
    x, w = normal(1, 40, 33), normal(33, 24)
    x[0, 3, 5], x[0, 17, 0], w[0], w[5, :3] = value, value, 0.25, (0.0, 2.0**-4, -(2.0**-4))
    if operator == "MatMul":
        node, feed, weights = make_node("MatMul", ["x", "w"], ["y"]), {"x": x}, {"w": w}
    else:
        node = make_node("Conv", ["x", "w"], ["y"])
        feed = {"x": np.ascontiguousarray(x.swapaxes(1, 2))}
        weights = {"w": np.ascontiguousarray(w.T)[..., None]}
    model = build([node], [feed], weights)
    wanted = sardonyx.Session(model, precision="strict").run(None, feed)[0]
    y = terms_session(model).run(None, feed)[0]
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(y) * np.sign(y), np.isinf(wanted) * np.sign(wanted))
    finite = np.isfinite(wanted)
    np.testing.assert_allclose(y[finite], wanted[finite], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("value", [np.inf, np.nan, 3.4e38])
def test_weights_beyond_bfloat16_stay_float32(value: float) -> None:
    w = normal(40, 24)
    w[3, 3] = value
    feed = {"x": normal(40, 40)}
    model = build([make_node("MatMul", ["x", "w"], ["y"])], [feed], {"w": w})
    session = sardonyx.Session(model)
    assert "term_convolve" not in kernels(session)


# --- where they are taken -------------------------------------------------------------------------


TAKEN = {"strict": (None, None), "fp32": (3, 2), "bf16x3": (2, 2), "bf16": (1, 1)}
"""Terms of a product of matrices, and of a convolution that has Winograd's form."""


@pytest.mark.parametrize("precision", TAKEN)
def test_a_precision_says_how_many_terms_are_taken(precision: str) -> None:
    x, image = normal(40, 64), normal(1, 64, 40, 40)
    models = (
        build([make_node("MatMul", ["x", "w"], ["y"])], [{"x": x}], {"w": normal(64, 64)}),
        build([make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])], [{"x": image}],
              {"w": normal(64, 64, 3, 3)}),
    )  # fmt: skip
    for model, terms in zip(models, TAKEN[precision], strict=True):
        program = sardonyx.Session(model, precision=precision).engine.program
        found = [ref.parameters[0] for ref in program.kernels if ref.function == "term_convolve"]
        assert found == ([] if terms is None else [terms])


def test_products_behind_others_take_two_terms() -> None:
    """First layers are as exact as float32, and so is what multiplies two computed operands."""
    nodes = [
        make_node("MatMul", ["x", "v"], ["g"]), make_node("Tanh", ["g"], ["h"]),
        make_node("MatMul", ["h", "w"], ["y"]), make_node("MatMul", ["y", "h"], ["z"]),
    ]  # fmt: skip
    feed, weights = {"x": normal(64, 64)}, {"v": normal(64, 64), "w": normal(64, 64) / 8}
    session = sardonyx.Session(build(nodes, [feed], weights))
    taken = {
        step.outputs[0]: step.kernel
        for step in session.profile(feed, runs=1).steps
        if "term_convolve" in step.kernel
    }
    assert len(taken) == 3
    assert [name for name, kernel in taken.items() if "[2, " in kernel] == ["y"]


def test_the_cost_model_weighs_sizes() -> None:
    for rows, wanted in ((2, False), (400, True)):
        node, feeds = make_node("MatMul", ["x", "w"], ["y"]), [{"x": normal(rows, 256)}]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(matmul, "pays", term_products.pays)
            patch.setattr(term_products, "term_costs", lambda terms: COSTS)
            session = sardonyx.Session(build([node], feeds, {"w": normal(256, 256)}))
        assert ("term_convolve" in kernels(session)) == wanted


def test_costs_say_from_how_many_rows_terms_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    """One model for all sizes has both forms, and each run the cheaper one."""
    monkeypatch.setattr(matmul, "pays", term_products.pays)
    monkeypatch.setattr(term_products, "term_costs", lambda terms: COSTS)
    node, feeds = make_node("MatMul", ["x", "w"], ["y"]), [{"x": normal(400, 256)}]
    model = build([node], feeds, {"w": normal(256, 256)}, dims={"x": ("n", 256)})
    session = sardonyx.Session(model)
    for rows, wanted in ((5, False), (400, True)):
        steps = session.profile({"x": normal(rows, 256)}, 1, 0).steps
        ran = [step.kernel for step in steps if step.times_ns.any()]
        assert any("term_convolve" in name for name in ran) == wanted


def test_whole_numbers_stay_exact() -> None:
    rng = np.random.default_rng(7)
    x = rng.integers(-(2**23), 2**23, (50, 40)).astype(np.float32)
    w = np.zeros((40, 24), np.float32)
    w[rng.integers(0, 40, 24), np.arange(24)] = 1
    model = build([make_node("MatMul", ["x", "w"], ["y"])], [{"x": x}], {"w": w})
    np.testing.assert_array_equal(terms_session(model).run(None, {"x": x})[0], x @ w)


def test_products_whose_results_are_added_to_themselves_many_times() -> None:
    x, w = normal(64, 64), normal(64, 64)
    nodes = [make_node("MatMul", ["x", "w"], ["y0"])]
    nodes += [make_node("Add", [f"y{i}", f"y{i}"], [f"y{i + 1}"]) for i in range(60)]
    model = build([*nodes, make_node("Identity", ["y60"], ["y"])], [{"x": x}], {"w": w})
    y = sardonyx.Session(model, optimize="none").run(None, {"x": x})[0]
    wanted = x.astype(np.float64) @ w * 2.0**60
    assert_exact(y, wanted, (abs(x) @ abs(w)).max() * 2.0**60, 2)


@pytest.mark.parametrize("head", ["MatMul", "Conv"])
def test_a_note_takes_one_term(head: str) -> None:
    """It allows bfloat16, so that two or three terms, which cost as many products, gain nothing."""
    x = normal(20, 64) if head == "MatMul" else normal(1, 64, 12, 12)
    w = normal(64, 64) if head == "MatMul" else normal(64, 64, 1, 1)
    model = build([make_node(head, ["x", "w"], ["y"], "one")], [{"x": x}], {"w": w})
    assert "term_convolve[3," in kernels(terms_session(model))
    model.graph.node[0].metadata_props.add(key="sardonyx.precision", value="bf16")
    session = terms_session(model)
    assert "term_convolve[1," in kernels(session)
    assert session.engine.program.metadata["bfloats"] == ["one"]
    (y,) = session.run(None, {"x": x})
    x, w = (array.astype(ml_dtypes.bfloat16).astype(np.float64) for array in (x, w))
    wanted = x @ w if head == "MatMul" else np.einsum("nchw,oc->nohw", x, w[:, :, 0, 0])
    assert_exact(y, wanted, 64 * np.abs(x).max() * np.abs(w).max(), 3)
