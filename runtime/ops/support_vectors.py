"""SVMClassifier and SVMRegressor of ai.onnx.ml: products with support vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ...kernels.cpu.class_scores import couple_pairs, vote
from ...kernels.cpu.support_vectors import radial_basis, weighted_sums
from ...kernels.target import LANES
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..tensors import Tensor
from . import checks
from .class_scores import (
    DOMAIN,
    TRANSFORMED,
    class_names,
    columns_of,
    features,
    finish,
    float_features,
    infer_classes,
    name_classes,
    sums_of,
    transform_of,
    wanted_labels,
    wanted_scores,
)
from .matmul import emit_product
from .pointwise import emit_expression
from .registry import Operator, register

_KERNELS = ("LINEAR", "POLY", "RBF", "SIGMOID")
_POWERS = {1.0: "x0", 2.0: "mul(x0,x0)", 3.0: "mul(x0,mul(x0,x0))"}


@dataclass(frozen=True)
class _Machine:
    """Sums of weighted kernel values: ``kernel(x, vectors) @ weights + offsets``.

    Vectors are (vectors, features), weights (vectors, sums), numbers float64.
    """

    kernel: str
    parameters: tuple[float, ...]
    vectors: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray


def _emit_sums(emit: Emission, node: Node, machine: _Machine, y: Tensor) -> None:
    """Emit the sums of a machine."""
    x = float_features(emit, node)
    if machine.kernel == "LINEAR":  # a linear model
        weights = (machine.vectors.T @ machine.weights).astype(np.float32)
        emit_product(emit, node, x, weights, y, machine.offsets.astype(np.float32))
        return
    count = len(machine.vectors)
    vectors = _whole_panels(machine.vectors)
    values = emit.new((x.shape[0], len(vectors)), "float32", name=f"{node.name}.kernel")
    if machine.kernel == "RBF":
        _emit_distances(emit, node, machine.parameters[0], vectors, values)
    else:
        gamma, offset, degree = machine.parameters
        bias = np.ones(len(vectors), np.float32)  # any power of which is a number
        bias[:count] = offset
        emit_product(emit, node, x, (gamma * vectors.T).astype(np.float32), values, bias)
        is_sigmoid = machine.kernel == "SIGMOID"
        text = "tanh(x0)" if is_sigmoid else _POWERS.get(degree, "pow(x0,x1)")
        more = [] if is_sigmoid or degree in _POWERS else [float(np.float32(degree))]
        emit_expression(emit, text, values, [values, *more])
    _emit_weighted(emit, node, machine, values, y)


def _whole_panels(rows: np.ndarray) -> np.ndarray:
    """Return rows with zeros after them, as many as fill registers."""
    padded = np.zeros((-(-len(rows) // LANES) * LANES, *rows.shape[1:]), np.float32)
    padded[: len(rows)] = rows
    return padded


def _emit_weighted(
    emit: Emission, node: Node, machine: _Machine, values: Tensor, y: Tensor
) -> None:
    """Emit the weighted sums of kernel values."""
    weights = np.ascontiguousarray(_whole_panels(machine.weights).T)
    sums, vectors = weights.shape
    ranges = np.array([_ranges(row.reshape(-1, LANES).any(1)) for row in weights], np.int32)
    emit.step(
        weighted_sums, outputs=[y], flops=2 * values.size * sums, x=values, y=y,
        rows=values.shape[0], vectors=vectors, sums=sums,
        weights=emit.constant(weights, f"{node.name}.weights"),
        offsets=emit.constant(machine.offsets.astype(np.float32), f"{node.name}.offsets"),
        ranges=emit.constant(ranges, f"{node.name}.ranges"),
    )  # fmt: skip


def _ranges(used: np.ndarray) -> list[int]:
    """Return the limits of two ranges that hold all that is used, the widest gap between them."""
    places = np.flatnonzero(used)
    if len(places) < 2:
        return [*places, *(places + 1), 0, 0] if len(places) else [0, 0, 0, 0]
    gap = int(np.diff(places).argmax())
    first, last = int(places[0]), int(places[-1])
    return [first, int(places[gap]) + 1, int(places[gap + 1]), last + 1]


def _emit_distances(
    emit: Emission, node: Node, gamma: float, vectors: np.ndarray, values: Tensor
) -> None:
    """Emit ``exp(-gamma |x - v|**2)``."""
    x, (count, features) = emit.ordered(float_features(emit, node)), vectors.shape
    panels = np.ascontiguousarray(vectors.reshape(-1, LANES, features).swapaxes(1, 2))
    emit.check(x.shape[1], features, f"features of {x.name!r} and of support vectors")
    emit.step(
        radial_basis, outputs=[values], flops=3 * features * values.size, x=x, y=values,
        rows=x.shape[0], features=features, vectors=count, gamma=gamma,
        panels=emit.constant(panels, f"{node.name}.vectors"),
    )  # fmt: skip


# --- attributes -------------------------------------------------------------------------------


def _machine(
    node: Node, x: Info, vectors: np.ndarray, count: int, weights: np.ndarray, offsets: Any
) -> _Machine:
    """Make a machine of flat support vectors, so many of them."""
    columns = x.dims[1] if isinstance(x.dims[1], int) else max(len(vectors) // max(count, 1), 1)
    if len(vectors) != count * columns:
        expected = f"{count} x {columns}"
        refuse(node, "number of entries of 'support_vectors'", len(vectors), expected)
    kernel = str(node.attribute("kernel_type", "LINEAR"))
    parameters = tuple(float(v) for v in node.attribute("kernel_params") or ())
    if kernel != "LINEAR" and len(parameters) != 3:
        refuse(node, "number of entries of 'kernel_params'", len(parameters), "3")
    matrix = vectors.reshape(count, columns)
    return _Machine(kernel, parameters, matrix, weights, np.asarray(offsets, np.float64))


def _numbers(node: Node, name: str, count: int | None = None) -> np.ndarray:
    values = np.array(node.attribute(name) or [], np.float64)
    if count is not None and len(values) != count:
        refuse(node, f"number of entries of {name!r}", len(values), str(count))
    return values


# --- regression -------------------------------------------------------------------------------


def _infer_regressor(node: Node) -> list[Info]:
    x = features(node)
    _read_regressor(node, x)
    return [node.result((x.dims[0], 1), "float32")]


def _read_regressor(node: Node, x: Info) -> _Machine:
    count, rho = node.attribute("n_supports", 0), _numbers(node, "rho")
    if not len(rho):
        refuse(node, "number of entries of 'rho'", 0, "1")
    if count > 0:
        weights = _numbers(node, "coefficients", count)[:, None]
        return _machine(node, x, _numbers(node, "support_vectors"), count, weights, rho[:1])
    return _machine(node, x, _numbers(node, "coefficients"), 1, np.ones((1, 1)), rho[:1])


def _lower_regressor(emit: Emission, node: Node) -> None:
    y = emit.output(node)
    _emit_sums(emit, node, _read_regressor(node, node.required(0)), y)
    if node.attribute("one_class", 0):
        emit_expression(emit, "if_greater(x0,0,1,-1)", y, [y])
    finish(emit, node, y, y)


# --- classification ---------------------------------------------------------------------------


def _read_linear(node: Node, x: Info) -> _Machine:
    """Read a machine without support vectors: a score for each class."""
    classes, rho = max(1, len(class_names(node))), _numbers(node, "rho")
    if not len(rho):
        refuse(node, "number of entries of 'rho'", 0, "1")
    flat = _numbers(node, "coefficients")
    if len(flat) % classes or not len(flat):
        refuse(node, "number of entries of 'coefficients'", len(flat), f"a multiple of {classes}")
    linear = _machine(node, x, flat, classes, np.eye(classes), np.full(classes, rho[0]))
    return _Machine("LINEAR", (), linear.vectors, linear.weights, linear.offsets)


def _read_pairs(node: Node, x: Info) -> _Machine:
    """Read a machine whose sums are the scores of pairs of classes."""
    sizes = [int(size) for size in node.attribute("vectors_per_class")]
    classes, count = len(sizes), sum(sizes)
    pairs = [(i, j) for i in range(classes) for j in range(i + 1, classes)]
    flat = _numbers(node, "coefficients", (classes - 1) * count).reshape(classes - 1, count)
    ends = np.cumsum(sizes)
    weights = np.zeros((count, len(pairs)))
    for column, (i, j) in enumerate(pairs):
        for own, row in ((i, j - 1), (j, i)):
            part = slice(ends[own] - sizes[own], ends[own])
            weights[part, column] = flat[row, part]
    offsets = _numbers(node, "rho", len(pairs))
    return _machine(node, x, _numbers(node, "support_vectors"), count, weights, offsets)


def _infer_classifier(node: Node) -> list[Info]:
    x, names, sizes = features(node), class_names(node), node.attribute("vectors_per_class") or []
    transform = transform_of(node)
    if not sizes:
        sums = len(_read_linear(node, x).weights)
        columns = columns_of(sums, transform, 2) if sums == 1 else sums
        return infer_classes(node, names, x.dims[0], columns)
    if len(sizes) < 2 or min(sizes) < 0 or not sum(sizes):
        raise OnHost(f"numbers of support vectors {sizes}")
    if names and len(names) != len(sizes):
        refuse(node, "number of classes", len(names), f"{len(sizes)}, as of 'vectors_per_class'")
    _read_pairs(node, x)
    if node.attribute("prob_a"):
        for name in ("prob_a", "prob_b"):
            _numbers(node, name, len(sizes) * (len(sizes) - 1) // 2)
        return infer_classes(node, names, x.dims[0], len(sizes))
    pairs = len(sizes) * (len(sizes) - 1) // 2
    return infer_classes(node, names, x.dims[0], columns_of(pairs, transform, 2))


def _lower_classifier(emit: Emission, node: Node) -> None:
    info, sizes = node.required(0), node.attribute("vectors_per_class") or []
    machine = _read_pairs(node, info) if sizes else _read_linear(node, info)
    rows, sums = info.dims[0], machine.weights.shape[1]
    names = class_names(node) or list(range(len(sizes) or sums))
    labels, table = wanted_labels(emit, node, names)
    is_coupled = bool(sizes and node.attribute("prob_a"))
    columns = len(sizes) if is_coupled else columns_of(sums, transform_of(node), 2)
    y = wanted_scores(emit, node, rows, columns)
    scores = emit.new((rows, sums), "float32") if is_coupled else sums_of(emit, node, y, sums)
    _emit_sums(emit, node, machine, scores)
    opposite = transform_of(node) == "NONE"
    if not sizes:
        finish(emit, node, scores, y, labels, table, are_probabilities=not opposite)
        name_classes(emit, node, labels, names)
        return
    common: dict[str, Any] = {"x": scores, "rows": rows, "classes": len(sizes)}
    if labels is not None:
        emit.step(
            vote, outputs=[labels], flops=4 * rows * sums, labels=labels, names=table, **common,
            **_scratch(emit, 8 * len(sizes)),
        )  # fmt: skip
    if is_coupled:
        a, b = (emit.constant(_numbers(node, name), f"{node.name}.{name}") for name in _SIGMOIDS)
        emit.step(
            couple_pairs, outputs=[y], flops=200 * rows * len(sizes) ** 2, y=y, a=a, b=b, **common,
            **_scratch(emit, 16 * len(sizes) * (len(sizes) + 1)),
        )  # fmt: skip
        scores = y
    finish(emit, node, scores, y, are_probabilities=not opposite)
    name_classes(emit, node, labels, names)


_SIGMOIDS = ("prob_a", "prob_b")


def _scratch(emit: Emission, size: int) -> dict[str, Any]:
    """Fields of scratch memory of so many bytes for each thread."""
    return {"scratch": emit.workspace(size), "scratch_bytes": (size + 63) // 64 * 64}


_RULES = (TRANSFORMED, checks.one_of("kernel_type", *_KERNELS))

register(
    "SVMRegressor",
    Operator(rules=_RULES, infer=_infer_regressor, lower=_lower_regressor),
    DOMAIN,
)
register(
    "SVMClassifier",
    Operator(rules=_RULES, infer=_infer_classifier, lower=_lower_classifier),
    DOMAIN,
)
