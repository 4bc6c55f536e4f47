"""Ensembles of decision trees of ai.onnx.ml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from ...kernels.cpu.tree_scores import AS_IT_IS, OPPOSITE, PROBABILITY, TRANSFORMS
from ...kernels.cpu.tree_walks import WALKS
from ...kernels.cpu.trees import BLOCK, tree_ensemble
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import maximum
from ..tensors import Tensor, short_name
from . import checks
from .class_scores import DOMAIN, TRANSFORMED, name_classes, transform_of
from .registry import Operator, register
from .tree_packing import leaf_ranges, leaf_weights, packed
from .tree_tables import (
    Trees,
    Weights,
    gathered,
    integers,
    numbers,
    read_numbered,
    read_with_leaves,
    tensor,
)

_MOST_KEYS = 2**15
"""Keys of the rows of a block, which all trees read."""
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")


@dataclass(frozen=True, kw_only=True)
class _Ensemble:
    """Trees and weights, and what becomes of the sums of a row: see `kernels.cpu.tree_scores`."""

    trees: Trees
    weights: Weights
    sums: int
    aggregate: str = "SUM"
    base: np.ndarray | None = None
    transform: str = "NONE"
    other: int = AS_IT_IS
    decisive: int = -1
    limit: float = 0.0


# --- shapes -----------------------------------------------------------------------------------


def _features(node: Node, types: tuple[str, ...]) -> Info:
    x = node.required(0)
    if x.dtype not in types:
        raise OnHost(f"features of {x.dtype}")
    if x.rank != 2:
        raise OnHost(f"features of rank {x.rank}")
    return x


def _real(x: Info) -> str:
    return "f64" if x.dtype == "float64" else "f32"


_NUMERIC = ("float32", "float64", "int32", "int64")


def _infer_regressor(node: Node) -> list[Info]:
    x = _features(node, _NUMERIC)
    return [node.result((x.dims[0], node.attribute("n_targets", 1)), "float32")]


def _infer_ensemble(node: Node) -> list[Info]:
    x = _features(node, ("float32", "float64"))
    return [node.result((x.dims[0], node.attribute("n_targets", 1)))]


def _infer_classifier(node: Node) -> list[Info]:
    x = _features(node, _NUMERIC)
    strings, count = node.attribute("classlabels_strings"), len(_labels(node))
    if count < 2:
        raise OnHost(f"{count} classes")
    if strings:
        node.outputs[0].dtype = ir.DataType.STRING
    rows = x.dims[0]
    labels = node.result((rows,), "object" if strings else "int64")
    columns = 1 if _is_alone(node) and transform_of(node) == "PROBIT" else count
    scores = [node.result((rows, columns), "float32", 1)] if len(node.outputs) > 1 else []
    return [labels, *scores]


def _labels(node: Node) -> list[Any]:
    return list(node.attribute("classlabels_strings") or node.attribute("classlabels_int64s") or [])


def _is_alone(node: Node) -> bool:
    """Tell whether only the first of two classes has weights, which then are the second's."""
    return len(_labels(node)) == 2 and set(node.attribute("class_ids") or []) == {0}


# --- attributes -------------------------------------------------------------------------------


def _weights(
    node: Node, kind: str, count: int, real: str, places: Any
) -> tuple[Weights, np.ndarray]:
    """Return weights of regressors or classifiers (``kind``), in order and as they are given."""
    trees = integers(node, f"{kind}_treeids")
    ids, targets = (integers(node, f"{kind}_{name}", len(trees)) for name in ("nodeids", "ids"))
    values = numbers(node, f"{kind}_weights", len(trees))
    if values is None:
        refuse(node, f"number of entries of '{kind}_weights'", 0, "one or more")
    _check_targets(node, f"{kind}_ids", targets, count)
    leaves = places.of(trees, ids, f"{kind}_nodeids")
    return gathered(leaves, targets, values, real), values


def _check_targets(node: Node, name: str, targets: np.ndarray, count: int) -> None:
    wrong = targets[(targets < 0) | (targets >= count)]
    if wrong.size:
        refuse(node, f"an entry of {name!r}", int(wrong[0]), f"a number from 0 to {count - 1}")


