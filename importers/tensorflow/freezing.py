"""Freezing of functions: variables become constants, tables are taken out with their contents."""

from __future__ import annotations

from collections.abc import Sequence
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


def refuse_writes(definition: Any, what: str) -> None:
    """Refuse a graph with nodes that write variables or tables.

    Raises
    ------
    UnsupportedModel
        Names the nodes.
    """
    bodies = [node for function in definition.library.function for node in function.node_def]
    writers = [node for node in [*definition.node, *bodies] if _writes(node.op)]
    if writers:
        nodes = ", ".join(f"{node.name!r} ({node.op})" for node in writers[:_NAMED])
        raise UnsupportedModel(
            f"{what} writes variables: {nodes}; a model in ONNX has no state between runs, so "
            "let the function take the old value as an input and return the new one"
        )


def _writes(kind: str) -> bool:
    return kind.startswith(
        ("Assign", "ResourceApply", "ResourceScatter", "ResourceStridedSliceAssign")
    ) or (kind in ("LookupTableInsertV2", "LookupTableImportV2", "LookupTableRemoveV2"))
