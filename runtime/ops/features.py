"""Operators of ai.onnx.ml on rows of features: scaling, normalization, selection, encoding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...kernels.cpu.lookup import one_hot, take_columns
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import product
from ..tensors import Indexed, Tensor, short_name
from . import checks
from .class_scores import DOMAIN, as_float32
from .label_encoder import hash_table
from .norm import emit_lp_norm
from .pointwise import emit_expression
from .registry import Operator, register

_TYPES = ("float32", "float64", "int32", "int64")


def _rows(node: Node) -> Info:
    x = node.required(0)
    if x.dtype not in _TYPES:
        raise OnHost(f"features of {x.dtype}")
    if not x.rank:
        raise OnHost("a scalar")
    return x


def _each(node: Node, name: str, x: Info, default: float) -> np.ndarray:
    """Return an attribute with one number for all features or for each."""
    values = node.attribute(name) or [default]
    columns = x.dims[-1]
    if len(values) != 1 and isinstance(columns, int) and len(values) != columns:
        refuse(node, f"number of entries of {name!r}", len(values), f"1 or {columns}")
    return np.array(values)


# --- Scaler and Normalizer --------------------------------------------------------------------


def _infer_scaler(node: Node) -> list[Info]:
    x = _rows(node)
    _each(node, "offset", x, 0.0), _each(node, "scale", x, 1.0)
    return [node.result(x.dims, "float32")]


def _lower_scaler(emit: Emission, node: Node) -> None:
    x, info = emit.tensor(node.values[0]), node.required(0)
    x = x if x.dtype == "float64" else as_float32(emit, x)
    operands = [
        emit.constant(_each(node, name, info, default).astype(x.dtype), f"{node.name}.{name}")
        for name, default in (("offset", 0.0), ("scale", 1.0))
    ]
    text = "mul(sub(x0,x1),x2)"
    text = f"to_f32({text})" if x.dtype == "float64" else text
    emit_expression(emit, text, emit.output(node), [x, *operands], operations=2)


_POWERS = {"MAX": 0, "L1": 1, "L2": 2}


def _infer_normalizer(node: Node) -> list[Info]:
    return [node.result(_rows(node).dims, "float32")]


def _lower_normalizer(emit: Emission, node: Node) -> None:
    """Divide by the norm of a row, unless it is zero; the largest number is not a magnitude."""
    x, power = as_float32(emit, emit.tensor(node.values[0])), _POWERS[node.attribute("norm", "MAX")]
    emit_lp_norm(emit, emit.ordered(x), emit.output(node), power, len(x.shape) - 1)


# --- Imputer ----------------------------------------------------------------------------------


def _infer_imputer(node: Node) -> list[Info]:
    x = _rows(node)
    values = _imputed(node, x)
    if len(values) != 1 and x.dims[-1] != len(values):
        raise OnHost(f"{len(values)} values for {x.dims[-1]} features")
    return [node.result(x.dims)]


def _imputed(node: Node, x: Info) -> np.ndarray:
    name = "imputed_value_floats" if x.is_float else "imputed_value_int64s"
    values = node.attribute(name)
    if not values:
        refuse(node, f"number of entries of {name!r}", 0, "1 or more")
    return np.array(values).astype(x.dtype)


def _lower_imputer(emit: Emission, node: Node) -> None:
    info = node.required(0)
    missing = node.attribute("replaced_value_float" if info.is_float else "replaced_value_int64", 0)
    is_missing = "is_nan(x0)" if math.isnan(missing) else "equal(x0,x2)"
    x, values = emit.tensor(node.values[0]), emit.constant(_imputed(node, info))
    operands: list[Tensor] = [x, values]
    if not math.isnan(missing):
        operands.append(emit.constant(np.array(missing).astype(info.dtype)))
    emit_expression(emit, f"where({is_missing},x1,x0)", emit.output(node), operands)


# --- FeatureVectorizer and ArrayFeatureExtractor ----------------------------------------------


def _infer_vectorizer(node: Node) -> list[Info]:
    sizes = node.attribute("inputdimensions") or []
    parts = [info for info in node.inputs if info is not None]
    if len(sizes) != len(parts) or min(sizes, default=0) < 1:
        raise OnHost(f"{len(parts)} inputs, of {sizes} features")
    if any(part.dtype not in _TYPES or part.rank != 2 for part in parts):
        raise OnHost("inputs that are not rows of numbers")
    if any(not isinstance(part.dims[1], int) for part in parts):
        raise OnHost("a number of features that is not known")
    return [node.result((parts[0].dims[0], sum(sizes)), "float32")]


def _lower_vectorizer(emit: Emission, node: Node) -> None:
    """Put what there is of each input beside the others, zeros where there is less."""
    y, first = emit.output(node), 0
    rows, total = y.shape
    for value, size in zip(node.values, node.attribute("inputdimensions"), strict=True):
        x = emit.tensor(value)
        emit.check(x.shape[0], rows, f"rows of {x.name!r} and of the first input")
        count = min(size, int(x.shape[1]))  # type: ignore[arg-type]
        if count:
            target = y.view((rows, count), (total, 1), first)
            emit_expression(emit, "to_f32(x0)", target, [x.view((rows, count), x.strides)])
        if count < size:
            target = y.view((rows, size - count), (total, 1), first + count)
            emit_expression(emit, "x0", target, [0.0])
        first += size


def _infer_extractor(node: Node) -> list[Info]:
    x, indices = node.required(0), node.required(1)
    if indices.dtype != "int64" or not x.rank:
        raise OnHost(f"indices of {indices.dtype}, elements of rank {x.rank}")
    leading = x.dims[:-1] if x.rank > 1 else (1,)
    return [node.result((*leading, product(indices.dims)))]


def _lower_extractor(emit: Emission, node: Node) -> None:
    x = emit.ordered(emit.tensor(node.values[0]))
    indices, y = emit.ordered(emit.tensor(node.values[1])), emit.output(node)
    emit.step(
        take_columns(x.itemsize), outputs=[y], x=x, indices=indices, y=y,
        rows=product(x.shape[:-1]), size=x.shape[-1], count=indices.size,
        indexed=Indexed(node.required(1).name, (x.shape[-1],), from_end=True),
    )  # fmt: skip


# --- OneHotEncoder ----------------------------------------------------------------------------


def _infer_one_hot(node: Node) -> list[Info]:
    x, categories = _rows(node), node.attribute("cats_int64s") or []
    if not node.attribute("zeros", 1):
        raise OnHost("values that are no category are errors")
    if not categories or len(set(categories)) != len(categories):
        raise OnHost(f"categories {categories[:9]}")
    return [node.result((*x.dims, len(categories)), "float32")]


def _lower_one_hot(emit: Emission, node: Node) -> None:
    x, y = emit.ordered(emit.tensor(node.values[0])), emit.output(node)
    categories = np.array(node.attribute("cats_int64s"), np.int64)
    emit.step(
        one_hot(short_name(x.dtype)), outputs=[y], flops=4 * x.size + y.size, x=x, y=y,
        count=x.size, width=len(categories), **hash_table(emit, categories, node.name),
    )  # fmt: skip


_ML: dict[str, Any] = {"domain": DOMAIN}

register("Scaler", Operator(infer=_infer_scaler, lower=_lower_scaler), **_ML)
register(
    "Normalizer",
    Operator(
        rules=(checks.one_of("norm", *_POWERS),),
        infer=_infer_normalizer,
        lower=_lower_normalizer,
    ),
    **_ML,
)
register("Imputer", Operator(infer=_infer_imputer, lower=_lower_imputer), **_ML)
register("FeatureVectorizer", Operator(infer=_infer_vectorizer, lower=_lower_vectorizer), **_ML)
register("ArrayFeatureExtractor", Operator(infer=_infer_extractor, lower=_lower_extractor), **_ML)
register("OneHotEncoder", Operator(infer=_infer_one_hot, lower=_lower_one_hot), **_ML)
