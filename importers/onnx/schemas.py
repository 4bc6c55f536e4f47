"""Schemas of operators as onnx has them: the numbers of inputs and outputs, and attributes."""

from __future__ import annotations

import functools
from typing import Any

import onnx


class Schema:
    """Parts of an operator's schema that are checked, read once: onnx copies at each access."""

    def __init__(self, schema: onnx.defs.OpSchema) -> None:
        self.since_version = schema.since_version
        self.deprecated = schema.deprecated
        self.inputs, self.most_inputs = schema.min_input, schema.max_input
        self.outputs, self.most_outputs = schema.min_output, schema.max_output
        attributes: dict[str, Any] = dict(schema.attributes)
        self.attributes = {name: int(a.type) for name, a in attributes.items()}
        self.required = {name for name, a in attributes.items() if a.required}


@functools.cache
def schema_of(op_type: str, domain: str, version: int) -> Schema | None:
    """Return the schema of an operator in an opset; None where there is no such operator."""
    try:
        return Schema(onnx.defs.get_schema(op_type, version, domain))
    except onnx.defs.SchemaError:
        return None


@functools.cache
def known_domains() -> frozenset[str]:
    """Domains of which onnx has operators."""
    return frozenset(schema.domain for schema in onnx.defs.get_all_schemas())


@functools.cache
def introduced(op_type: str, domain: str) -> int:
    """Return the opset that introduced an operator; 0 where there is none."""
    history = onnx.defs.get_all_schemas_with_history()
    versions = [s.since_version for s in history if s.name == op_type and s.domain == domain]
    return min(versions, default=0)
