"""Nodes of com.microsoft, alone in a model, computed by us and by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import sardonyx
from onnx import helper as oh

DOMAIN = "com.microsoft"
Arrays = Mapping[str, np.ndarray]


def model(
    name: str, feeds: Arrays, weights: Arrays, inputs: Sequence[str],
    outputs: Sequence[str] = ("y",), **attributes: Any,
) -> onnx.ModelProto:  # fmt: skip
    """Return a model of one node; of its outputs nothing is declared."""
    graph = oh.make_graph(
        [oh.make_node(name, inputs, outputs, domain=DOMAIN, name="node", **attributes)],
        "contrib",
        [oh.make_tensor_value_info(n, oh.np_dtype_to_tensor_dtype(a.dtype), a.shape)
         for n, a in feeds.items()],
        [onnx.ValueInfoProto(name=n) for n in outputs if n],
        [onnx.numpy_helper.from_array(a, n) for n, a in weights.items()],
    )  # fmt: skip
    opsets = [oh.make_opsetid("", 17), oh.make_opsetid(DOMAIN, 1)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=8)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def computed(proto: onnx.ModelProto, feeds: Arrays) -> list[np.ndarray]:
    """Return our results, which no host step computes."""
    session = sardonyx.Session(proto, threads=1)
    assert not session.engine.program.host_steps
    results: list[np.ndarray] = session.run(None, dict(feeds))
    return results


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    """Compare results; of integers half way between two, either is right."""
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    if found.dtype.kind in "iu":
        assert np.abs(found.astype(int) - wanted.astype(int)).max(initial=0) <= 1
    else:
        scale = np.abs(wanted).max(initial=0)
        np.testing.assert_allclose(found, wanted, tolerance, tolerance * scale)


def agree(
    name: str, feeds: Arrays, weights: Arrays | None = None, inputs: Sequence[str] | None = None,
    tolerance: float = 1e-5, outputs: Sequence[str] = ("y",), **attributes: Any,
) -> None:  # fmt: skip
    """Compare all results with onnxruntime's; the model that is loaded is of the standard."""
    weights = weights or {}
    proto = model(name, feeds, weights, inputs or [*feeds, *weights], outputs, **attributes)
    results = computed(proto, feeds)
    other = onnxruntime.InferenceSession(proto.SerializeToString())
    for found, wanted in zip(results, other.run(None, dict(feeds)), strict=True):
        close(found, wanted, tolerance)
