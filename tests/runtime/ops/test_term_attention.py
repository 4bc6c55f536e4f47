"""Attention by AMX, or its emulation: all forms of it, as exact as promised."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sardonyx
from onnx.helper import make_node
from sardonyx.kernels.amx_permission import has_amx
from sardonyx.kernels.cpu.attention_forms import NEVER
from sardonyx.kernels.target import target
from sardonyx.runtime.ops import term_attention

from .conftest import build
from .test_attention import attention, flat, normal, open_dims, operands, reference

pytestmark = pytest.mark.skipif(not has_amx(), reason="no AMX, and none emulated")

SIZES = [  # batch, heads, queries, keys, elements of a head of keys, of values
    (2, 3, 5, 7, 4, 6),
    (1, 12, 33, 40, 32, 32),
    (3, 1, 9, 19, 16, 8),
    (1, 2, 1, 3, 1, 1),
    (2, 2, 70, 130, 17, 33),
    (1, 2, 64, 256, 64, 64),
    (1, 1, 40, 300, 80, 48),
]
TOLERANCE = {"fp32": 1e-5, "bf16x3": 3e-5, "bf16": 2e-2}
"""Largest error, relative to the largest value, of standard normal operands."""


@pytest.fixture(autouse=True)
def always_taken(monkeypatch: pytest.MonkeyPatch, lowered_anew: None) -> None:
    """Take AMX for any number of queries."""
    monkeypatch.setattr(term_attention, "least_queries", lambda *sizes: 1)


@pytest.fixture(params=["fp32", "bf16"])
def check_terms(
    check: Callable[..., sardonyx.Session], request: pytest.FixtureRequest
) -> Callable[..., sardonyx.Session]:
    of_precision = {
        "precision": request.param,
        "tolerance": 1e-4 if request.param == "fp32" else 0.05,
    }

    def check_terms(*args: Any, **options: Any) -> sardonyx.Session:
        session = check(*args, **{"opset": 24, **of_precision, **options})
        assert has_terms(session)
        return session

    return check_terms


def has_terms(session: sardonyx.Session) -> bool:
    names = ("term_attention", "half_attention")
    return any(name in str(step) for step in session.engine.program.kernels for name in names)


def exact(feeds: dict[str, np.ndarray], scale: float) -> np.ndarray:
    """Attention in float64."""
    q, k, v = (feeds[name].astype(np.float64) for name in "qkv")
    scores = q @ k.swapaxes(-1, -2) * scale
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True) @ v  # type: ignore[no-any-return]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("length", [-1, 8])
def test_lengths_out_of_range_are_refused(precision: str, length: int) -> None:
    feeds = operands(1, 2, 3, 7, 5, 6) | {"n": np.array([length])}
    node = make_node("Attention", [*"qkv", "", "", "", "n"], ["y"])
    session = sardonyx.Session(build([node], [feeds], opset=24), precision=precision)
    assert has_terms(session)
    text = f"index {length} out of range in 'n': expected 0 to 7$"
    with pytest.raises(sardonyx.KernelError, match=text):
        session.run(None, feeds)


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize(
    ("queries", "keys", "size"), [(128, 128, 64), (197, 197, 64), (40, 900, 32)]
)
def test_errors_beside_float64(precision: str, queries: int, keys: int, size: int) -> None:
    feeds = operands(1, 3, queries, keys, size, size)
    session = sardonyx.Session(build([attention()], [feeds], opset=24), precision=precision)
    assert has_terms(session)
    wanted = exact(feeds, size**-0.5)
    error = np.abs(session.run(None, feeds)[0] - wanted).max() / np.abs(wanted).max()
    assert error < TOLERANCE[precision]


def test_strict_takes_vectors() -> None:
    feeds = operands(1, 3, 64, 64, 32, 32)
    model = build([attention()], [feeds], opset=24)
    assert not has_terms(sardonyx.Session(model, precision="strict"))


def test_vectors_where_the_machine_is_slower_by_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    feeds = operands(1, 3, 64, 64, 32, 32)
    monkeypatch.setattr(term_attention, "least_queries", lambda *sizes: NEVER)
    assert not has_terms(sardonyx.Session(build([attention()], [feeds], opset=24)))


@pytest.mark.parametrize("attributes", [{}, {"scale": 0.3}, {"softcap": 0.7}, {"is_causal": 1}])
def test_attributes(check_terms, attributes) -> None:
    for sizes in SIZES:
        feeds = operands(*sizes)
        check_terms([attention(**attributes)], feeds, threads=[1, 3])
        check_terms([attention(**attributes)], feeds, dims=open_dims(feeds))


@pytest.mark.parametrize("axes", ["bhst", "b1st", "1t"])
def test_masks(check_terms, axes: str) -> None:
    for sizes in SIZES:
        of = dict(zip("bhst", sizes, strict=False)) | {"1": 1}
        mask = normal(*(of[axis] for axis in axes), seed=1)
        if len(axes) > 2:
            mask[normal(*mask.shape, seed=2) > 1] = -np.inf
        else:
            mask = np.ascontiguousarray(np.broadcast_to(mask, (of["s"], of["t"])))
        check_terms([attention("m")], operands(*sizes) | {"m": mask})


@pytest.mark.parametrize("shared", [1, 2])
def test_heads_that_share_keys_side_by_side(check_terms, shared: int) -> None:
    feeds = flat(operands(2, 4, 37, 50, 24, 40, shared=shared))
    node = attention(q_num_heads=4, kv_num_heads=shared, is_causal=1)
    check_terms([node], feeds, threads=[1, 4])


@pytest.mark.parametrize(("left", "right"), [(3, 5), (40, 0), (0, 70)])
def test_windows(check_terms, left: int, right: int) -> None:
    """Blocks of keys begin with a whole tile, also where a query sees none before."""
    feeds = operands(2, 2, 90, 150, 16, 24)
    node = attention(left_window_size=left, right_window_size=right)
    check_terms([node], feeds, wanted=reference(node, feeds, 25), opset=25)


def test_values_behind_a_length_do_not_count(check_terms) -> None:
    """Caches have room for more keys, which may hold anything."""
    feeds = operands(2, 2, 8, 70, 16, 24) | {"n": np.array([70, 41])}
    node = make_node("Attention", [*"qkv", "", "", "", "n"], ["y"])
    wanted = reference(node, feeds)
    feeds["k"][1, :, 41:], feeds["v"][1, :, 41:] = np.nan, np.nan
    check_terms([node], feeds, wanted=wanted)


@pytest.mark.parametrize("mode", range(4))
def test_scores(check_terms, mode: int) -> None:
    feeds = operands(2, 2, 35, 140, 16, 24)
    node = make_node(
        "Attention", [*"qkv"], ["y", "", "", "s"], qk_matmul_output_mode=mode, softcap=3.0
    )
    check_terms([node], feeds, wanted=reference(node, feeds), outputs=["y", "s"])


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, 1e30])
def test_special_values(check_terms, special: float) -> None:
    for name in "qkv":
        feeds = operands(1, 2, 8, 40, 35, 6)
        feeds[name][0, 1, 2, 3] = special
        check_terms([attention()], feeds)


def test_many_keys_are_left_to_vectors_when_the_model_runs(monkeypatch, check_terms) -> None:
    """Terms that the second-level cache does not hold are not computed."""
    small = dataclasses.replace(target(), l2=1 << 16)
    monkeypatch.setattr(term_attention, "target", lambda: small)
    feeds = [operands(1, 2, 40, keys, 32, 32) for keys in (30, 64, 500)]
    check_terms([attention()], feeds, dims=open_dims(feeds[0]))
