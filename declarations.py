"""Declared shapes of a model's outputs, kept aside while nothing shows that they are right.

They prove nothing, so nobody who changes a model may see them. But a written model needs them:
ONNX wants a shape for each output, and nothing else may tell how many axes one has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

_DECLARED = "sardonyx.declared"
_RESTORED = "sardonyx.restored"


def keep_aside(model: ir.Model, shapes: Mapping[str, ir.Shape]) -> None:
    """Remember the declared shapes of outputs, by name."""
    model.graph.meta[_DECLARED] = shapes


def restore(model: ir.Model) -> None:
    """Give outputs of unknown rank their declared shapes."""
    declared = model.graph.meta.get(_DECLARED, {})
    unknown = [value for value in model.graph.outputs if value.shape is None]
    restored = [value for value in unknown if value.name in declared]
    for value in restored:
        value.shape = declared[value.name]
    model.graph.meta[_RESTORED] = [value.name for value in restored]


def forget(model: ir.Model) -> None:
    """Take the shapes away that were restored."""
    restored = model.graph.meta.pop(_RESTORED, ())
    for value in model.graph.outputs:
        if value.name in restored:
            value.shape = None
