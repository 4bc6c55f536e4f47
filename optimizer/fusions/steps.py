"""Steps of a Loop: their number, and the values inside that are the number of the step."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from ..loops import behind_identities
from ..rewrite import NearMiss, find, op
from ..sizes import Extent, extent, measured
from ..values import attribute, constant, rank, scalar


@dataclass(frozen=True)
class Steps:
    """The steps of a Loop.

    ``trips`` is their number, ``counting`` says which states are the number of the step, from 0.
    """

    body: ir.Graph
    trips: Extent
    counting: frozenset[int]

    def before(self, state: int) -> ir.Value:
        """State before a step: an input of the body."""
        return self.body.inputs[2 + state]

    def after(self, result: int) -> ir.Value:
        """State after a step, an output of the body; behind the states are collected values."""
        return self.body.outputs[1 + result]

    def counts(self, value: ir.Value) -> bool:
        """Tell whether a value inside is the number of the step."""
        return _offset(value, self.body, self.counting) == 0


def steps(loop: ir.Node) -> Steps:
    """Find out how many steps a Loop does.

    Raises
    ------
    NearMiss
        The number is neither a number nor a named size, or the body may stop before.
    """
    body = loop.attributes["body"].as_graph()
    given, begins, *_ = [*loop.inputs, None, None]  # which may be missing at the end
    trips = measured(given)
    if trips is None:
        raise NearMiss("the number of its steps is neither a number nor the size of an axis")
    states = range(len(loop.inputs) - 2)
    counting = frozenset(k for k in states if _is_counter(loop.inputs[2 + k], body, k))
    goes_on = body.outputs[0]
    if begins is not None and not _begins(begins, trips):
        raise NearMiss("it may do no step at all")
    if not _goes_on(goes_on, body, counting, trips):
        raise NearMiss("it may stop before the end")
    return Steps(body, trips, counting)


def _is_counter(initial: ir.Value | None, body: ir.Graph, k: int) -> bool:
    if initial is None or scalar(initial) != 0.0 or rank(initial) != 0:
        return False
    after = behind_identities(body.outputs[1 + k])
    return any(bound["i"] is body.inputs[2 + k] for bound in find(lambda i: i + 1, after))


def _offset(value: ir.Value, body: ir.Graph, counting: frozenset[int]) -> int | None:
    """Constant difference between a value and the number of the step; None if there is none."""
    node = value.producer()
    while node is not None and node.op_type in ("Cast", "Identity") and not node.domain:
        assert node.inputs[0] is not None
        value = node.inputs[0]
        node = value.producer()
    if value is body.inputs[0] or any(value is body.inputs[2 + k] for k in counting):
        return 0
    for bound in find(lambda i: i + 1, value):
        inner = _offset(bound["i"], body, counting)
        if inner is not None:
            return inner + 1
    return None


def _begins(value: ir.Value, trips: Extent) -> bool:
    """Tell whether a condition holds at the beginning, if there is any step to do."""
    array = constant(value)
    if array is not None:
        return bool(array.all())
    for bound in find(lambda a, b: op.And(a, b), value):
        return _begins(bound["a"], trips) and _begins(bound["b"], trips)
    return any(
        scalar(bound["a"]) == 0.0 and measured(bound["b"]) == trips
        for bound in find(lambda a, b: op.Less(a, b), value)
    )


def _goes_on(value: ir.Value, body: ir.Graph, counting: frozenset[int], trips: Extent) -> bool:
    """Tell whether the body goes on after each step but the last."""
    value = behind_identities(value)
    array = constant(value)
    if array is not None:
        return bool(array.all())
    if value is body.inputs[1]:
        return True
    for bound in find(lambda a, b: op.And(a, b), value):
        return all(_goes_on(bound[name], body, counting, trips) for name in ("a", "b"))
    for bound in find(lambda a, b: op.Less(a, b), value):
        return _offset(bound["a"], body, counting) in (0, 1) and measured(bound["b"]) == trips
    return False


def element(x: ir.Value, loop_steps: Steps) -> ir.Value:
    """Find the sequence, of rank 3, whose elements are read one a step, all of them.

    Raises
    ------
    NearMiss
        It is no such element.
    """
    node = x.producer()
    if node is None or node.op_type != "Gather" or node.domain or None in node.inputs[:2]:
        raise NearMiss(f"{x.name!r} is no element of a sequence")
    data, index = node.inputs
    assert data is not None and index is not None
    if attribute(node, "axis", 0) != 0 or rank(data) != 3 or not loop_steps.counts(index):
        raise NearMiss(f"{x.name!r} is no element of a sequence of shape (length, batch, inputs)")
    if data.producer() is not None and data.producer().graph is node.graph:  # type: ignore[union-attr]
        raise NearMiss(f"the sequence {data.name!r} is made in each step")
    length = extent(data, 0)
    if length is None or length != loop_steps.trips:
        raise NearMiss(
            f"it does {loop_steps.trips} steps, and the sequence {data.name!r} has "
            f"{length} elements"
        )
    return data
