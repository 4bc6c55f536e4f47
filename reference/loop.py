"""Loop, whose scan outputs have a new first axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx.reference.op_run import OpRun


class Loop(OpRun):
    """Loop of the standard; onnx's own joins scan outputs along an axis they already have."""

    most: int | None = None
    """Iterations beyond which a loop fails."""

    def need_context(self) -> bool:
        """Subgraphs may use any value computed so far."""
        return True

    def _run(
        self, trips: Any, condition: Any, *state: Any, context: Any = None, body: Any = None,
        attributes: Any = None, bindings: Any = None,
    ) -> tuple[Any, ...]:  # fmt: skip
        body = self.body  # type: ignore[attr-defined]
        names, run = body.input_names, self._run_body  # type: ignore[attr-defined]
        feeds, states = dict(context or {}), 1 + len(state)
        carried: Sequence[Any] = state
        given: list[Sequence[Any]] = []
        flag = np.array(condition is None or bool(condition.item()))
        trip, last = 0, math.inf if trips is None else trips.item()
        while flag and trip < last:
            if trip == self.most:
                raise ValueError(f"more than {trip} iterations, which max_iterations allows")
            feeds.update(zip(names, (np.array(trip, np.int64), flag, *carried), strict=True))
            results = run(feeds, attributes=attributes, bindings=bindings)
            flag = results[0].reshape(())
            carried = results[1:states]
            given.append(results[states:])
            trip += 1
        if trip or len(body.output_names) == states:
            return (*carried, *map(np.stack, zip(*given, strict=True)))
        return (*carried, *self._empty(feeds, carried, attributes, bindings))

    def _empty(
        self, feeds: dict[str, Any], state: Sequence[Any], attributes: Any, bindings: Any
    ) -> list[np.ndarray]:
        """Scan outputs without a trip: of the types and the axes that a first trip would give."""
        body = self.body  # type: ignore[attr-defined]
        values = [np.array(0, np.int64), np.array(True), *state]
        feeds.update(zip(body.input_names, values, strict=True))
        first = 1 + len(state)
        try:
            results = self._run_body(  # type: ignore[attr-defined]
                feeds, attributes=attributes, bindings=bindings
            )
            return [np.asarray(value)[np.newaxis][:0] for value in results[first:]]
        except Exception:  # there need not be a first trip that is valid
            return [_declared(value) for value in body.proto_.graph.output[first:]]


def _declared(value: onnx.ValueInfoProto) -> np.ndarray:
    """Nothing of the type and the axes that a body declares, open ones empty."""
    kind = value.type.tensor_type
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type) if kind.elem_type else np.float32
    return np.zeros((0, *(dim.dim_value for dim in kind.shape.dim)), dtype)
