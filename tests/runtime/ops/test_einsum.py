"""Einsum of any equation, in all element types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sardonyx
from onnx.helper import make_node

from .conftest import assert_same, build

EQUATIONS = [
    "ij,jk->ik", "ij->ji", "ii->i", "ii", "ij->", "bij,bjc->bic", "...ij,...jc->...ic", "i,j->ij",
    "ij,ij", " b i j , j a -> b a i ", "a,b,c->abc", "...i->...", "ij", "bhid,bhjd->bhij",
    "ij,jk,kl->il", "ij,ij->", "i...,i...->...", "...ii->...i", "iij,jk->ik", "a...b,b...c->a...c",
    "ab,cd->adbc", "ab,b->a", "ijk->", "bnlc,lc->bn", "...,...->...", "iji->j",
]  # fmt: skip
SIZES = dict(zip("abcdhijklnm", [3, 2, 4, 5, 2, 3, 4, 5, 3, 2, 3], strict=True))
TYPES = ["float64", "int32", "int64", "uint64", "uint8", "int16"]
SOME = ["ij,jk->ik", "ii->i", "ij->", "...ij,...jc->...ic", "i,j->ij", "ij,jk,kl->il"]
CASES = [(text, "float32") for text in EQUATIONS] + [(text, t) for text in SOME for t in TYPES]


def operand(term: str, hidden: tuple[int, ...], dtype: str, seed: int) -> np.ndarray:
    before, dots, after = term.partition("...")
    shape = [*(SIZES[x] for x in before), *(hidden if dots else ()), *(SIZES[x] for x in after)]
    x = np.random.default_rng(seed).standard_normal(shape) * 40
    return np.asarray(abs(x) if dtype[0] == "u" else x).astype(dtype)


def feeds_of(equation: str, dtype: str, hidden: list[tuple[int, ...]]) -> dict[str, np.ndarray]:
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    return {
        f"x{i}": operand(term, hidden[min(i, len(hidden) - 1)], dtype, i)
        for i, term in enumerate(terms)
    }


@pytest.mark.parametrize(("equation", "dtype"), CASES)
def test_equations(equation: str, dtype: str) -> None:
    for hidden in ([()], [(2, 3)], [(2, 3), (1, 3)]) if "..." in equation else ([()],):
        feeds = feeds_of(equation, dtype, hidden)
        node = make_node("Einsum", list(feeds), ["y"], equation=equation)
        wanted = np.asarray(np.einsum(equation.replace(" ", ""), *feeds.values()), dtype)
        for dims in (None, {n: [f"{n}{i}" for i in range(x.ndim)] for n, x in feeds.items()}):
            model = build([node], [feeds], dims=None if hidden[1:] else dims)
            session = sardonyx.Session(model, threads=2, optimize="none")
            assert not session.engine.program.host_steps
            tolerance = 1e-4 if dtype == "float32" else 1e-10
            assert_same(session.run(None, feeds)[0], wanted, tolerance, equation)


@pytest.mark.parametrize("equation", ["ij,jk->il", "ij->ii", "i,jk->ij", "ij,jk,kl->il"])
def test_what_is_no_equation_is_refused(refused: Any, equation: str) -> None:
    feeds = {"a": np.ones((3, 4), np.float32), "b": np.ones((4, 5), np.float32)}
    refused([make_node("Einsum", ["a", "b"], ["y"], name="sums", equation=equation)], feeds)


def test_sizes_that_differ_are_refused(refused: Any) -> None:
    node = make_node("Einsum", ["a", "b"], ["y"], name="sums", equation="ij,jk->ik")
    feeds = {"a": np.ones((3, 4), np.float32), "b": np.ones((5, 6), np.float32)}
    for dims in (None, {"a": ["I", "J"], "b": ["K", "L"]}):
        refused([node], feeds, dims=dims)
