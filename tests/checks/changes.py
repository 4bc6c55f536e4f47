"""Changes of a drawn case that each check makes: special contents, shapes, axes and places.

A change returns the case that is run instead, or None where an operator has nothing to change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np
from sardonyx.runtime.ops import OPERATORS

from ..reference.drawing import HALVES, Case, Draw

Change = Callable[[Draw, Case], Case | None]

SIZED = {
    "BlackmanWindow", "ConstantOfShape", "HammingWindow", "HannWindow", "Loop", "MelWeightMatrix",
    "Range",
}  # fmt: skip
"""Operators whose contents say sizes of results, or when they end."""
PLACES = {
    "I", "K", "axes", "axis", "batch_indices", "dft_length", "frame_length", "frame_step",
    "image_shape", "block_shape", "indices", "nonpad_kv_seqlen", "pads", "position_ids", "repeats",
    "roi", "rois", "scales", "sequence_lens", "shape", "size", "sizes", "split", "starts", "steps",
    "ends", "tiles", "target", "write_indices", "output_shape", "k", "grid",
    "max_output_boxes_per_class", "depth", "theta", "ratio", "training_mode", "input_scale",
    "condition",
}  # fmt: skip
"""Names of inputs that are no data, but places, sizes, numbers of them or options."""


def formal(draw: Draw, index: int) -> Any:
    """Return what the schema says of an input."""
    return draw.schema.inputs[min(index, len(draw.schema.inputs) - 1)]


def is_float(kind: np.dtype[Any]) -> bool:
    """Tell whether elements may be NaN."""
    return kind.kind == "f" or kind in HALVES


def is_integer(kind: np.dtype[Any]) -> bool:
    """Tell whether elements are integers of numpy's own."""
    return kind.kind in "iu"


def data_of(draw: Draw, case: Case, chosen: Callable[[np.dtype[Any]], bool]) -> list[int]:
    """Return the inputs that hold data of a kind."""
    if draw.name in SIZED:
        return []
    return [
        index
        for index, value in enumerate(case.inputs)
        if isinstance(value, np.ndarray)
        and value.size
        and formal(draw, index).name not in PLACES
        and chosen(value.dtype)
    ]


def with_inputs(case: Case, changed: dict[int, Any], **others: Any) -> Case:
    """Return the case with other inputs."""
    inputs = [changed.get(index, value) for index, value in enumerate(case.inputs)]
    return replace(case, inputs=inputs, **others)


def sprinkled(
    draw: Draw, case: Case, indices: list[int], values: Callable[[np.dtype[Any]], list[Any]]
) -> Case | None:
    """Put special values at some places of inputs."""
    if not indices:
        return None
    changed = {}
    for index in indices:
        array = case.inputs[index].copy()
        pool = values(array.dtype)
        flat = array.reshape(-1)
        for _ in range(draw.int(1, 3)):
            flat[draw.int(0, flat.size - 1)] = draw.pick(pool)
        changed[index] = array
    return with_inputs(case, changed)


# --- contents -------------------------------------------------------------------------------------


def nans(draw: Draw, case: Case) -> Case | None:
    """NaN among the data."""
    return sprinkled(draw, case, data_of(draw, case, is_float), lambda kind: [np.nan])


def infinities(draw: Draw, case: Case) -> Case | None:
    """Infinities of both signs among the data."""
    return sprinkled(draw, case, data_of(draw, case, is_float), lambda kind: [np.inf, -np.inf])


def signed_zeros(draw: Draw, case: Case) -> Case | None:
    """Zeros of both signs among the data."""
    return sprinkled(draw, case, data_of(draw, case, is_float), lambda kind: [0.0, -0.0])


def is_elementwise(draw: Draw) -> bool:
    """Tell whether each element of the result is made of one of each operand."""
    operator = OPERATORS.get((draw.domain, draw.name))
    return operator is not None and operator.term is not None


def _extremes(draw: Draw, kind: np.dtype[Any]) -> list[Any]:
    if is_integer(kind):
        info = np.iinfo(kind)
        return [info.min, info.max, -1] if info.min else [info.max, 1]
    info = ml_dtypes.finfo(kind)
    if is_elementwise(draw):
        return [info.max, info.min, info.smallest_normal, info.eps]
    largest = float(info.max) ** 0.25
    return [largest, -largest, info.eps]