def _base(node: Node, count: int, real: str) -> np.ndarray | None:
    values = numbers(node, "base_values")
    if values is None:
        return None
    if len(values) not in (1, count):
        refuse(node, "number of entries of 'base_values'", len(values), f"1 or {count}")
    return np.broadcast_to(values.astype(np.float32 if real == "f32" else np.float64), (count,))


def _read_regressor(node: Node, real: str) -> _Ensemble:
    trees, places = read_numbered(node, real)
    count = node.attribute("n_targets", 1)
    return _Ensemble(
        trees=trees,
        weights=_weights(node, "target", count, real, places)[0],
        sums=count,
        aggregate=node.attribute("aggregate_function", "SUM"),
        base=_base(node, count, real),
        transform=transform_of(node),
    )


def _read_classifier(node: Node, real: str) -> _Ensemble:
    trees, places = read_numbered(node, real)
    count, transform = len(_labels(node)), transform_of(node)
    weights, values = _weights(node, "class", count, real, places)
    common: dict[str, Any] = {"trees": trees, "weights": weights}
    base = _base(node, count, real)
    classes = set(node.attribute("class_ids"))
    if count > 2 or len(classes) > 1:
        return _Ensemble(**common, sums=count, base=base, transform=transform)
    is_positive = bool((values >= 0).all())
    common["limit"] = 0.5 if is_positive else 0.0
    if not _is_alone(node):
        return _Ensemble(**common, sums=2, base=base, transform=transform, decisive=1)
    alone: dict[str, Any] = {"sums": 1, "base": None if base is None else base[:1], "decisive": 0}
    if transform == "PROBIT":
        return _Ensemble(**common, **alone, transform=transform)
    is_logistic = transform == "LOGISTIC"
    other = PROBABILITY if is_positive or is_logistic else OPPOSITE
    transform = transform if is_logistic else "NONE"  # others are functions of both scores
    return _Ensemble(**common, **alone, transform=transform, other=other)


def _read_ensemble(node: Node, real: str) -> _Ensemble:
    trees, count = read_with_leaves(node, real), node.attribute("n_targets", 1)
    targets = integers(node, "leaf_targetids")
    values = tensor(node, "leaf_weights", len(targets))
    if values is None:
        refuse(node, "number of entries of 'leaf_weights'", 0, str(len(targets)))
    _check_targets(node, "leaf_targetids", targets, count)
    first = len(integers(node, "nodes_featureids"))
    return _Ensemble(
        trees=trees,
        weights=gathered(np.arange(len(targets)) + first, targets, values, real),
        sums=count,
        aggregate=_AGGREGATES[node.attribute("aggregate_function", 1)],
        transform=TRANSFORMS[node.attribute("post_transform", 0)],
    )


# --- steps ------------------------------------------------------------------------------------


def _lower_regressor(emit: Emission, node: Node) -> None:
    ensemble = _read_regressor(node, _real(node.required(0)))
    _emit(emit, node, ensemble, emit.output(node), None, ())


def _lower_ensemble(emit: Emission, node: Node) -> None:
    ensemble = _read_ensemble(node, _real(node.required(0)))
    _emit(emit, node, ensemble, emit.output(node), None, ())


def _lower_classifier(emit: Emission, node: Node) -> None:
    ensemble, labels = _read_classifier(node, _real(node.required(0))), _labels(node)
    rows, wanted = node.infos[0].dims[0], [bool(value.name) for value in node.outputs]
    if wanted[1:] == [True]:
        scores = emit.output(node, 1)
    else:
        scores = emit.new((rows, len(labels)), "float32", name=f"{node.name}.scores")
    if not node.attribute("classlabels_strings"):
        found = emit.output(node) if wanted[0] else None
        _emit(emit, node, ensemble, scores, found, labels)
        return
    places = emit.new((rows,), "int64", name=f"{node.name}.places") if wanted[0] else None
    _emit(emit, node, ensemble, scores, places, range(len(labels)))
    name_classes(emit, node, places, labels)


