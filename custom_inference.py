"""Inference of types by onnx through operators that it does not know.

These are custom operators, by their shape rules, and those of com.microsoft that have a kernel; and
Attention, whose results onnx 1.23 gives sizes of 0 where it does not know them, and no axes where
it knows no rank: it goes by another domain meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from .custom_operators import CustomOperator, OpenSize, TensorType, all_operators, attribute_values
from .inference_faults import needs_input_type
from .logs import silenced

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

Size = int | str | None
"""Size of an axis: a number, a name, or not known."""

_LIKE_INPUT = ("QuickGelu", "Inverse")
"""Operators of com.microsoft, version 1, whose result has the type of their input."""
_LSTM = "DynamicQuantizeLSTM"
"""Another one, of a LSTM's results; the gates of its third input are the last axis."""

_ATTENTION, _DISGUISE = "Attention", "sardonyx.inference"

_lock = threading.RLock()


@contextmanager
def known_to_onnx() -> Iterator[None]:
    """Let onnx know such operators meanwhile: its table is the whole process's."""
    import onnx

    with _lock:
        entered = []
        for schema in _schemas():
            with suppress(onnx.defs.SchemaError):  # somebody else has told onnx of it
                onnx.defs.register_schema(schema)
                entered.append(schema)
        try:
            yield
        finally:
            for schema in entered:
                onnx.defs.deregister_schema(schema.name, schema.since_version, schema.domain)


def infer(model: ir.Model) -> None:
    """Fill in types and shapes by onnx's inference, unless it would end the process.

    It does not follow contents: the pass over shape computations does, and onnx would write all
    numbers of a Range as sizes, however many.
    """
    import onnx_ir as ir
    from onnx_ir.passes import common

    versions = model.opset_imports
    for node in model.graph.all_nodes():
        is_typed = all(value is None or value.type is not None for value in node.inputs)
        version = versions.get(node.domain, 1)
        if not is_typed and needs_input_type(node.domain, node.op_type, version):
            return
    # Its warnings about sequences and the like concern nothing that passes change. A result that
    # holds maps has a type that onnx_ir cannot read: then what was inferred before stays.
    # Values whose type is not known go without their shapes.
    loggers = ("onnx_ir.passes.common.shape_inference", "onnx_ir.serde")
    quiet = silenced(*loggers, level=logging.ERROR)
    nodes = disguise(model.graph.all_nodes())
    if nodes:
        model.graph.opset_imports[_DISGUISE] = 1
    try:
        with quiet, known_to_onnx(), suppress(ir.serde.SerdeError):
            common.ShapeInferencePass(check_type=False, strict_mode=False, data_prop=False)(model)
    finally:
        model.graph.opset_imports.pop(_DISGUISE, None)
        show(nodes)


def infer_protobuf(model: onnx.ModelProto, **options: bool) -> onnx.ModelProto:
    """Return a model with types and shapes, as ``onnx.shape_inference.infer_shapes`` does."""
    import onnx

    if not disguise(_protobuf_nodes(model)):
        return onnx.shape_inference.infer_shapes(model, **options)
    for each in (model, *model.functions):
        each.opset_import.add(domain=_DISGUISE, version=1)
    results = [model]
    try:
        results.append(onnx.shape_inference.infer_shapes(model, **options))
    finally:
        for result in results:
            show(_protobuf_nodes(result))
            for each in (result, *result.functions):
                del each.opset_import[-1]
    return results[-1]


