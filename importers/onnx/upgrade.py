"""Bring a model to a newer opset: one adapter for each change of an operator's meaning.

The opsets are walked one by one, so that an adapter only knows the step it is for, and what it
emits is adapted by the steps that follow. A step is applied to the whole model or not at all: if
one node cannot be expressed in the next opset, the model stays where it is, and stays correct.
Nothing is copied: weights are never looked at.

What changed is from onnx's operator changelog (docs/Changelog.md of onnx/onnx); a test compares
the adapters with the schemas of the installed onnx, and fails on a change without an adapter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import onnx_ir as ir

from .draft import Draft, Stuck

Adapter = Callable[[Draft], None]

ADAPTERS: dict[tuple[int, str], Adapter] = {}
"""The change that an opset made to an operator, by (opset, operator)."""


def adapter(version: int, *op_types: str) -> Callable[[Adapter], Adapter]:
    """Register how nodes of some operators become nodes of opset `version`."""

    def register(function: Adapter) -> Adapter:
        for op_type in op_types:
            ADAPTERS[version, op_type] = function
        return function

    return register


def upgrade(graphs: Sequence[ir.Graph], start: int, stop: int) -> tuple[int, str | None]:
    """Rewrite graphs (with all graphs inside them) from opset `start` to opset `stop`.

    Returns
    -------
    tuple of int and (str or None)
        The opset reached, and what stood in the way of the next, if anything did.
    """
    changed = {version for version, _ in ADAPTERS}
    for version in range(start + 1, stop + 1):
        drafts: list[Draft] = []
        if version not in changed:
            continue
        try:
            for node in _standard_nodes(graphs):
                change = ADAPTERS.get((version, node.op_type))
                if change is not None:
                    drafts.append(Draft(node, version))
                    change(drafts[-1])
        except Stuck as reason:
            for draft in drafts:
                draft.discard()
            return version - 1, f"{node.op_type} node {node.name!r}: {reason}"
        for draft in drafts:
            draft.finish()
    return stop, None


def _standard_nodes(graphs: Sequence[ir.Graph]) -> Iterator[ir.Node]:
    for graph in graphs:
        for node in graph.all_nodes():
            if node.domain == "":
                yield node


# Opsets 2 to 6


@adapter(2, "GlobalLpPool", "LpPool")
def _p_is_int(draft: Draft) -> None:
    p = draft.take("p", 2.0)
    if p != int(p):
        raise Stuck(f"its norm p = {p} is not a whole number")
    draft.put(p=int(p))


@adapter(2, "Pad")
def _paddings_are_pads(draft: Draft) -> None:
    draft.put(pads=draft.take("paddings"))


@adapter(2, "Split")
def _split_is_attribute(draft: Draft) -> None:
    draft.put(axis=draft.take("axis", 0))
    if len(draft.inputs) > 1:
        draft.put(split=draft.known(1).astype(np.int64).tolist())
        del draft.inputs[1:]


@adapter(4, "Concat")
def _concat_axis_is_stated(draft: Draft) -> None:
    draft.put(axis=draft.take("axis", 1))


@adapter(5, "Reshape")
def _reshape_shape_is_input(draft: Draft) -> None:
    draft.take("consumed_inputs")
    draft.inputs.append(draft.constant(draft.take("shape", ())))


_CONSUMING = [
    "Abs", "Add", "And", "BatchNormalization", "Ceil", "Clip", "Div", "Dropout", "Elu", "Exp",
    "Floor", "HardSigmoid", "InstanceNormalization", "LeakyRelu", "Log", "Max", "Mean", "Min",
    "Mul", "Neg", "PRelu", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sqrt", "Sub", "Sum", "Tanh",
]  # fmt: skip


@adapter(6, *_CONSUMING)
def _no_consumed_inputs(draft: Draft) -> None:
    draft.take("consumed_inputs")


@adapter(6, "Selu")
def _selu_had_rounder_defaults(draft: Draft) -> None:
    draft.take("consumed_inputs")
    draft.put(alpha=draft.take("alpha", 1.6732), gamma=draft.take("gamma", 1.0507))


@adapter(6, "Cast")
def _cast_to_is_number(draft: Draft) -> None:
    name = draft.take("to")
    if name not in ir.DataType.__members__:
        raise Stuck(f"it casts to the unknown type {name!r}")
    draft.put(to=int(ir.DataType[name]))


@adapter(6, "Tile")
def _tile_all_axes(draft: Draft) -> None:
    repeats = np.ones(draft.rank(0), np.int64)
    repeats[int(draft.known(2).item())] = int(draft.known(1).item())
    draft.inputs[1:] = [draft.constant(repeats)]


# Opset 7: broadcasting as in numpy


@adapter(7, *["Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor"])
def _broadcast_from_axis(draft: Draft) -> None:
    axis, broadcast = draft.take("axis"), draft.take("broadcast", 0)
    if not broadcast or axis is None:
        return
    rank, second = draft.rank(0), draft.rank(1)
    after = rank - (axis % rank) - second
    if after > 0:
        axes = list(range(second, second + after))
        draft.inputs[1] = draft.emit("Unsqueeze", draft.inputs[1], axes=axes)


@adapter(7, "Gemm")
def _gemm_always_broadcasts(draft: Draft) -> None:
    draft.take("broadcast")


@adapter(7, "PRelu")
def _prelu_slope_per_channel(draft: Draft) -> None:
    slope = draft.inputs[1]
    if slope is None or slope.shape is None:
        raise Stuck("the shape of its slope is not known")
    if len(slope.shape) == 1 and slope.shape[0] != 1 and draft.rank(0) > 2:
        axes = list(range(1, draft.rank(0) - 1))
        draft.inputs[1] = draft.emit("Unsqueeze", slope, axes=axes)


@adapter(7, "BatchNormalization")
def _batch_normalization_infers(draft: Draft) -> None:
    if not draft.take("is_test", 0):
        draft.only_output("it trains")


@adapter(7, "Dropout")
def _dropout_infers(draft: Draft) -> None:
    if not draft.take("is_test", 0):
        draft.only_output("it trains")


@adapter(7, "GRU", "LSTM", "RNN")
def _no_output_sequence(draft: Draft) -> None:
    draft.take("output_sequence")


@adapter(7, "Upsample")
def _upsample_scales(draft: Draft) -> None:
    draft.put(scales=[1.0, 1.0, draft.take("height_scale"), draft.take("width_scale")])


# Opsets 9 to 12: attributes that became inputs


@adapter(9, "BatchNormalization")
def _batch_normalization_is_spatial(draft: Draft) -> None:
    if not draft.take("spatial", 1):
        raise Stuck("it normalizes every pixel by itself (spatial = 0)")


@adapter(9, "Scan")
def _scan_has_no_batch(draft: Draft) -> None:
    raise Stuck("Scan had a batch axis before opset 9")


@adapter(9, "Upsample")
def _upsample_scales_are_input(draft: Draft) -> None:
    draft.inputs.append(draft.constant(draft.take("scales"), np.float32))


@adapter(10, "Upsample")
def _upsample_is_resize(draft: Draft) -> None:
    draft.op_type = "Resize"


@adapter(10, "Dropout")
def _dropout_mask_is_bool(draft: Draft) -> None:
    draft.only_output("the mask is of another type from opset 10 on")


@adapter(10, "Slice")
def _slice_bounds_are_inputs(draft: Draft) -> None:
    starts, ends, axes = (draft.take(name) for name in ("starts", "ends", "axes"))
    draft.inputs += [draft.constant(starts), draft.constant(ends)]
    if axes is not None:
        draft.inputs.append(draft.constant(axes))


@adapter(10, "TopK")
def _topk_k_is_input(draft: Draft) -> None:
    draft.inputs.append(draft.constant([draft.take("k")]))


@adapter(11, "Clip")
def _clip_bounds_are_inputs(draft: Draft) -> None:
    low, high = draft.take("min"), draft.take("max")
    for index, bound in enumerate((low, high)):
        if bound is not None:
            draft.inputs += [None] * (index + 1 - len(draft.inputs))
            draft.inputs.append(draft.constant(bound, draft.dtype(0)))


@adapter(11, "Pad")
def _pads_are_inputs(draft: Draft) -> None:
    pads, value = draft.take("pads"), draft.take("value", 0.0)
    draft.inputs.append(draft.constant(pads))
    if value:
        draft.inputs.append(draft.constant(value, draft.dtype(0)))


@adapter(11, "Scatter")
def _scatter_is_scatter_elements(draft: Draft) -> None:
    draft.op_type = "ScatterElements"


@adapter(11, "Resize")
def _resize_states_its_coordinates(draft: Draft) -> None:
    if draft.attributes.get("mode", None) is None or draft.attributes["mode"].value == "nearest":
        scales = draft.known(1)
        if (scales >= 1).all():
            draft.put(nearest_mode="floor")
        elif (scales <= 1).all():
            draft.put(nearest_mode="ceil")
        else:
            raise Stuck("it enlarges one axis and shrinks another to the nearest pixel")
    draft.put(coordinate_transformation_mode="asymmetric")
    draft.inputs.insert(1, draft.constant([], np.float32))  # roi


@adapter(12, "Dropout")
def _dropout_ratio_is_input(draft: Draft) -> None:
    draft.inputs.append(draft.constant(draft.take("ratio", 0.5), np.float32))


# Opsets 13 to 21


REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"]


@adapter(13, "ReduceSum", "Squeeze", "Unsqueeze")
@adapter(18, *[f"Reduce{name}" for name in REDUCTIONS])
def _axes_are_input(draft: Draft) -> None:
    axes = draft.take("axes")
    if axes:
        draft.inputs.append(draft.constant(axes))


@adapter(13, "Split")
def _split_is_input(draft: Draft) -> None:
    split = draft.take("split")
    if split:
        draft.inputs.append(draft.constant(split))


@adapter(13, "Hardmax", "LogSoftmax", "Softmax")
def _softmax_of_one_axis(draft: Draft) -> None:
    """Before opset 13 all axes from `axis` on counted as one."""
    axis, data = draft.take("axis", 1), draft.inputs[0]
    if axis == -1 or (data is not None and data.shape is not None and axis == len(data.shape) - 1):
        draft.put(axis=-1)
        return
    flat = draft.emit("Flatten", data, axis=axis)
    flat = draft.emit(draft.op_type, flat, axis=-1)
    draft.inputs = [flat, draft.emit("Shape", data)]
    draft.op_type = "Reshape"


@adapter(13, "Resize")
def _resize_by_scales_or_sizes(draft: Draft) -> None:
    mode = draft.attributes.get("coordinate_transformation_mode")
    if mode is None or mode.value != "tf_crop_and_resize":
        draft.inputs[1] = None
    if len(draft.inputs) > 3 and draft.inputs[3] is not None:
        draft.inputs[2] = None


@adapter(14, "BatchNormalization")
def _batch_normalization_has_one_output(draft: Draft) -> None:
    draft.only_output("it trains")


@adapter(16, "RoiAlign")
def _roi_align_without_shift(draft: Draft) -> None:
    draft.put(coordinate_transformation_mode="output_half_pixel")


@adapter(18, "Split")
def _split_counts_outputs(draft: Draft) -> None:
    if len(draft.inputs) < 2 or draft.inputs[1] is None:
        draft.put(num_outputs=len(draft.node.outputs))


@adapter(20, "DFT")
def _dft_axis_is_input(draft: Draft) -> None:
    draft.inputs += [None] * (2 - len(draft.inputs))
    draft.inputs.append(draft.constant(draft.take("axis", 1)))


@adapter(20, "GridSample")
def _grid_sample_modes(draft: Draft) -> None:
    mode = draft.take("mode", "bilinear")
    draft.put(mode={"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode))


@adapter(21, "GroupNormalization")
def _group_normalization_per_channel(draft: Draft) -> None:
    data, groups = draft.inputs[0], draft.attributes["num_groups"].value
    if data is None or data.shape is None or not isinstance(data.shape[1], int):
        raise Stuck("the number of its channels is not known")
    each = data.shape[1] // groups
    for index in (1, 2):
        column = draft.emit("Unsqueeze", draft.inputs[index], draft.constant([1]))
        wide = draft.emit("Expand", column, draft.constant([groups, each]))
        draft.inputs[index] = draft.emit("Reshape", wide, draft.constant([-1]))
