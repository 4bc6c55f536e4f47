"""Freezing of functions: variables become constants, tables are taken out with their contents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...errors import UnsupportedModel
from .tables import Tables

_NAMED = 5  # nodes that an error names


def freeze(
    tf: Any, function: Any, inputs: Sequence[str], outputs: Sequence[str]
) -> tuple[Any, Tables]:
    """Return the GraphDef of a concrete function, and the contents of its lookup tables.

    Parameters
    ----------
    tf : module
    function : ConcreteFunction
    inputs, outputs : sequence of str
        Its tensors.
    """
    from tf2onnx import tf_loader

    # Tables are found by the function's captures; the object that owns them is not needed.
    return tf_loader.from_trackable(tf.Module(), function, list(inputs), list(outputs), False)


def tables_of(tf: Any, session: Any, definition: Any) -> Tables:
    """Return the contents of the tables that a GraphDef of TensorFlow 1 names, from its session."""
    from tf2onnx.tf_utils import get_hash_table_info

    tables = {}
    for info in get_hash_table_info(definition):
        if info.shared_name is not None:
            kinds = tf.as_dtype(info.key_dtype), tf.as_dtype(info.val_dtype)
            handle = tf.raw_ops.HashTableV2(
                key_dtype=kinds[0], value_dtype=kinds[1], shared_name=info.shared_name
            )
            contents = tf.raw_ops.LookupTableExportV2(
                table_handle=handle, Tkeys=kinds[0], Tvalues=kinds[1]
            )
            tables[info.shared_name] = tuple(session.run(list(contents)))
    return tables


def refuse_writes(definition: Any, what: str) -> None:
    """Refuse a graph with nodes that write variables or tables.

    Raises
    ------
    UnsupportedModel
        Names the nodes.
    """
    writers = [node for node in _called(definition) if _writes(node.op)]
    if writers:
        nodes = ", ".join(f"{node.name!r} ({node.op})" for node in writers[:_NAMED])
        raise UnsupportedModel(
            f"{what} writes variables: {nodes}; a model in ONNX has no state between runs, so "
            "let the function take the old value as an input and return the new one"
        )


def _called(definition: Any) -> Iterator[Any]:
    """Nodes of a graph and of the functions that it calls; its library may hold others."""
    functions = {each.signature.name: each for each in definition.library.function}
    waiting = [definition.node]
    while waiting:
        for node in waiting.pop():
            yield node
            attributes = node.attr.values()
            names = [node.op, *(each.func.name for each in attributes)]
            names += [each.name for attribute in attributes for each in attribute.list.func]
            waiting += [functions.pop(name).node_def for name in names if name in functions]


def _writes(kind: str) -> bool:
    return kind.startswith(
        ("Assign", "ResourceApply", "ResourceScatter", "ResourceStridedSliceAssign")
    ) or (kind in ("LookupTableInsertV2", "LookupTableImportV2", "LookupTableRemoveV2"))