def _emit(
    emit: Emission, node: Node, ensemble: _Ensemble, scores: Tensor, labels: Tensor | None,
    names: Any,
) -> None:  # fmt: skip
    """Emit the step that gives scores, and the entries of ``names`` that are the labels."""
    x = emit.ordered(emit.tensor(node.values[0]))
    info, aggregate = node.required(0), ensemble.aggregate.lower()
    columns = info.dims[-1]
    needed = ensemble.trees.columns
    message = f"features of {info.name!r}, of which nodes read {needed}"
    emit.check(maximum(columns, needed), columns, message)
    real, extreme = _real(info), aggregate in ("min", "max")
    is_single = ensemble.sums == 1 and not extreme
    count = len(ensemble.trees.modes)
    if is_single:
        contents, ranges = leaf_weights(ensemble.weights, count), None
    else:
        contents, ranges = leaf_ranges(ensemble.weights, count)
    tables = packed(ensemble.trees, contents)

    def constant(array: Any, what: str) -> Tensor:
        return emit.constant(np.asarray(array), f"{node.name}.{what}")

    rows, trees = info.dims[0], len(ensemble.trees.roots)
    targets = ensemble.weights.targets.astype(np.int32)
    depth = max(len(tables.nodes) // trees, 1).bit_length()
    keys = len(tables.keys)
    block = max(min(BLOCK, _MOST_KEYS // (keys + 1)) // WALKS, 1) * WALKS
    size = block * ensemble.sums * (2 if extreme else 1) * (8 if real == "f64" else 4)
    size += block * (keys + 1) * (8 if tables.key == "u64" else 4)
    emit.step(
        tree_ensemble(
            short_name(info.dtype), real, short_name(scores.dtype),
            aggregate if extreme else "sum", int(is_single), tables.key,
        ),
        outputs=[scores, *([labels] if labels else [])],
        flops=16 * rows * trees * depth,
        x=x, rows=rows, features=columns, block=block,
        keys=constant(tables.keys, "keys"), key_count=keys,
        trees=trees, leaves=None if ranges is None else constant(ranges, "leaves"),
        weights=None if ranges is None else constant(ensemble.weights.values, "weights"),
        targets=None if ranges is None else constant(targets, "targets"),
        table=constant(tables.nodes, "nodes"), feature_mask=tables.feature_mask,
        child_shift=tables.child_shift,
        scratch=emit.workspace(size), scratch_bytes=(size + 63) // 64 * 64,
        sums=ensemble.sums, divisor=float(trees if aggregate == "average" else 1),
        base=None if ensemble.base is None else constant(ensemble.base, "base"),
        transform=TRANSFORMS.index(ensemble.transform), other=ensemble.other, y=scores,
        labels=labels,
        names=constant(np.array(names, np.int64), "names") if labels else None,
        decisive=ensemble.decisive, limit=ensemble.limit,
    )  # fmt: skip


_AGGREGATED = checks.one_of("aggregate_function", "SUM", *_AGGREGATES)


def _check_codes(node: Node) -> None:
    """Refuse numbers of aggregates and transforms that there are none of."""
    for name, words in (("aggregate_function", _AGGREGATES), ("post_transform", TRANSFORMS)):
        code = node.attribute(name, 0)
        if not 0 <= code < len(words):
            refuse(node, f"attribute {name!r}", code, f"a number from 0 to {len(words) - 1}")


register(
    "TreeEnsembleRegressor",
    Operator(
        rules=(TRANSFORMED, _AGGREGATED, checks.at_least_one("n_targets")),
        infer=_infer_regressor,
        lower=_lower_regressor,
    ),
    DOMAIN,
)
register(
    "TreeEnsembleClassifier",
    Operator(rules=(TRANSFORMED,), infer=_infer_classifier, lower=_lower_classifier),
    DOMAIN,
)
register(
    "TreeEnsemble",
    Operator(
        rules=(_check_codes, checks.at_least_one("n_targets")),
        infer=_infer_ensemble,
        lower=_lower_ensemble,
    ),
    DOMAIN,
)
