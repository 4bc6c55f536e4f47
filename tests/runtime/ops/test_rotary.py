"""RotaryEmbedding against onnxruntime, or onnx's reference."""

import numpy as np
import pytest
import sardonyx
from onnx.helper import make_node

from .conftest import build

SIZES = [(1, 1, 1, 2), (2, 3, 5, 8), (1, 4, 33, 64), (2, 2, 7, 70), (3, 1, 2, 32)]


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def operands(batch, heads, rows, size, flattened, turned, positions):
    half = (turned or size) // 2
    x = normal(batch, rows, heads * size) if flattened else normal(batch, heads, rows, size)
    if not positions:
        return {"x": x, "c": normal(batch, rows, half), "s": normal(batch, rows, half, seed=1)}
    ids = np.random.default_rng(0).integers(0, 40, (batch, rows))
    return {"x": x, "c": normal(40, half), "s": normal(40, half, seed=1), "i": ids}


@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("flattened", [False, True])
@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("partial", [False, True])
def test_all_forms(check, partial, interleaved, flattened, positions):
    for batch, heads, rows, size in SIZES:
        turned = size // 4 * 2 if partial else 0
        feeds = operands(batch, heads, rows, size, flattened, turned, positions)
        node = make_node(
            "RotaryEmbedding", list(feeds), ["y"], interleaved=interleaved, num_heads=heads,
            rotary_embedding_dim=turned,
        )  # fmt: skip
        check([node], feeds, opset=23, threads=[1, 3])
        dims = {"x": ["b", *[f"x{i}" for i in range(1, feeds["x"].ndim - 1)], feeds["x"].shape[-1]]}
        check([node], feeds, opset=23, dims=dims)


def test_an_input_that_was_transposed(check):
    feeds = operands(2, 3, 5, 8, False, 0, True)
    feeds["x"] = np.ascontiguousarray(feeds["x"].swapaxes(1, 2))
    turn = make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1, 3])
    check([turn, make_node("RotaryEmbedding", [*"tcsi"], ["y"])], feeds, opset=23)


@pytest.mark.parametrize("position", [-1, 40])
def test_positions_out_of_range(position):
    feeds = operands(2, 3, 5, 8, False, 0, True)
    feeds["i"][1, 2] = position
    model = build([make_node("RotaryEmbedding", [*"xcsi"], ["y"])], [feeds], opset=23)
    session = sardonyx.Session(model, optimize="none")
    with pytest.raises(
        sardonyx.SardonyxError,
        match=rf"rotaryembedding0.*index {position} out of range in 'i': expected 0 to ",
    ):
        session.run(None, feeds)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"c": (40, 5)}, "angles of 'c'"), ({"s": (39, 4)}, "rows of"), ({"i": (1, 5)}, "sizes of")],
)
def test_sizes_that_do_not_fit(refused, changes, reason):
    feeds = operands(2, 3, 5, 8, False, 0, True)
    feeds |= {name: np.zeros(shape, feeds[name].dtype) for name, shape in changes.items()}
    node = make_node("RotaryEmbedding", [*"xcsi"], ["y"])
    dims = {name: [f"{name}{i}" for i in range(x.ndim)] for name, x in feeds.items()}
    dims["x"] = [2, 3, 5, 8]
    assert reason in refused([node], feeds, opset=23, dims=dims)
