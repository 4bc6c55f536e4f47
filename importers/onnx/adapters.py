"""Adapters of nodes to newer opsets: one for each change of an operator's meaning.

An adapter only knows the step that it is for, from one opset to the next (``upgrade``).

What changed is from onnx's operator changelog (docs/Changelog.md of onnx/onnx); a test compares
the adapters with the schemas of the installed onnx, and fails on a change without an adapter.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx_ir as ir

from ...errors import InvalidModel
from .node_rewrite import AdapterTable, NodeRewrite, NotExpressible, register

ADAPTERS: AdapterTable = {}
"""The change that an opset made to an operator, by (opset, operator)."""

adapter = partial(register, ADAPTERS)

# Opsets 2 to 6


@adapter(2, "GlobalLpPool", "LpPool")
def _p_is_int(rewrite: NodeRewrite) -> None:
    p = rewrite.take("p", 2.0)
    if p != int(p):
        raise NotExpressible(f"its norm p = {p} is not a whole number")
    rewrite.put(p=int(p))


@adapter(2, "Pad")
def _paddings_are_pads(rewrite: NodeRewrite) -> None:
    rewrite.put(pads=rewrite.take("paddings"))


@adapter(2, "Split")
def _split_is_attribute(rewrite: NodeRewrite) -> None:
    rewrite.put(axis=rewrite.take("axis", 0))
    if len(rewrite.inputs) > 1:
        rewrite.put(split=rewrite.constant_input(1).astype(np.int64).tolist())
        del rewrite.inputs[1:]


@adapter(4, "Concat")
def _concat_axis_is_stated(rewrite: NodeRewrite) -> None:
    rewrite.put(axis=rewrite.take("axis", 1))


@adapter(5, "Reshape")
def _reshape_shape_is_input(rewrite: NodeRewrite) -> None:
    rewrite.take("consumed_inputs")
    rewrite.inputs.append(rewrite.constant(rewrite.take("shape", ())))


_CONSUMING = [
    "Abs", "Add", "And", "BatchNormalization", "Ceil", "Clip", "Div", "Dropout", "Elu", "Exp",
    "Floor", "HardSigmoid", "InstanceNormalization", "LeakyRelu", "Log", "Max", "Mean", "Min",
    "Mul", "Neg", "PRelu", "Reciprocal", "Relu", "Selu", "Sigmoid", "Sqrt", "Sub", "Sum", "Tanh",
]  # fmt: skip


@adapter(6, *_CONSUMING)
def _no_consumed_inputs(rewrite: NodeRewrite) -> None:
    rewrite.take("consumed_inputs")


@adapter(6, "Selu")
def _selu_had_rounder_defaults(rewrite: NodeRewrite) -> None:
    rewrite.take("consumed_inputs")
    rewrite.put(alpha=rewrite.take("alpha", 1.6732), gamma=rewrite.take("gamma", 1.0507))


@adapter(6, "Cast")
def _cast_to_is_number(rewrite: NodeRewrite) -> None:
    name = rewrite.take("to")
    if name not in ir.DataType.__members__:
        raise NotExpressible(f"it casts to the unknown type {name!r}")
    rewrite.put(to=int(ir.DataType[name]))


@adapter(6, "Tile")
def _tile_all_axes(rewrite: NodeRewrite) -> None:
    rank = rewrite.rank(0)
    tiles, axis = (float(rewrite.constant_input(index).item()) for index in (1, 2))
    if not (tiles.is_integer() and axis.is_integer() and tiles >= 0 and -rank <= axis < rank):
        raise InvalidModel(
            f"node {rewrite.node.name!r} (Tile): {tiles} tiles along axis {axis}, expected whole "
            f"numbers, and an axis from {-rank} to {rank - 1}"
        )
    repeats = np.ones(rank, np.int64)
    repeats[int(axis)] = int(tiles)
    rewrite.inputs[1:] = [rewrite.constant(repeats)]


# Opset 7: broadcasting as in numpy


@adapter(7, *["Add", "And", "Div", "Equal", "Greater", "Less", "Mul", "Or", "Pow", "Sub", "Xor"])
def _broadcast_from_axis(rewrite: NodeRewrite) -> None:
    axis, broadcast = rewrite.take("axis"), rewrite.take("broadcast", 0)
    if not broadcast or axis is None:
        return
    rank, second = rewrite.rank(0), rewrite.rank(1)
    after = rank - (axis % rank) - second
    if after > 0:
        axes = list(range(second, second + after))
        rewrite.inputs[1] = rewrite.emit("Unsqueeze", rewrite.inputs[1], axes=axes)


@adapter(7, "Gemm")
def _gemm_always_broadcasts(rewrite: NodeRewrite) -> None:
    rewrite.take("broadcast")


@adapter(7, "PRelu")
def _prelu_slope_per_channel(rewrite: NodeRewrite) -> None:
    slope = rewrite.inputs[1]
    if slope is None or slope.shape is None:
        raise NotExpressible("the shape of its slope is not known")
    if len(slope.shape) == 1 and slope.shape[0] != 1 and rewrite.rank(0) > 2:
        axes = list(range(1, rewrite.rank(0) - 1))
        rewrite.inputs[1] = rewrite.emit("Unsqueeze", slope, axes=axes)


@adapter(7, "BatchNormalization")
def _batch_normalization_infers(rewrite: NodeRewrite) -> None:
    if not rewrite.take("is_test", 0):
        rewrite.drop_extra_outputs("it trains")


@adapter(7, "Dropout")
def _dropout_infers(rewrite: NodeRewrite) -> None:
    if not rewrite.take("is_test", 0):
        rewrite.drop_extra_outputs("it trains")


@adapter(7, "GRU", "LSTM", "RNN")
def _no_output_sequence(rewrite: NodeRewrite) -> None:
    rewrite.take("output_sequence")


@adapter(7, "Upsample")
def _upsample_scales(rewrite: NodeRewrite) -> None:
    rewrite.put(scales=[1.0, 1.0, rewrite.take("height_scale"), rewrite.take("width_scale")])
    mode = rewrite.take("mode", "nearest")
    rewrite.put(mode="linear" if mode == "bilinear" else mode)


# Opsets 9 to 12: attributes that became inputs


@adapter(9, "BatchNormalization")
def _batch_normalization_is_spatial(rewrite: NodeRewrite) -> None:
    """Write out what normalizes every pixel by itself, with parameters for each."""
    if rewrite.take("spatial", 1):
        return
    rewrite.drop_extra_outputs("it trains")
    x, scale, bias, mean, variance = (_for_each_pixel(rewrite, index) for index in range(5))
    epsilon = rewrite.constant(rewrite.take("epsilon", 1e-5), rewrite.dtype(0))
    deviation = rewrite.emit("Sqrt", rewrite.emit("Add", variance, epsilon))
    normalized = rewrite.emit("Div", rewrite.emit("Sub", x, mean), deviation)
    rewrite.inputs = [rewrite.emit("Mul", normalized, scale), bias]
    rewrite.op_type = "Add"
    rewrite.attributes.clear()


def _for_each_pixel(rewrite: NodeRewrite, index: int) -> ir.Value | None:
    """Return an input with the axes of the first but the batch, which some write as one axis."""
    value, image = rewrite.inputs[index], rewrite.inputs[0]
    axes = rewrite.rank(0) - 1
    if index == 0 or rewrite.rank(index) == axes:
        return value
    sizes = list(image.shape[1:]) if image is not None and image.shape is not None else [None]
    if rewrite.rank(index) != 1 or not all(isinstance(size, int) for size in sizes):
        raise NotExpressible(f"the shapes of its inputs 0 and {index} do not fit (spatial = 0)")
    return rewrite.emit("Reshape", value, rewrite.constant(sizes))


@adapter(9, "Scan")
def _scan_has_no_batch(rewrite: NodeRewrite) -> None:
    raise NotExpressible("Scan had a batch axis before opset 9")


@adapter(9, "Upsample")
def _upsample_scales_are_input(rewrite: NodeRewrite) -> None:
    rewrite.inputs.append(rewrite.constant(rewrite.take("scales"), np.float32))


@adapter(10, "Upsample")
def _upsample_is_resize(rewrite: NodeRewrite) -> None:
    rewrite.op_type = "Resize"


@adapter(10, "Dropout")
def _dropout_mask_is_bool(rewrite: NodeRewrite) -> None:
    rewrite.drop_extra_outputs("the mask is of another type from opset 10 on")


@adapter(10, "Slice")
def _slice_bounds_are_inputs(rewrite: NodeRewrite) -> None:
    starts, ends, axes = (rewrite.take(name) for name in ("starts", "ends", "axes"))
    rewrite.inputs += [rewrite.constant(starts), rewrite.constant(ends)]
    if axes is not None:
        rewrite.inputs.append(rewrite.constant(axes))


@adapter(10, "TopK")
def _topk_k_is_input(rewrite: NodeRewrite) -> None:
    rewrite.inputs.append(rewrite.constant([rewrite.take("k")]))


@adapter(11, "Clip")
def _clip_bounds_are_inputs(rewrite: NodeRewrite) -> None:
    low, high = rewrite.take("min"), rewrite.take("max")
    for index, bound in enumerate((low, high)):
        if bound is not None:
            rewrite.inputs += [None] * (index + 1 - len(rewrite.inputs))
            rewrite.inputs.append(rewrite.constant(bound, rewrite.dtype(0)))


@adapter(11, "Pad")
def _pads_are_inputs(rewrite: NodeRewrite) -> None:
    pads, value = rewrite.take("pads"), rewrite.take("value", 0.0)
    rewrite.inputs.append(rewrite.constant(pads))
    if value:
        rewrite.inputs.append(rewrite.constant(value, rewrite.dtype(0)))


@adapter(11, "Scatter")
def _scatter_is_scatter_elements(rewrite: NodeRewrite) -> None:
    rewrite.op_type = "ScatterElements"


@adapter(11, "Resize")
def _resize_states_its_coordinates(rewrite: NodeRewrite) -> None:
    """Before opset 11 the nearest pixel lay below where an axis grows, above where it shrinks."""
    mode = rewrite.attributes.get("mode")
    rewrite.put(coordinate_transformation_mode="asymmetric")
    x, scales = rewrite.inputs
    roi = rewrite.constant([], np.float32)
    if mode is None or mode.value == "nearest":
        growth, scales = _growth_and_shrinkage(rewrite, scales)
        floor = {**rewrite.attributes, "nearest_mode": ir.AttrString("nearest_mode", "floor")}
        if scales is None:
            scales = growth
            rewrite.attributes = floor
        else:
            if growth is not None:
                x = rewrite.emit("Resize", x, roi, growth, **{n: a.value for n, a in floor.items()})
            rewrite.put(nearest_mode="ceil")
    rewrite.inputs = [x, roi, scales]


def _growth_and_shrinkage(
    rewrite: NodeRewrite, scales: ir.Value | None
) -> tuple[ir.Value | None, ir.Value | None]:
    """Split scales into those above and those below 1; None for what no axis does."""
    tensor = ir.convenience.get_const_tensor(scales) if scales is not None else None
    if tensor is None:
        one = rewrite.constant([1], np.float32)
        return rewrite.emit("Max", scales, one), rewrite.emit("Min", scales, one)
    numbers = tensor.numpy()
    grows, shrinks = (numbers > 1).any(), (numbers < 1).any()
    if not shrinks or not grows:
        return (None, scales) if shrinks else (scales, None)
    growth, shrinkage = np.maximum(numbers, 1), np.minimum(numbers, 1)
    return rewrite.constant(growth, np.float32), rewrite.constant(shrinkage, np.float32)


@adapter(12, "Dropout")
def _dropout_ratio_is_input(rewrite: NodeRewrite) -> None:
    rewrite.inputs.append(rewrite.constant(rewrite.take("ratio", 0.5), np.float32))


# Opsets 13 to 23


REDUCTIONS = ["L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare"]


@adapter(13, "ReduceSum", "Squeeze", "Unsqueeze")
@adapter(18, *[f"Reduce{name}" for name in REDUCTIONS])
def _axes_are_input(rewrite: NodeRewrite) -> None:
    axes = rewrite.take("axes")
    if axes:
        rewrite.inputs.append(rewrite.constant(axes))


@adapter(13, "Split")
def _split_is_input(rewrite: NodeRewrite) -> None:
    split = rewrite.take("split")
    if split:
        rewrite.inputs.append(rewrite.constant(split))


@adapter(13, "Hardmax", "LogSoftmax", "Softmax")
def _softmax_of_one_axis(rewrite: NodeRewrite) -> None:
    """Before opset 13 all axes from `axis` on counted as one."""
    axis, data = rewrite.take("axis", 1), rewrite.inputs[0]
    rank = None if data is None or data.shape is None else len(data.shape)
    if rank and not -rank <= axis < rank:
        raise InvalidModel(
            f"node {rewrite.node.name!r} ({rewrite.op_type}): attribute 'axis' is {axis}, expected "
            f"a number from {-rank} to {rank - 1}"
        )
    if axis == -1 or (rank and axis == rank - 1):
        rewrite.put(axis=-1)
        return
    flat = rewrite.emit("Flatten", data, axis=axis)
    flat = rewrite.emit(rewrite.op_type, flat, axis=-1)
    rewrite.inputs = [flat, rewrite.emit("Shape", data)]
    rewrite.op_type = "Reshape"
    rewrite.put(allowzero=1)  # sizes are those of the data


@adapter(13, "Resize")
def _resize_by_scales_or_sizes(rewrite: NodeRewrite) -> None:
    mode = rewrite.attributes.get("coordinate_transformation_mode")
    if mode is None or mode.value != "tf_crop_and_resize":
        rewrite.inputs[1] = None
    if len(rewrite.inputs) > 3 and rewrite.inputs[3] is not None:
        rewrite.inputs[2] = None


@adapter(14, "BatchNormalization")
def _batch_normalization_has_one_output(rewrite: NodeRewrite) -> None:
    rewrite.drop_extra_outputs("it trains")


@adapter(16, "RoiAlign")
def _roi_align_without_shift(rewrite: NodeRewrite) -> None:
    rewrite.put(coordinate_transformation_mode="output_half_pixel")


@adapter(18, "Split")
def _split_counts_outputs(rewrite: NodeRewrite) -> None:
    if len(rewrite.inputs) < 2 or rewrite.inputs[1] is None:
        rewrite.put(num_outputs=len(rewrite.node.outputs))


@adapter(20, "DFT")
def _dft_axis_is_input(rewrite: NodeRewrite) -> None:
    rewrite.inputs += [None] * (2 - len(rewrite.inputs))
    rewrite.inputs.append(rewrite.constant(rewrite.take("axis", 1)))


@adapter(20, "GridSample")
def _grid_sample_modes(rewrite: NodeRewrite) -> None:
    mode = rewrite.take("mode", "bilinear")
    rewrite.put(mode={"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode))


@adapter(21, "GroupNormalization")
def _group_normalization_per_channel(rewrite: NodeRewrite) -> None:
    data, groups = rewrite.inputs[0], rewrite.attributes["num_groups"].value
    if data is None or data.shape is None or not isinstance(data.shape[1], int):
        raise NotExpressible("the number of its channels is not known")
    each = data.shape[1] // groups
    for index in (1, 2):
        column = rewrite.emit("Unsqueeze", rewrite.inputs[index], rewrite.constant([1]))
        wide = rewrite.emit("Expand", column, rewrite.constant([groups, each]))
        rewrite.inputs[index] = rewrite.emit("Reshape", wide, rewrite.constant([-1]))


@adapter(23, "QuantizeLinear")
def divide_in_float32(rewrite: NodeRewrite) -> None:
    """Since opset 23 quotients have the type of the scale, where nothing else is said."""
    scale = rewrite.inputs[1]
    if scale is None or scale.dtype != ir.DataType.FLOAT:
        rewrite.put(precision=int(ir.DataType.FLOAT))
