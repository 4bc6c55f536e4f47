"""Inference of types by onnx through custom operators, by their shape rules."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .custom_operators import CustomOperator, OpenSize, TensorType, all_operators, attribute_values

_lock = threading.RLock()


@contextmanager
def known_to_onnx() -> Iterator[None]:
    """Let onnx know the custom operators meanwhile: its table is the whole process's."""
    operators = all_operators()
    if not operators:
        yield
        return
    import onnx

    with _lock:
        entered = []
        for custom in operators:
            with suppress(onnx.defs.SchemaError):  # somebody else has told onnx of it
                onnx.defs.register_schema(_schema(custom))
                entered.append(custom)
        try:
            yield
        finally:
            for custom in entered:
                onnx.defs.deregister_schema(custom.name, custom.version, custom.domain)


def _schema(custom: CustomOperator) -> Any:
    from onnx.defs import OpSchema, get_schema

    types = sorted(get_schema("Identity").inputs[0].types)
    schema = OpSchema(
        custom.name, custom.domain, custom.version, "",
        inputs=[_formal("inputs")], outputs=[_formal("outputs")],
        type_constraints=[("T", types, "")],
    )  # fmt: skip
    schema.set_type_and_shape_inference_function(lambda context: _infer(custom, context))
    return schema


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