def extremes(draw: Draw, case: Case) -> Case | None:
    """The largest, least and smallest numbers of a type among the data.

    Where elements are summed, what is beyond the largest on the way depends on the order: there,
    large ones have squares of squares that a type still holds.
    """
    indices = data_of(draw, case, lambda kind: is_integer(kind) or is_float(kind))
    kinds = [case.inputs[index].dtype for index in indices]
    exact = any(is_integer(kind) or kind == np.float64 for kind in kinds)
    given = replace(case, exact=case.exact or exact)
    return sprinkled(draw, given, indices, lambda kind: _extremes(draw, kind))


def overflow(draw: Draw, case: Case) -> Case | None:
    """Integers of any size, so that results wrap."""
    changed = {}
    for index in data_of(draw, case, is_integer):
        value = case.inputs[index]
        info = np.iinfo(value.dtype)
        whole = draw.rng.integers(info.min, info.max, value.shape, value.dtype, endpoint=True)
        changed[index] = np.asarray(whole)
    return with_inputs(case, changed, exact=True) if changed else None


def division_by_zero(draw: Draw, case: Case) -> Case | None:
    """A divisor that is zero."""
    if draw.name not in ("Div", "Mod") or not all(value.size for value in case.inputs):
        return None
    divisor = case.inputs[1].copy()
    divisor.reshape(-1)[draw.int(0, divisor.size - 1)] = 0
    return with_inputs(case, {1: divisor})


# --- shapes ---------------------------------------------------------------------------------------


def empty(draw: Draw, case: Case) -> Case | None:
    """Axes without elements: some size, wherever it is, becomes 0."""
    arrays = [v for i, v in enumerate(case.inputs) if _is_data(draw, v, i)]
    sizes = sorted({size for array in arrays for size in array.shape if size})
    if not sizes:
        return None
    size, only = draw.pick(sizes), draw.pick([None, None, 0, 1])
    changed = {}
    for index, value in enumerate(case.inputs):
        if _is_data(draw, value, index) and size in value.shape:
            keep = tuple(
                slice(0, 0) if n == size and only in (None, axis) else slice(None)
                for axis, n in enumerate(value.shape)
            )
            changed[index] = value[keep]
    return with_inputs(case, changed) if changed else None


def _is_data(draw: Draw, value: Any, index: int) -> bool:
    if draw.name in ("Loop", "Scan"):  # their bodies state shapes
        return False
    return isinstance(value, np.ndarray) and formal(draw, index).name not in PLACES


def scalars(draw: Draw, case: Case) -> Case | None:
    """All data of no axis."""
    changed = {
        index: value.reshape(-1)[0]
        for index, value in enumerate(case.inputs)
        if _is_data(draw, value, index) and value.ndim and value.size
    }
    return with_inputs(case, changed) if changed else None


# --- axes and places ------------------------------------------------------------------------------

AXES = ("axis", "axes", "batch_axis", "time_axis")


def _axes(draw: Draw, case: Case) -> Iterator[tuple[str, int, list[int]]]:
    """Yield where a case names axes: attribute (or empty), input, and the axes."""
    for name in AXES:
        if name in case.attributes and draw.name != "Split":
            value = case.attributes[name]
            yield name, -1, list(value) if isinstance(value, list) else [value]
    for index, value in enumerate(case.inputs):
        is_list = isinstance(value, np.ndarray) and value.dtype.kind == "i" and value.ndim < 2
        if is_list and formal(draw, index).name in ("axes", "axis"):
            yield "", index, value.reshape(-1).tolist()


def _with_axes(case: Case, name: str, index: int, axes: list[int]) -> Case:
    if name:
        single = not isinstance(case.attributes[name], list)
        return replace(case, attributes=case.attributes | {name: axes[0] if single else axes})
    old = case.inputs[index]
    return with_inputs(case, {index: np.array(axes, old.dtype).reshape(old.shape)})


def _rank(draw: Draw, case: Case) -> int:
    """Return the number of axes that axes are counted from."""
    if draw.name == "SplitToSequence" or isinstance(case.inputs[0], list):
        return np.ndim(case.inputs[0][0])
    rank = np.ndim(case.inputs[0])
    if draw.name == "Unsqueeze":
        _, _, axes = next(_axes(draw, case))
        return rank + len(axes)
    return rank + (draw.name == "OneHot")


