"""Custom operators, as onnx's reference implementation runs them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onnx.reference.op_run import OpRun

from ..custom_operators import CustomOperator, attribute_values, find


class Custom(OpRun):
    """A node that a function of the caller's computes."""

    op_schema = None
    operator: CustomOperator

    def _load_attributes(self) -> None:
        self.has_linked_attribute, self.attributes_names_ = False, set()  # none become members
        self._values = attribute_values(self.onnx_node)

    def run(self, *inputs: Any, **_: Any) -> tuple[Any, ...]:
        """Compute the outputs."""
        return self.operator.compute(*inputs, **self._values)

    def _run(self, *inputs: Any, **attributes: Any) -> tuple[Any, ...]:
        raise NotImplementedError


def custom_operators(
    names: Iterable[tuple[str, str]], opsets: dict[str, int]
) -> dict[tuple[str, str], type[OpRun]]:
    """Make classes for those operators of a model that are registered."""
    found: dict[tuple[str, str], type[OpRun]] = {}
    for domain, name in names:
        operator = find(domain, name, opsets.get(domain, 1))
        if operator is not None:
            members = {"op_domain": domain, "operator": operator}
            found[domain, name] = type(name, (Custom,), members)
    return found
