"""Models of one node with random attributes, shapes and contents, many of them at the edges.

A case is its number: `random_node` makes the same of it everywhere, so that a crash can be
repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, helper, numpy_helper
from sardonyx.runtime.ops import OPERATORS, has_kernel

OPSET = 24
NEWER = {"BitCast", "CausalConvWithState", "CumProd", "LinearAttention", "SwiGLU"}
"""Operators that later versions of the standard have."""
WILD = [-(2**63), -(2**31), -1000, -4, -1, 0, 1, 2, 7, 1000, 2**31, 2**62]
USUAL = [-2, -1, 0, 1, 1, 1, 2, 2, 3, 4]
FLOATS = [float("nan"), float("inf"), -1.0, 0.0, 1e-5, 0.5, 1.0, 2.0, 1e30]
WORDS = ["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID", "constant", "reflect", "edge", "wrap",
         "nearest", "linear", "cubic", "DCR", "CRD", "none", "add", "mul", "max", "tanh", "LEFT",
         "half_pixel", "align_corners", "asymmetric", "garbage"]  # fmt: skip
SIZES = [0, 1, 1, 2, 2, 3, 4, 5, 9, 16]
DTYPES = [np.float32] * 8 + [np.float64, np.int64, np.int32, np.uint8, np.bool_]
# Inputs that hold sizes, axes or positions, by the name that the standard gives them.
INTEGERS = {"axes", "shape", "starts", "ends", "steps", "pads", "repeats", "split", "K", "axis",
            "sizes", "depth", "indices"}  # fmt: skip


def pick(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    return values[int(rng.integers(len(values)))]


def schemas() -> list[onnx.defs.OpSchema]:
    names = sorted(name for domain, name in OPERATORS if not domain and has_kernel(domain, name))
    newest = [onnx.defs.get_schema(name) for name in names if onnx.defs.has(name)]
    found = [
        schema if schema.name in NEWER else onnx.defs.get_schema(schema.name, OPSET)
        for schema in newest
    ]
    return [schema for schema in found if not schema.deprecated]


def attribute(rng: np.random.Generator, kind: int, name: str, rank: int) -> Any:
    """Make a value, often near one that could be right; None for kinds that are left out."""
    pool = WILD if rng.random() < 0.2 else USUAL
    if kind == AttributeProto.INT:
        return pick(rng, pool)
    if kind == AttributeProto.INTS and name == "perm" and rng.random() < 0.8:
        return rng.permutation(rank).tolist()
    if kind == AttributeProto.INTS:
        spatial = max(rank - 2, 1)
        count = pick(rng, [spatial, spatial, 2 * spatial, rank, 1])
        return [pick(rng, pool) for _ in range(max(count, 1))]
    if kind == AttributeProto.FLOAT:
        return pick(rng, FLOATS)
    return pick(rng, WORDS) if kind == AttributeProto.STRING else None


def contents(rng: np.random.Generator, name: str, shape: Sequence[int], dtype: Any) -> np.ndarray:
    """Make an input of a formal name: integers where that is what it takes."""
    if name == "indices":
        return rng.integers(-2, 3, tuple(shape))
    if name in INTEGERS:
        pool = WILD if rng.random() < 0.1 else USUAL
        count = pick(rng, [1, len(shape), 2 * len(shape)])
        values = np.array([pick(rng, pool) for _ in range(count)], np.int64)
        return values[0] if name in ("axis", "depth") and count else values
    values = np.asarray(rng.standard_normal(tuple(shape)) * 3)
    if values.size and rng.random() < 0.1:
        values.reshape(-1)[0] = pick(rng, [np.nan, np.inf, -np.inf])
    with np.errstate(invalid="ignore"):
        return values.astype(dtype)


def input_shape(
    rng: np.random.Generator, op_type: str, index: int, base: Sequence[int]
) -> list[int]:
    """Make the shape of an input: the first one's, or one that may go with it."""
    if index == 1 and op_type in ("Conv", "ConvTranspose") and len(base) > 2:
        channels = base[1] if rng.random() < 0.8 else 2
        kernel = rng.integers(0, 4, len(base) - 2).tolist()
        outputs = int(rng.integers(1, 5))
        return [*([outputs, channels] if op_type == "Conv" else [channels, outputs]), *kernel]
    if index == 0 or rng.random() < 0.5:
        return list(base)
    return [pick(rng, [1, 2, 3, size]) for size in base[int(rng.integers(2)) :]]


def random_node(number: int) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Make a model of one node, and inputs for it."""
    rng = np.random.default_rng(number)
    schema = pick(rng, schemas())
    base = [pick(rng, SIZES) for _ in range(pick(rng, [0, 1, 2, 3, 3, 4, 4, 4, 5]))]
    dtype = pick(rng, DTYPES)
    feeds: dict[str, np.ndarray] = {}
    ports, constants, names = [], [], []
    for index in range(min(schema.max_input, schema.min_input + int(rng.integers(3)))):
        formal = schema.inputs[min(index, len(schema.inputs) - 1)].name
        array = contents(rng, formal, input_shape(rng, schema.name, index, base), dtype)
        array = np.asarray(array)
        names.append(f"{formal}_{index}")
        if index and rng.random() < 0.6:
            constants.append(numpy_helper.from_array(array, names[-1]))
            continue
        feeds[names[-1]] = array
        dims = [n if rng.random() < 0.6 else f"{names[-1]}.{i}" for i, n in enumerate(array.shape)]
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        ports.append(helper.make_tensor_value_info(names[-1], kind, dims))
    given = {
        name: attribute(rng, int(formal.type), name, len(base))
        for name, formal in schema.attributes.items()
        if formal.required or rng.random() < 0.35
    }
    outputs = [f"y{i}" for i in range(max(schema.min_output, 1))]
    kept = {name: value for name, value in given.items() if value is not None}
    node = helper.make_node(schema.name, names, outputs, "node", **kept)
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = helper.make_graph([node], "fuzz", ports, results, constants)
    imports = [helper.make_opsetid("", max(OPSET, schema.since_version))]
    return helper.make_model(graph, opset_imports=imports, ir_version=10), feeds
