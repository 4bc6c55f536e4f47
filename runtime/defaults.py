"""Defaults: initializers that are inputs, too, and may be given instead.

As long as none is given they are constants like others, folded and packed. The first time that some
are given a program is made in which those are inputs.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING

from ..errors import InvalidArgument
from ..notes import DEFAULTS_NOTE
from .program import Port

if TYPE_CHECKING:
    import onnx_ir as ir


def settle_defaults(model: ir.Model, given: Collection[str] = ()) -> None:
    """Let defaults be inputs if they are given, constants if not, in place.

    Raises
    ------
    InvalidArgument
        A name is given that is no default of the model.
    """
    graph = model.graph
    defaults = {v.name: v for v in graph.inputs if v.name and v.name in graph.initializers}
    if unknown := sorted(set(given) - defaults.keys()):
        raise InvalidArgument(f"the model has no defaults {unknown}: it was optimized with them")
    if not defaults:
        return
    model.metadata_props[DEFAULTS_NOTE] = json.dumps([_described(v) for v in defaults.values()])
    for name in given:
        defaults[name].const_value = None
        del graph.initializers[name]
    inputs = [value for value in graph.inputs if value.name not in graph.initializers]
    graph.inputs.clear()
    graph.inputs.extend(inputs)
    if given:
        # Shapes may have been inferred from a default: they are inferred anew.
        for node in graph.all_nodes():
            for value in node.outputs:
                value.shape = None


def _described(value: ir.Value) -> tuple[str | None, str, list[int | str | None]]:
    dtype = "" if value.dtype is None else f"tensor({value.dtype.name.lower()})"
    dims = [dim if isinstance(dim, int) else dim.value for dim in value.shape or ()]
    return value.name, dtype, dims


def noted_defaults(text: str | None) -> list[Port]:
    """Return the defaults that `settle_defaults` noted, as ports without a tensor."""
    return [Port(name, "", dims, -1, [], kind) for name, kind, dims in json.loads(text or "[]")]
