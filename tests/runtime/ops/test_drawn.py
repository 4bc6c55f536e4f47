"""Operators with kernels, on drawn attributes, shapes and types, against `sardonyx.reference`.

``tests/reference`` compares the reference with onnxruntime on the same draws. A case is its
operator and number; ``FUZZ_CASES=200`` looks longer, ``FUZZ_FIRST`` says where to begin. Some
inputs are constants, some axes have no declared size.
"""

from __future__ import annotations

import os
import zlib

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper, numpy_helper

from ...reference import (  # noqa: F401  (they fill the table)
    draw_elementwise,
    draw_images,
    draw_layers,
    draw_movement,
)
from ...reference.drawing import DRAWN, HALVES, Draw
from ...reference.witness import difference, ours

CASES = int(os.environ.get("FUZZ_CASES", "6"))
FIRST = int(os.environ.get("FUZZ_FIRST", "0"))
TRIES = 8
"""Cases drawn for each that has a kernel."""

NAMES = """AffineGrid Attention BatchNormalization BlackmanWindow Col2Im Compress CumSum
DFT DeformConv Det Erf EyeLike GridSample HammingWindow HannWindow Hardmax LRN MaxRoiPool
MelWeightMatrix NegativeLogLikelihoodLoss NonMaxSuppression NonZero OneHot Pad QLinearConv Range
ReverseSequence RoiAlign RotaryEmbedding STFT ScatterElements SoftmaxCrossEntropyLoss Trilu
Unique""".split()  # noqa: SIM905


def model_of(draw, case):
    """A model of a case, and what is fed to it."""
    names, ports, weights, feeds = [], [], [], {}
    for index, value in enumerate(case.inputs):
        name = "" if value is None else f"x{index}"
        names.append(name)
        if value is None:
            continue
        if index and draw.chance(0.5):
            weights.append(numpy_helper.from_array(value, name))
            continue
        feeds[name] = value
        is_list = index and value.ndim == 1  # the number of sizes is always declared
        dims = [n if is_list or draw.chance(0.6) else None for n in value.shape]
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        ports.append(helper.make_tensor_value_info(name, kind, dims))
    while not names[-1]:
        names.pop()
    results = [f"y{i}" for i in range(case.outputs)]
    node = helper.make_node(draw.name, names, results, "node", **case.attributes)
    outputs = [onnx.ValueInfoProto(name=name) for name in results]
    graph = helper.make_graph([node], "drawn", ports, outputs, weights)
    imports = [helper.make_opsetid("", draw.opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10), feeds


def is_plain(case):
    """Numbers that kernels compute in: others are widened, or stay on the host."""
    arrays = [value for value in case.inputs if value is not None]
    return all(
        isinstance(a, np.ndarray) and a.dtype.kind in "fiub" and a.dtype not in HALVES
        for a in arrays
    )


@pytest.mark.timeout(120 + CASES)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_operator(name):
    compared, number = 0, FIRST
    while compared < CASES and number < FIRST + TRIES * CASES:
        draw = Draw([number, zlib.crc32(name.encode())], name)
        case = DRAWN["", name](draw)
        number += 1
        if not is_plain(case):
            continue
        model, feeds = model_of(draw, case)
        session = sardonyx.Session(model, threads=1 + number % 2, optimize="none")
        if session.engine.program.metadata["host"]:
            continue
        wanted, found = ours(draw, case), session.run(None, feeds)
        problems = [difference(a, b, case) for a, b in zip(wanted, found, strict=True)]
        shapes = [getattr(value, "shape", value) for value in case.inputs]
        assert not any(problems), (number - 1, draw.opset, shapes, case.attributes, problems)
        assert [a.dtype for a in wanted] == [b.dtype for b in found]
        compared += 1
    assert compared
