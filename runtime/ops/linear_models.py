"""LinearClassifier and LinearRegressor of ai.onnx.ml: a product, and what follows it."""

from __future__ import annotations

import numpy as np

from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
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
from .registry import Operator, register


def _coefficients(node: Node, x: Info, rows: int) -> np.ndarray:
    """Return the coefficients, a row for each score."""
    flat = np.array(node.attribute("coefficients") or [], np.float32)
    columns = x.dims[1] if isinstance(x.dims[1], int) else max(len(flat) // max(rows, 1), 1)
    if not len(flat) or len(flat) != rows * columns:
        refuse(node, "number of entries of 'coefficients'", len(flat), f"{rows} x {columns}")
    return flat.reshape(rows, columns)


def _intercepts(node: Node, rows: int) -> np.ndarray | None:
    values = node.attribute("intercepts")
    if not values:
        return None
    if len(values) not in (1, rows):
        refuse(node, "number of entries of 'intercepts'", len(values), str(rows))
    return np.ascontiguousarray(np.broadcast_to(np.array(values, np.float32), (rows,)))


# --- regression -------------------------------------------------------------------------------


def _infer_regressor(node: Node) -> list[Info]:
    x, targets = features(node), node.attribute("targets", 1)
    _coefficients(node, x, targets)
    return [node.result((x.dims[0], targets), "float32")]


def _lower_regressor(emit: Emission, node: Node) -> None:
    targets = node.attribute("targets", 1)
    weights = _coefficients(node, node.required(0), targets)
    y = emit.output(node)
    sums, x = sums_of(emit, node, y, targets), float_features(emit, node)
    emit_product(emit, node, x, weights.T, sums, _intercepts(node, targets))
    finish(emit, node, sums, y)


# --- classification ---------------------------------------------------------------------------


def _rows(node: Node, x: Info) -> int:
    """Return the number of scores: of two classes one may have none."""
    count, given = len(class_names(node)), len(node.attribute("coefficients") or [])
    columns, intercepts = x.dims[1], node.attribute("intercepts") or []
    if isinstance(columns, int):
        rows = given // columns
    elif count == 2 and len(intercepts) != 2:
        raise OnHost("the number of features is not known, nor that of scores")
    else:
        rows = len(intercepts) or count
    if count and count != rows and (rows, count) != (1, 2):
        refuse(node, "number of classes", count, f"{rows}, that of rows of 'coefficients'")
    return rows


def _infer_classifier(node: Node) -> list[Info]:
    x, names = features(node), class_names(node)
    rows = _rows(node, x)
    _coefficients(node, x, rows)
    columns = columns_of(rows, transform_of(node), len(names))
    return infer_classes(node, names, x.dims[0], columns)


def _lower_classifier(emit: Emission, node: Node) -> None:
    x, info = float_features(emit, node), node.required(0)
    rows = _rows(node, info)
    names = class_names(node) or list(range(rows))
    columns = columns_of(rows, transform_of(node), len(names))
    y = wanted_scores(emit, node, info.dims[0], columns)
    sums = sums_of(emit, node, y, rows)
    weights = _coefficients(node, info, rows)
    emit_product(emit, node, x, weights.T, sums, _intercepts(node, rows))
    labels, table = wanted_labels(emit, node, names)
    finish(emit, node, sums, y, labels, table)
    name_classes(emit, node, labels, names)


register(
    "LinearRegressor",
    Operator(
        rules=(TRANSFORMED, checks.at_least_one("targets")),
        infer=_infer_regressor,
        lower=_lower_regressor,
    ),
    DOMAIN,
)
register(
    "LinearClassifier",
    Operator(rules=(TRANSFORMED,), infer=_infer_classifier, lower=_lower_classifier),
    DOMAIN,
)
