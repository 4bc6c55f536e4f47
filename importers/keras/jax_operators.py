"""ONNX operators on JAX arrays: a primitive that jax2onnx exports as the operator it names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from ..frameworks import require

_PRIMITIVE = "sardonyx.operator"


def operator(
    op_type: str,
    inputs: Sequence[Any],
    attributes: dict[str, Any],
    outputs: Sequence[tuple[Sequence[Any], str]],
) -> Sequence[Any]:
    """Apply an operator to traced arrays; see `Operator`."""
    results: Sequence[Any] = _primitive().bind(
        *[value for value in inputs if value is not None],
        op_type=op_type,
        present=tuple(value is not None for value in inputs),
        attributes=tuple(
            (k, tuple(v) if isinstance(v, list) else v) for k, v in attributes.items()
        ),
        outputs=tuple((tuple(shape), dtype) for shape, dtype in outputs),
    )
    return results


@cache
def _primitive() -> Any:
    """Make the primitive, and register it with jax2onnx."""
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
            inputs = [next(values) if present else None for present in eqn.params["present"]]
            declared = [ctx.get_value_for_var(var) for var in eqn.outvars]
            names = [value.name or ctx.fresh_name("operator") for value in declared]
            emit = getattr(ctx.builder, eqn.params["op_type"])
            results = emit(*inputs, _outputs=names, **dict(eqn.params["attributes"]))
            for var, value, result in zip(
                eqn.outvars, declared, results if len(names) > 1 else [results], strict=True
            ):
                result.type, result.shape = value.type, value.shape
                ctx.bind_value_for_var(var, result)

    return primitive
