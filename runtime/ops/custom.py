"""Custom operators: functions of elements as terms of kernels, functions of arrays on the host."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir

from ...custom_operators import CustomOperator, TensorType, all_operators, attribute_values, bound
from ...errors import InvalidModel
from ...kernels.local_functions import name_of
from ..graph import Info, Node, dtype_name
from ..tensors import short_name
from .elementwise import broadcast
from .registry import OPERATORS, Operator
from .terms import Term, call
from .traced import traced


def enter_custom_operators() -> None:
    """Enter those that are registered into the table of operators."""
    for custom in all_operators():
        if (custom.domain, custom.key) not in OPERATORS:
            OPERATORS[custom.domain, custom.key] = _operator(custom)


def _operator(custom: CustomOperator) -> Operator:
    rules = (partial(_check, custom),)
    describe = partial(_describe, custom)
    if not custom.is_elementwise:
        return Operator(rules=rules, describe=describe)
    return Operator(
        rules=rules,
        describe=describe,
        infer=partial(_infer_elements, custom),
        term=partial(_term, custom),
        is_alone=True,  # its neighbours stay explicit SIMD, and their kernels in the cache
        layout="as_input",
    )


def _attributes(node: Node) -> dict[str, Any]:
    return attribute_values(ir.serde.serialize_node(node.ir))


def _check(custom: CustomOperator, node: Node) -> None:
    where = f"node {node.name!r} ({node.op_type})"
    custom.check(where, len(node.inputs), node.ir.attributes)
    if custom.is_elementwise and len(node.outputs) != 1:
        raise InvalidModel(f"{where} has {len(node.outputs)} outputs; its function gives one")
    kinds = {attribute.type for attribute in node.ir.attributes.values()}
    if custom.is_elementwise and ir.AttributeType.TENSOR in kinds:
        raise InvalidModel(f"{where}: a function of elements takes no tensor as an attribute")


# --- functions of arrays ----------------------------------------------------------------------


def _describe(custom: CustomOperator, node: Node) -> list[Info]:
    """Describe the outputs by the operator's rule; nothing is known of them if a rank is not."""
    given = [_type_of(node, index) for index in range(len(node.inputs))]
    if any(each is not None and each.shape is None for each in given):
        return [Info(value.name or "", "object", None) for value in node.outputs]
    types = custom.results(given, _attributes(node))
    if len(types) < len(node.outputs):
        where = f"node {node.name!r} ({node.op_type})"
        raise InvalidModel(
            f"{where} has {len(node.outputs)} outputs; its shape rule describes {len(types)}"
        )
    return [_info(value, each) for value, each in zip(node.outputs, types, strict=False)]


def _type_of(node: Node, index: int) -> TensorType | None:
    info, value = node.inputs[index], node.values[index]
    if info is None or value is None:
        return None
    if info.dtype != "object":
        return TensorType(info.dtype, info.shape)
    is_tensor = isinstance(value.type, ir.TensorType) and value.dtype != ir.DataType.STRING
    return TensorType(value.dtype.numpy() if is_tensor and value.dtype else object, info.shape)


def _info(value: ir.Value, kind: TensorType) -> Info:
    is_text = kind.dtype == np.dtype(object)
    value.dtype = ir.DataType.STRING if is_text else ir.DataType.from_numpy(kind.dtype)
    return Info(value.name or "", dtype_name(value.dtype), kind.shape)


# --- functions of elements --------------------------------------------------------------------


def _infer_elements(custom: CustomOperator, node: Node) -> list[Info]:
    infos = [info for info in node.inputs if info is not None]
    dtype = infos[0].dtype if custom.dtype is None else str(np.dtype(custom.dtype))
    return [node.result(broadcast([info.dims for info in infos]), dtype)]


def _term(custom: CustomOperator, node: Node, operands: Sequence[Term]) -> Term:
    attributes, present = _attributes(node), tuple(value is not None for value in node.values)
    infos = [*node.inputs, *node.infos]
    if all(info is None or info.dtype == "float32" for info in infos):
        rest = iter(operands)
        given = [next(rest) if is_there else None for is_there in present]
        if (expression := traced(custom.function, given, attributes)) is not None:
            return expression
    function = bound(custom, present, tuple(sorted(attributes.items())))
    name, dtype = name_of(function, custom.title), node.infos[0].dtype
    rounding = "to_bool" if dtype == "bool" else f"to_{short_name(dtype)}"
    return call(rounding, call(name, *operands))
