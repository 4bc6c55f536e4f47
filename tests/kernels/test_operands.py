"""Forms of a tile's operand: both give the same bits, and one is chosen by measurement."""

import numpy as np
import pytest
from sardonyx.kernels.arithmetic import HAS_QUADS
from sardonyx.kernels.cost_tables import FAMILIES
from sardonyx.kernels.cpu import operands, packing
from sardonyx.kernels.cpu.sum_stores import FIRST, LAST
from sardonyx.kernels.cpu.tile import OPERANDS, tile
from sardonyx.kernels.target import LANES

DTYPES = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64}


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize(("mr", "nv"), [(1, 4), (3, 2), (7, 4), (14, 1), (14, 2)])
def test_both_forms_give_the_same_bits(rng, kind, mr, nv):
    dtype = DTYPES[kind]
    width, length = nv * LANES * 4 // np.dtype(dtype).itemsize, 37
    a = (100 * rng.standard_normal((2 * mr, length))).astype(dtype)
    b = (100 * rng.standard_normal((length, width))).astype(dtype)
    results = []
    for form in OPERANDS:
        c = np.full((2 * mr, width), 7, dtype)
        kernel = tile(mr, nv, kind, form)
        sizes = {"lda": length, "ldc": width, "length": length, "n": width}
        ones = dict.fromkeys(("s0", "s1", "rows"), 1)
        values = dict.fromkeys(kernel.fields, 0) | sizes | ones
        values |= {"a": a, "b": b, "c": c, "ahead": b, "tiles": 2, "flags": FIRST | LAST}
        assert kernel(**values) == 0
        results.append(c)
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[0], a @ b, rtol=1e-3, atol=0.1)


def test_the_form_is_measured_once(monkeypatch, tmp_path):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(operands, "family_of", lambda _: FAMILIES[-1])
    operands.operand_form.cache_clear()
    form = operands.operand_form()
    assert form in OPERANDS
    operands.operand_form.cache_clear()
    monkeypatch.setattr(operands, "_fastest", lambda: pytest.fail("measured again"))
    assert operands.operand_form() == form
    operands.operand_form.cache_clear()


@pytest.mark.parametrize("form", OPERANDS)
def test_tiles_fit_the_registers(monkeypatch, form):
    """Accumulators, the vectors of weights and, in one form, a number that was spread."""
    monkeypatch.setattr(operands, "operand_form", lambda _: form)
    for nv in range(1, 5):
        taken = operands.max_rows(nv) * nv + nv + (form == "register")
        assert taken <= operands.REGISTERS


def test_bytes_need_a_register_for_the_number_that_is_spread(monkeypatch):
    """No instruction takes it from memory; a tile with a row more spilled a vector at each step."""
    monkeypatch.setattr(operands, "family_of", lambda _: FAMILIES[-1])
    monkeypatch.setattr(operands, "remembered", lambda *_: "memory")
    operands.operand_form.cache_clear()
    try:
        assert operands.operand_form("u8") == "register"
        for rows, nv in packing.rank_tiles(56, 256, 256, kind="u8"):
            assert rows * nv + nv + 1 <= operands.REGISTERS
    finally:
        operands.operand_form.cache_clear()


@pytest.mark.skipif(LANES != 8 or HAS_QUADS, reason="products of pairs are added as they are made")
def test_tiles_of_pairs_leave_a_register_for_products():
    for rows, nv in packing.rank_tiles(96, 88, 8, kind="i16"):
        assert nv == 1 or rows * nv + nv + 2 <= operands.REGISTERS


@pytest.mark.parametrize("mr", range(1, 15))
def test_rows_of_a_long_row_take_no_more_short_tiles_than_it_has(mr: int) -> None:
    for total in [*range(1, 200), 784, 12_544]:
        width = packing.flat_width(total, mr)
        count = -(-total // width)
        last = total - (count - 1) * width
        tiles = (count - 1) * -(-width // mr) + -(-last // mr)
        assert 1 <= last <= width
        assert tiles == -(-total // mr) or mr > packing.SHORT


def test_rows_of_a_long_row_are_nearly_even() -> None:
    assert [packing.flat_width(49, mr) for mr in (2, 4, 7, 14)] == [10, 28, 25, 49]
