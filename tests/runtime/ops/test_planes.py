"""Pooling by planes or by pixels: the cost model decides, and both are right."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import sardonyx
from onnx.helper import make_node
from sardonyx.kernels.machine_costs import costs_given, machine_costs

from .conftest import build


@pytest.mark.parametrize(("turned", "row", "is_plane"), [(100.0, 0.0, True), (0.0, 1e5, False)])
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_costs_of_rows_and_of_transpositions_decide(
    kind: str, turned: float, row: float, is_plane: bool
) -> None:
    x = np.random.default_rng(0).standard_normal((2, 24, 31, 33), np.float32)
    node = make_node(kind, ["x"], ["y"], kernel_shape=[7, 7], strides=[2, 2])
    model = build([node], [{"x": x}], {})
    costs = machine_costs()
    with costs_given(costs._replace(vectors=costs.vectors._replace(turned=turned, pooled_row=row))):
        session = sardonyx.Session(model)
    names = " ".join(str(kernel) for kernel in session.engine.program.kernels)
    assert ("pool_planes" in names) is is_plane
    (wanted,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    np.testing.assert_allclose(session(x), wanted, rtol=1e-5, atol=1e-6)
