"""Downgrade of a model to an older opset, for consumers that do not know the canonical one."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from ...declarations import restore
from ...errors import SardonyxError, UnsupportedModel
from .adapters import ADAPTERS, REDUCTIONS
from .loader import Loader
from .node_rewrite import AdapterTable, NodeRewrite, NotExpressible, names_taken, register
from .schemas import schema_of
from .upgrade import upgrade

REVERTS: AdapterTable = {}
"""The inverse of the change that an opset made to an operator, by (opset, operator)."""

_revert_of = partial(register, REVERTS)


def downgrade(model: ir.Model, target: int) -> ir.Model:
    """Return `model` in an older opset; weights are shared.

    Operators newer than `target` become the nodes of their function bodies, as the ONNX standard
    defines them. Of the others, those whose meaning changed in between are written the old way.
    (onnx's own version converter fails on most models in this direction.)

    Raises
    ------
    UnsupportedModel
        An operator cannot be expressed in opset `target`; the message names it.
    """
    copy = _with_types(model)
    current = copy.graph.opset_imports[""]
    while _expand_newer(copy, current, target):
        common.InlinePass()(copy)
        common.RemoveUnusedFunctionsPass()(copy)
        common.RemoveUnusedOpsetsPass()(copy)
        copy = _with_types(copy)
    taken = names_taken([copy.graph])
    for version in range(current, target, -1):
        for node in list(copy.graph.all_nodes()):
            if node.domain == "" and (version, node.op_type) in ADAPTERS:
                _revert(node, version, taken)
    copy.graph.opset_imports[""] = target
    for node in copy.graph.all_nodes():
        _drop_defaults(node, current, target)
    try:
        copy = _with_types(copy)
    except SardonyxError as error:
        raise UnsupportedModel(f"not expressible in opset {target}: {error}") from error
    restore(copy)
    return copy


def _with_types(model: ir.Model) -> ir.Model:
    """Return a copy of a model that is checked and has types and shapes; weights are shared."""
    return Loader(b"", None).rebuild(model)


def _revert(node: ir.Node, version: int, taken: set[str]) -> None:
    rewrite = NodeRewrite(node, version, taken)
    try:
        if (version, node.op_type) not in REVERTS:
            raise NotExpressible("its meaning changed")
        REVERTS[version, node.op_type](rewrite)
    except NotExpressible as reason:
        raise UnsupportedModel(
            f"{node.op_type} node {node.name!r} is not expressible in an opset before {version}: "
            f"{reason}"
        ) from None
    rewrite.finish()


def _drop_defaults(node: ir.Node, current: int, target: int) -> None:
    """Remove attributes that the old opset lacks, where they state its fixed behaviour."""
    if node.domain:
        return
    old, new = (onnx.defs.get_schema(node.op_type, v, "").attributes for v in (target, current))
    for name in [name for name in node.attributes if name in new and name not in old]:
        default = onnx.helper.get_attribute_value(new[name].default_value)
        if node.attributes[name].value in (default, default or None):
            del node.attributes[name]
    if "allowzero" in node.attributes and "allowzero" not in old and _has_sizes_of_a_tensor(node):
        del node.attributes["allowzero"]


def _has_sizes_of_a_tensor(node: ir.Node) -> bool:
    """Tell whether a Reshape gives the sizes of some tensor: none is 0 but of empty ones."""
    shape = node.inputs[1]
    maker = None if shape is None else shape.producer()
    return maker is not None and maker.op_type == "Shape"


def _pop_constant_input(rewrite: NodeRewrite, index: int) -> list[int] | None:
    """Remove an input that must be constant; returns its values, None where it is absent."""
    if len(rewrite.inputs) <= index or rewrite.inputs[index] is None:
        return None
    values = rewrite.constant_input(index).tolist()
    rewrite.inputs[index] = None
    while rewrite.inputs and rewrite.inputs[-1] is None:
        rewrite.inputs.pop()
    return values


@_revert_of(13, "ReduceSum", "Squeeze", "Unsqueeze")
@_revert_of(18, *[f"Reduce{name}" for name in REDUCTIONS])
def _axes_are_attribute(rewrite: NodeRewrite) -> None:
    axes = _pop_constant_input(rewrite, 1)
    nothing = rewrite.take("noop_with_empty_axes", 0)
    if axes:
        rewrite.put(axes=axes)
    elif nothing:
        rewrite.op_type = "Identity"
        rewrite.take("keepdims")


@_revert_of(23, "QuantizeLinear")
def _quotients_were_float32(rewrite: NodeRewrite) -> None:
    scale = rewrite.inputs[1]
    kind = rewrite.take("precision", 0) or (scale.dtype if scale is not None else None)
    if kind != ir.DataType.FLOAT:
        raise NotExpressible(f"its quotients are of {kind}, not of float32")


@_revert_of(18, "Split")
def _split_equally(rewrite: NodeRewrite) -> None:
    parts = rewrite.take("num_outputs")
    value, axis = rewrite.inputs[0], rewrite.attributes.get("axis")
    if parts is None:
        return
    size = value.shape[axis.value if axis else 0] if value and value.shape else None
    if not isinstance(size, int) or size % parts:
        raise NotExpressible("it may split into unequal parts")


@_revert_of(13, "Split")
def _split_is_attribute(rewrite: NodeRewrite) -> None:
    split = _pop_constant_input(rewrite, 1)
    if split:
        rewrite.put(split=split)


@_revert_of(14, "BatchNormalization")
def _batch_normalization(rewrite: NodeRewrite) -> None:
    if rewrite.take("training_mode", 0):
        raise NotExpressible("it trains")


@_revert_of(13, "Softmax", "LogSoftmax", "Hardmax")
def _softmax(rewrite: NodeRewrite) -> None:
    axis = rewrite.take("axis", -1)
    if axis != -1 and axis != rewrite.rank(0) - 1:
        raise NotExpressible("its axis is not the last")
    rewrite.put(axis=rewrite.rank(0) - 1)


@_revert_of(12, "Dropout")
def _dropout_ratio(rewrite: NodeRewrite) -> None:
    training = _pop_constant_input(rewrite, 2)
    ratio = _pop_constant_input(rewrite, 1)
    if training:
        raise NotExpressible("it trains")
    if ratio is not None:
        rewrite.put(ratio=float(ratio))  # type: ignore[arg-type]


@_revert_of(13, "Resize")
def _resize_states_both(rewrite: NodeRewrite) -> None:
    rewrite.inputs += [None] * (3 - len(rewrite.inputs))
    for index in (1, 2):
        if rewrite.inputs[index] is None:
            rewrite.inputs[index] = rewrite.constant([], np.float32)


@_revert_of(11, "Clip")
def _clip_bounds(rewrite: NodeRewrite) -> None:
    for index, name in ((2, "max"), (1, "min")):
        bound = _pop_constant_input(rewrite, index)
        if bound is not None:
            rewrite.put(**{name: float(bound)})  # type: ignore[arg-type]


@_revert_of(11, "Pad")
def _pads(rewrite: NodeRewrite) -> None:
    if _pop_constant_input(rewrite, 3):
        raise NotExpressible("it names axes")
    value, pads = _pop_constant_input(rewrite, 2), _pop_constant_input(rewrite, 1)
    rewrite.put(pads=pads, value=float(value or 0))  # type: ignore[arg-type]


@_revert_of(10, "Slice")
def _slice_bounds(rewrite: NodeRewrite) -> None:
    steps = _pop_constant_input(rewrite, 4)
    if steps and set(steps) != {1}:
        raise NotExpressible("it has steps")
    axes, ends, starts = (_pop_constant_input(rewrite, index) for index in (3, 2, 1))
    rewrite.put(starts=starts, ends=ends)
    if axes:
        rewrite.put(axes=axes)


@_revert_of(10, "Dropout")
def _dropout_without_mask(rewrite: NodeRewrite) -> None:
    rewrite.drop_extra_outputs("the mask is of another type before opset 10")


@_revert_of(9, "BatchNormalization")
def _batch_normalization_is_spatial(rewrite: NodeRewrite) -> None:
    rewrite.put(spatial=1)


@_revert_of(20, "GridSample")
def _grid_sample(rewrite: NodeRewrite) -> None:
    mode = rewrite.take("mode", "linear")
    rewrite.put(mode={"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode))


def _expand_newer(model: ir.Model, current: int, target: int) -> bool:
    """Declare the bodies of operators that `target` lacks; return whether there are any."""
    expanded = False
    for node in model.graph.all_nodes():
        if node.domain or schema_of(node.op_type, "", target) is not None:
            continue
        function = _body(node, current)
        # A local function cannot bear the name of a standard operator, and bodies of one operator
        # differ by its attributes and inputs: each node calls its own.
        function.domain, function.name = "sardonyx.expanded", f"{node.op_type}_{id(node)}"
        reached, reason = upgrade([function.graph], function.opset_imports[""], current)
        if reached != current:
            raise UnsupportedModel(f"{node.op_type} node {node.name!r}: {reason}")
        function.opset_imports[""] = current
        node.domain, node.op_type = function.domain, function.name
        model.functions[function.identifier()] = function
        model.graph.opset_imports[function.domain] = 1
        expanded = True
    return expanded


def _body(node: ir.Node, current: int) -> ir.Function:
    """Return the definition of an operator by simpler ones.

    Raises
    ------
    UnsupportedModel
        The standard defines none (for these types of its inputs).
    """
    schema: Any = onnx.defs.get_schema(node.op_type, current, "")  # onnx's stubs lack the bodies
    try:
        if schema.has_context_dependent_function:
            version = max(
                v for v in schema.context_dependent_function_opset_versions if v <= current
            )
            types = [_type(value).SerializeToString() for value in node.inputs]
            data = schema.get_context_dependent_function_with_opset_version(
                version, ir.to_proto(node).SerializeToString(), types
            )
        else:
            versions = [v for v in schema.function_opset_versions if v <= current]
            if not versions:
                raise ValueError("the standard defines none")
            version = max(versions)
            data = schema.get_function_with_opset_version(version)
        if not data:
            raise ValueError("the types of its inputs are not known")
    except Exception as error:
        raise UnsupportedModel(
            f"{node.op_type} node {node.name!r} is new in opset {schema.since_version} and has no "
            f"function body that could replace it ({error})"
        ) from error
    function = onnx.FunctionProto.FromString(data)
    del function.output[len(node.outputs) :]  # a body leaves out what the node does not ask for
    return ir.from_proto(function)


def _type(value: ir.Value | None) -> onnx.TypeProto:
    if value is None or value.dtype is None:
        return onnx.TypeProto()
    shape = None
    if value.shape is not None:
        shape = [dim if isinstance(dim, int) else dim.value for dim in value.shape]
    return onnx.helper.make_tensor_type_proto(int(value.dtype), shape)