def negative_axes(draw: Draw, case: Case) -> Case | None:
    """Axes counted from the end."""
    if draw.version < 11 and not draw.domain:
        return None
    rank, changed = _rank(draw, case) if case.inputs else 0, None
    for name, index, axes in _axes(draw, case):
        if name in ("batch_axis", "time_axis"):
            continue
        back = [axis - rank if 0 <= axis < rank else axis for axis in axes]
        if back != axes:
            changed = _with_axes(changed or case, name, index, back)
    return changed


def axes_out_of_range(draw: Draw, case: Case) -> Case | None:
    """An axis that no input has."""
    found = [each for each in _axes(draw, case) if each[2]]
    if not found:
        return None
    name, index, axes = draw.pick(found)
    rank = _rank(draw, case)
    if draw.name in ("QuantizeLinear", "DequantizeLinear") and rank < 2:
        return None  # "when the rank of the input is 1, ... the axis is unnecessary"
    axes[draw.int(0, len(axes) - 1)] = draw.pick([rank + 1, -rank - 2, 2**31, -(2**40)])
    if index >= 0 and case.inputs[index].dtype == np.int32:
        axes = [int(np.clip(axis, -(2**31), 2**31 - 1)) for axis in axes]
    return _with_axes(case, name, index, axes)


def _limit(draw: Draw, case: Case, name: str) -> int:
    """Return the first place after those that an input of a name may hold."""
    x = case.inputs[0]
    axis = case.attributes.get("axis", 0)
    return {
        "Gather": lambda: x.shape[axis],
        "GatherElements": lambda: x.shape[axis],
        "ScatterElements": lambda: x.shape[axis],
        "Scatter": lambda: x.shape[axis],
        "GatherND": lambda: max(x.shape),
        "ScatterND": lambda: max(x.shape),
        "ArrayFeatureExtractor": lambda: x.shape[-1],
        "RoiAlign": lambda: x.shape[0],
        "MaxUnpool": lambda: int(2 ** (x.ndim - 2) * x.size),
        "ReverseSequence": lambda: x.shape[case.attributes["time_axis"]] + 1,
        "TensorScatter": lambda: x.shape[case.attributes["axis"]],
        "TopK": lambda: x.shape[case.attributes["axis"]] + 1,
        "RotaryEmbedding": lambda: case.inputs[1].shape[0],
        "RNN": lambda: x.shape[0] + 1, "GRU": lambda: x.shape[0] + 1,
        "LSTM": lambda: x.shape[0] + 1,
        "NegativeLogLikelihoodLoss": lambda: x.shape[1],
        "SoftmaxCrossEntropyLoss": lambda: x.shape[1],
    }[draw.name]()  # fmt: skip


_PLACED = {
    "Gather": "indices", "GatherElements": "indices", "ScatterElements": "indices",
    "Scatter": "indices", "GatherND": "indices", "ScatterND": "indices",
    "ArrayFeatureExtractor": "Y", "RoiAlign": "batch_indices", "MaxUnpool": "I",
    "ReverseSequence": "sequence_lens", "TensorScatter": "write_indices", "TopK": "K",
    "RotaryEmbedding": "position_ids", "RNN": "sequence_lens", "GRU": "sequence_lens",
    "LSTM": "sequence_lens", "NegativeLogLikelihoodLoss": "target",
    "SoftmaxCrossEntropyLoss": "target",
}  # fmt: skip


def places_out_of_range(draw: Draw, case: Case) -> Case | None:
    """An index, length or count beyond what there is."""
    wanted = _PLACED.get(draw.name)
    if case.attributes.get("mode") == "circular":
        return None  # indices of any size
    for index, value in enumerate(case.inputs):
        if value is None or formal(draw, index).name != wanted or not value.size:
            continue
        limit = _limit(draw, case, wanted)
        bad = [limit, limit + 7, -limit - 1, 2**31 - 1, -(2**31)]
        if value.dtype == np.int64:
            bad += [2**40, -(2**62)]
        changed = value.copy()
        changed.reshape(-1)[draw.int(0, value.size - 1)] = draw.pick(bad)
        return with_inputs(case, {index: changed})
    return None
