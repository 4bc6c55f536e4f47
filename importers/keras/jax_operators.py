"""Operators of ONNX among those of JAX: a primitive that jax2onnx exports as what it is given."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from .frameworks import require

_PRIMITIVE = "sardonyx.operator"


def operator(
    op_type: str,
    inputs: Sequence[Any],
    attributes: dict[str, Any],
    outputs: Sequence[tuple[Sequence[Any], str]],
) -> Sequence[Any]:
    """Make an operator of traced arrays; see `keras_recurrent.Operator`.

    It has shapes and types, and is exported; it is not computed.
    """
    found: Sequence[Any] = _primitive().bind(
        *[value for value in inputs if value is not None],
        op_type=op_type,
        given=tuple(value is not None for value in inputs),
        attributes=tuple(
            (k, tuple(v) if isinstance(v, list) else v) for k, v in attributes.items()
        ),
        outputs=tuple((tuple(shape), dtype) for shape, dtype in outputs),
    )
    return found


@cache
def _primitive() -> Any:
    """Make the primitive, and tell jax2onnx of it."""
    abstract = require("jax.core", "jax").ShapedArray
    plugins = require("jax2onnx.plugins.plugin_system", "jax")
    primitive = require("jax.extend.core", "jax").Primitive(_PRIMITIVE)
    primitive.multiple_results = True

    @primitive.def_abstract_eval
    def shapes(*_: Any, outputs: Any, **others: Any) -> list[Any]:
        return [abstract(shape, np.dtype(dtype)) for shape, dtype in outputs]

    @plugins.register_primitive(jaxpr_primitive=_PRIMITIVE)
    class Operator(plugins.PrimitiveLeafPlugin):  # type: ignore[name-defined]
        """Writes the operator."""

        def lower(self, ctx: Any, eqn: Any) -> None:
            values = iter([ctx.get_value_for_var(var) for var in eqn.invars])
            inputs = [next(values) if given else None for given in eqn.params["given"]]
            wanted = [ctx.get_value_for_var(var) for var in eqn.outvars]
            names = [value.name or ctx.fresh_name("operator") for value in wanted]
            make = getattr(ctx.builder, eqn.params["op_type"])
            made = make(*inputs, _outputs=names, **dict(eqn.params["attributes"]))
            for var, value, result in zip(
                eqn.outvars, wanted, made if len(names) > 1 else [made], strict=True
            ):
                result.type, result.shape = value.type, value.shape
                ctx.bind_value_for_var(var, result)

    return primitive
