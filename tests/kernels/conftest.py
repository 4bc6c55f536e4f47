from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from sardonyx.kernels.registry import Kernel


@pytest.fixture
def run() -> Callable[..., int]:
    """Run a kernel in parts, one after the other; gives the worst error code."""

    def run(kernel: Kernel, threads: int = 1, **fields: Any) -> int:
        return max(
            kernel(thread=i, part=i, until=i + 1, parts=threads, **fields) for i in range(threads)
        )

    return run


@pytest.fixture
def expected() -> Callable[..., Any]:
    """Compute one operator with onnxruntime."""

    def expected(
        op_type: str,
        *inputs: np.ndarray | None,
        outputs: int = 1,
        opset: int = 21,
        **attributes: Any,
    ) -> Any:
        names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
        results = [f"y{i}" for i in range(outputs)]
        feeds = {name: x for name, x in zip(names, inputs, strict=True) if x is not None}
        graph = helper.make_graph(
            [helper.make_node(op_type, names, results, **attributes)],
            "one",
            [_info(name, x) for name, x in feeds.items()],
            [onnx.ValueInfoProto(name=name) for name in results],
        )
        opsets = [helper.make_opsetid("", opset)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        values: Sequence[np.ndarray] = session.run(None, feeds)
        return values[0] if outputs == 1 else values

    return expected


def _info(name: str, x: np.ndarray) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    return helper.make_tensor_value_info(name, kind, x.shape)


@pytest.fixture
def aligned_fields() -> Callable[..., dict[str, int]]:
    """Name the values of a numbered group of fields, filled up in front."""

    def aligned_fields(name: str, values: Sequence[int], count: int, fill: int) -> dict[str, int]:
        padded = [fill] * (count - len(values)) + list(values)
        return {f"{name}{i}": int(value) for i, value in enumerate(padded)}

    return aligned_fields
