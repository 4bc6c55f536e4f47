"""Validity of nodes, checked before shape rules read them: kernels trust their records.

What all operators share is checked here, the rest by the rules in their records. Sizes that are
known only at run time are checked when a program is bound (`Emission.check`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import onnx

from ..errors import InvalidModel, SardonyxError
from .graph import Info, Node, OnHost, describe, refuse
from .ops.registry import OPERATORS
from .symbolic import product

_FLAGS = frozenset(
    [
        "allowzero", "ceil_mode", "exclusive", "fmod", "keepdims", "largest", "reverse", "sorted",
        "noop_with_empty_axes", "select_last_index", "transA", "transB", "upper",
    ]
)  # fmt: skip


def check_node(node: Node) -> None:
    """Check types and flags of a node of the standard domain, and what its operator's rules say.

    Raises
    ------
    InvalidModel
        Names the node, the attribute or tensor, what was expected and what came.
    """
    if not node.ir.domain:
        _check_types(node)
        for name in node.ir.attributes:
            if name in _FLAGS and node.attribute(name) not in (0, 1):
                refuse(node, f"attribute {name!r}", node.attribute(name), "0 or 1")
    operator = OPERATORS.get(node.key)
    for rule in operator.rules if operator is not None else ():
        rule(node)


@contextmanager
def naming(node: Node) -> Iterator[None]:
    """Let what Python raises while a node is lowered name the node and its inputs.

    Rules state what is commonly wrong; this is for the rest, such as lists of unequal lengths.
    """
    try:
        yield
    except (SardonyxError, OnHost):
        raise
    except Exception as error:
        inputs = ", ".join(map(describe, node.inputs))
        raise InvalidModel(
            f"node {node.name!r} ({node.op_type}) is not valid for the inputs {inputs}: {error!r}"
        ) from error


# --- types ------------------------------------------------------------------------------------


@functools.cache
def _formals(op_type: str, version: int) -> tuple[str, ...] | None:
    """Names of the types of the formal inputs, the last one repeated if it is variadic."""
    try:
        schema = onnx.defs.get_schema(op_type, version)
    except onnx.defs.SchemaError:
        return None
    last = schema.inputs[-1] if schema.inputs else None
    if last is not None and last.option == onnx.defs.OpSchema.FormalParameterOption.Variadic:
        return tuple(f.type_str for f in schema.inputs) * (1 if last.is_homogeneous else 0)
    return tuple(f.type_str for f in schema.inputs)


def _check_types(node: Node) -> None:
    """Inputs of one type variable have one type."""
    formals = _formals(node.op_type, node.version)
    if not formals:
        return
    first: dict[str, Info] = {}
    for index, info in enumerate(node.inputs):
        if info is None or info.dtype == "object":
            continue
        other = first.setdefault(formals[min(index, len(formals) - 1)], info)
        if other.dtype != info.dtype:
            what = f"type of {info.name!r}"
            refuse(node, what, info.dtype, f"{other.dtype}, that of {other.name!r}")


# --- results ---------------------------------------------------------------------------------


def check_infos(node: Node) -> None:
    """Refuse results that no array can have.

    Raises
    ------
    InvalidModel
        A size is negative, or one result has more elements than memory has addresses.
    """
    for info in node.infos:
        numbers = [dim for dim in info.shape or () if isinstance(dim, int)]
        if any(dim < 0 for dim in numbers) or product(numbers) >= 2**46:  # type: ignore[operator]
            inputs = ", ".join(map(describe, node.inputs))
            expected = f"sizes from 0 on, of fewer than 2**46 elements; the inputs are {inputs}"
            refuse(node, f"shape of its result {info.name!r}", list(info.shape or ()), expected)
