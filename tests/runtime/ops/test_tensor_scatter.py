"""TensorScatter against onnxruntime, or onnx's reference."""

import numpy as np
import pytest
import sardonyx
from onnx.helper import make_node

from .conftest import build


def operands(shape, axis, rows, dtype="float32"):
    random = np.random.default_rng(0)
    own = list(shape)
    own[axis] = rows
    cache, update = (random.integers(0, 100, size).astype(dtype) for size in (shape, own))
    return {"c": cache, "u": update}


@pytest.mark.parametrize("mode", ["linear", "circular"])
@pytest.mark.parametrize(
    ("shape", "axis"), [((2, 3, 8, 5), -2), ((3, 9, 4), 1), ((2, 3, 7), -1), ((1, 2, 3, 40, 64), 3)]
)
def test_rows(check, shape, axis, mode):
    room = shape[axis]
    for rows in (0, 1, 3, room):
        for dtype in ("float32", "uint8", "float64"):
            feeds = operands(shape, axis, rows, dtype)
            node = make_node("TensorScatter", ["c", "u"], ["y"], axis=axis, mode=mode)
            check([node], feeds, opset=24)
        most = room - rows if mode == "linear" else 3 * room
        feeds["i"] = np.random.default_rng(rows).integers(0, most + 1, shape[0])
        node = make_node("TensorScatter", ["c", "u", "i"], ["y"], axis=axis, mode=mode)
        check([node], feeds, opset=24, threads=[1, 3])
        dims = {"c": ["b", *shape[1:]], "u": ["b", *feeds["u"].shape[1:]], "i": ["n"]}
        check([node], feeds, opset=24, dims=dims)


@pytest.mark.parametrize("index", [-1, 6])
def test_indices_out_of_range(index):
    feeds = operands((2, 3, 8, 5), -2, 3) | {"i": np.array([0, index])}
    model = build([make_node("TensorScatter", [*"cui"], ["y"])], [feeds], opset=24)
    session = sardonyx.Session(model, optimize="none")
    with pytest.raises(
        sardonyx.SardonyxError,
        match=rf"tensorscatter0.*index {index} out of range in 'i': expected 0 to 5$",
    ):
        session.run(None, feeds)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"u": (2, 3, 9, 5)}, "rows of 'u'"),
        ({"u": (2, 3, 1, 4)}, "axis 3"),
        ({"i": (1,)}, "number"),
    ],
)
def test_sizes_that_do_not_fit(refused, changes, reason):
    feeds = operands((2, 3, 8, 5), -2, 3) | {"i": np.zeros(2, np.int64)}
    feeds |= {name: np.zeros(shape, feeds[name].dtype) for name, shape in changes.items()}
    dims = {name: [f"{name}{i}" for i in range(x.ndim)] for name, x in feeds.items()}
    node = make_node("TensorScatter", [*"cui"], ["y"])
    assert reason in refused([node], feeds, opset=24, dims=dims)