def _protobuf_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Nodes of a model, of its functions, and of graphs inside them."""
    holders: list[Any] = [model.graph, *model.functions]
    while holders:
        for node in holders.pop().node:
            yield node
            for attribute in node.attribute:
                holders += [attribute.g] if attribute.HasField("g") else attribute.graphs


def disguise(nodes: Iterable[Any]) -> list[Any]:
    """Give nodes that onnx infers wrongly another domain; returns them."""
    found = [node for node in nodes if node.op_type == _ATTENTION and not node.domain]
    for node in found:
        node.domain = _DISGUISE
    return found


def show(nodes: Iterable[Any]) -> None:
    """Give such nodes their own domain again."""
    for node in nodes:
        if node.domain == _DISGUISE:
            node.domain = ""


def _schemas() -> list[Any]:
    """Return schemas of all that onnx is to know."""
    rules = dict.fromkeys(_LIKE_INPUT, _infer_like_input) | {_LSTM: _infer_lstm}
    own = [_any_schema(name, "com.microsoft", 1, rule) for name, rule in rules.items()]
    own.append(_any_schema(_ATTENTION, _DISGUISE, 1, _infer_attention))
    return own + [
        _any_schema(
            custom.name, custom.domain, custom.version,
            lambda context, custom=custom: _infer(custom, context),
        )
        for custom in all_operators()
    ]  # fmt: skip


def _any_schema(name: str, domain: str, version: int, infer_types: Any) -> Any:
    """Return a schema of any inputs and outputs, and the inference of their types."""
    from onnx.defs import OpSchema, get_schema

    types = sorted(get_schema("Identity").inputs[0].types)
    schema = OpSchema(
        name, domain, version, "", inputs=[_formal("inputs")], outputs=[_formal("outputs")],
        type_constraints=[("T", types, "")],
    )  # fmt: skip
    schema.set_type_and_shape_inference_function(infer_types)
    return schema


def _infer_like_input(context: Any) -> None:
    if context.get_num_inputs() and context.get_input_type(0) is not None:
        context.set_output_type(0, context.get_input_type(0))


def _infer_lstm(context: Any) -> None:
    """Results are (steps, directions, batch, size), and states (directions, batch, size)."""
    import onnx

    x, r = context.get_input_type(0), context.get_input_type(2)
    if x is None or r is None:
        return
    sizes = [kind.tensor_type.shape.dim for kind in (x, r)]
    if [len(each) for each in sizes] != [3, 3]:
        return
    (steps, batch, _), (directions, size, _) = sizes
    state = [directions, batch, size]
    for index, dims in enumerate(([steps, *state], state, state)):
        if index < context.get_num_outputs():
            kind = onnx.TypeProto()
            kind.tensor_type.elem_type = x.tensor_type.elem_type
            kind.tensor_type.shape.dim.extend(dims)
            context.set_output_type(index, kind)


def _infer_attention(context: Any) -> None:
    """Results are as the queries are, with rows as long as those of values; caches; scores."""
    import onnx

    q, k, v = kinds = [context.get_input_type(index) for index in range(3)]
    shapes: list[list[Size] | None] = [None] * 4
    if all(kind is not None and kind.tensor_type.HasField("shape") for kind in kinds):
        ranks = {len(kind.tensor_type.shape.dim) for kind in kinds}
        if ranks in ({3}, {4}):
            shapes = _attention_shapes(context, kinds, ranks.pop() == 3)
    for index, (source, shape) in enumerate(zip((q, k, v, q), shapes, strict=True)):
        element = source.tensor_type.elem_type if source is not None else 0
        if element and index < context.get_num_outputs():
            context.set_output_type(index, onnx.helper.make_tensor_type_proto(element, shape))


def _attention_shapes(context: Any, kinds: list[Any], is_flat: bool) -> list[list[Size] | None]:
    """Shapes of the outputs; ``is_flat``: heads lie side by side."""
    (batch, heads, queries, _), (_, shared, keys, size), (_, _, _, width) = (
        _by_heads(context, kind, name) if is_flat else _sizes(kind)
        for kind, name in zip(kinds, ("q_num_heads", *["kv_num_heads"] * 2), strict=True)
    )
    past = context.get_input_type(4) if context.get_num_inputs() > 4 else None
    if context.get_num_inputs() > 4 and context.has_input(4):
        before = _sizes(past) if past is not None else []
        held = before[2] if len(before) == 4 else None
        keys = held + keys if isinstance(held, int) and isinstance(keys, int) else None
    y = [batch, heads, queries, width]
    if is_flat:
        row = heads * width if isinstance(heads, int) and isinstance(width, int) else None
        y = [batch, queries, row]
    cache = [batch, shared, keys]
    return [y, [*cache, size], [*cache, width], [batch, heads, queries, keys]]


def _sizes(kind: Any) -> list[Size]:
    """Sizes of axes, their names, or None."""
    return [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
            for dim in kind.tensor_type.shape.dim]  # fmt: skip


def _by_heads(context: Any, kind: Any, name: str) -> list[Size]:
    """Sizes of an operand: batch, heads, rows, and elements of a row of one head."""
    batch, rows, width = _sizes(kind)
    attribute = context.get_attribute(name)
    heads = attribute.i if attribute is not None and attribute.i > 0 else None
    size = width // heads if heads is not None and isinstance(width, int) else None
    return [batch, heads, rows, size]


def _formal(name: str) -> Any:
    """Any number of values of any types."""
    from onnx.defs import OpSchema

    option = OpSchema.FormalParameterOption.Variadic
    return OpSchema.FormalParameter(
        name, "T", "", param_option=option, is_homogeneous=False, min_arity=0
    )


def _infer(custom: CustomOperator, context: Any) -> None:
    """Tell onnx what a rule says; what it raises is said by who lowers the model."""
    try:
        types = custom.results(_inputs(context), _attributes(custom, context))
        for index, each in enumerate(types[: context.get_num_outputs()]):
            context.set_output_type(index, _proto(each))
    except Exception:
        return


def _attributes(custom: CustomOperator, context: Any) -> dict[str, Any]:
    import onnx

    named = ((name, context.get_attribute(name)) for name in custom.attributes)
    node = onnx.NodeProto()
    for name, attribute in named:
        if attribute is not None:
            node.attribute.add().CopyFrom(attribute)
            node.attribute[-1].name = name
    return attribute_values(node)


def _inputs(context: Any) -> list[TensorType | None]:
    import onnx

    found: list[TensorType | None] = []
    for index in range(context.get_num_inputs()):
        proto = context.get_input_type(index) if context.has_input(index) else None
        if proto is None:
            found.append(None)
            continue
        kind = proto.tensor_type
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        shape = [_size(dim) for dim in kind.shape.dim] if kind.HasField("shape") else None
        if shape is None:
            raise ValueError("a rank is not known")
        found.append(TensorType(dtype, shape))
    return found


def _size(dim: Any) -> Any:
    return dim.dim_value if dim.HasField("dim_value") else OpenSize(dim.dim_param)


def _proto(kind: TensorType) -> Any:
    """Write a type as a TypeProto; only sizes that an input has, too, have a name."""
    import onnx

    element = onnx.TensorProto.STRING
    if kind.dtype != object:
        element = onnx.helper.np_dtype_to_tensor_dtype(kind.dtype)
    sizes = kind.shape
    if sizes is not None:
        sizes = [each if isinstance(each, int) else getattr(each, "name", "") or None
                 for each in sizes]  # fmt: skip
    return onnx.helper.make_tensor_type_proto(element, sizes)
