"""Small generated models, run by sardonyx and by onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from ...guard import guard as guard

Feeds = Mapping[str, np.ndarray]
Dims = Mapping[str, Sequence[int | str | None]]
OPSET = 22


def build(
    nodes: Sequence[onnx.NodeProto],
    feeds: Sequence[Feeds],
    weights: Mapping[str, np.ndarray] | None = None,
    outputs: Sequence[str] | None = None,
    dims: Dims | None = None,
    opset: int = OPSET,
) -> onnx.ModelProto:
    """Make a model; axes that differ from feed to feed are symbolic, unless ``dims`` says it."""
    inputs = []
    for name, first in feeds[0].items():
        shape: Sequence[int | str | None] = (dims or {}).get(name) or [
            size if all(feed[name].shape[axis] == size for feed in feeds) else f"{name}_{axis}"
            for axis, size in enumerate(first.shape)
        ]
        kind = helper.np_dtype_to_tensor_dtype(first.dtype)
        inputs.append(helper.make_tensor_value_info(name, kind, shape))
    wanted = outputs or [name for name in nodes[-1].output if name]
    for index, node in enumerate(nodes):
        node.name = node.name or f"{node.op_type.lower()}{index}"
    graph = helper.make_graph(
        list(nodes),
        "test",
        inputs,
        [onnx.ValueInfoProto(name=name) for name in wanted],
        [onnx.numpy_helper.from_array(a, n) for n, a in (weights or {}).items()],
    )
    others = {node.domain for node in nodes} - {""}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(name, 1) for name in others)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def wanted_results(model: onnx.ModelProto, feeds: Sequence[Feeds]) -> list[list[Any]]:
    """Results of onnxruntime; of onnx's reference for what onnxruntime has no kernel for."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    runner: Any
    try:
        runner = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        if "NOT_IMPLEMENTED" not in str(error):
            raise
        runner = ReferenceEvaluator(model)
    with np.errstate(all="ignore"):
        arrays = [{n: np.asarray(a) for n, a in feed.items()} for feed in feeds]
        return [list(runner.run(None, feed)) for feed in arrays]


def assert_same(found: Any, wanted: Any, tolerance: float, name: str) -> None:
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype), name
    if wanted.dtype.kind != "f":
        np.testing.assert_array_equal(found, wanted, name)
        return
    finite = np.abs(wanted[np.isfinite(wanted)].astype(np.float64))
    np.testing.assert_allclose(
        found.astype(np.float64),
        wanted.astype(np.float64),
        rtol=tolerance,
        atol=tolerance * min(float(finite.max(initial=0.0)), 1e30) + tolerance * 1e-2,
        err_msg=name,
    )


@pytest.fixture
def check() -> Callable[..., sardonyx.Session]:
    """Compare a model's results with onnxruntime's, at all shapes and numbers of threads.

    ``host`` names the operators that have no kernel for such inputs; all others must have one.
    """

    def check(
        nodes: Sequence[onnx.NodeProto],
        feeds: Feeds | Sequence[Feeds],
        weights: Mapping[str, np.ndarray] | None = None,
        *,
        outputs: Sequence[str] | None = None,
        dims: Dims | None = None,
        threads: Sequence[int] = (2,),
        host: Collection[str] = (),
        opset: int = OPSET,
        tolerance: float = 1e-4,
        wanted: Sequence[Sequence[np.ndarray]] | None = None,
        precision: str = "fp32",
    ) -> sardonyx.Session:
        given = [feeds] if isinstance(feeds, Mapping) else feeds
        several = [{name: np.asarray(array) for name, array in feed.items()} for feed in given]
        model = build(nodes, several, weights, outputs, dims, opset)
        wanted = wanted or wanted_results(model, several)
        for count in threads:
            session = sardonyx.Session(model, threads=count, optimize="none", precision=precision)
            steps = {step.op_type for step in session.engine.program.host_steps}
            assert steps == set(host)
            for feed, expected in zip(several, wanted, strict=True):
                results = zip(session.run(None, feed), expected, model.graph.output, strict=True)
                for a, b, port in results:
                    assert_same(np.asarray(a), b, tolerance, port.name)
        return session

    return check


@pytest.fixture
def check_each(check: Callable[..., sardonyx.Session]) -> Callable[..., None]:
    """Compare many nodes (one output each) that take their own inputs, in one model.

    Missing kernels are compiled in parallel; onnxruntime may have no kernel for one of them.
    """

    def check_each(
        cases: Sequence[tuple[onnx.NodeProto, Feeds]],
        weights: Mapping[str, np.ndarray] | None = None,
        **kwargs: Any,
    ) -> None:
        nodes, feeds, wanted = [], {}, []
        opset = kwargs.get("opset", OPSET)
        for index, (node, own) in enumerate(cases):
            made = onnx.NodeProto.FromString(node.SerializeToString())
            constant = {n: a for n, a in (weights or {}).items() if n in node.input}
            wanted.append(wanted_results(build([node], [own], constant, opset=opset), [own])[0][0])
            names = {name: f"{name}_{index}" for name in own}
            made.input[:] = [names.get(name, name) for name in node.input]
            made.output[0] = f"{node.op_type}_{index}"
            feeds |= {names[name]: array for name, array in own.items()}
            nodes.append(made)
        outputs = [node.output[0] for node in nodes]
        check(nodes, feeds, weights, outputs=outputs, wanted=[wanted], **kwargs)

    return check_each


@pytest.fixture
def refused() -> Callable[..., str]:
    """Run what cannot be computed: opening or running it must raise an exception of ours."""

    def refused(
        nodes: Sequence[onnx.NodeProto],
        feeds: Feeds,
        weights: Mapping[str, np.ndarray] | None = None,
        **kwargs: Any,
    ) -> str:
        model = build(nodes, [feeds], weights, **kwargs)
        with pytest.raises(sardonyx.SardonyxError) as error:
            sardonyx.Session(model, threads=1, optimize="none").run(None, feeds)
        return str(error.value)

    return refused
