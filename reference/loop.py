"""Loop, whose scan outputs have a new first axis."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun


class Loop(OpRun):
    """Loop of the standard; onnx's own joins scan outputs along an axis they already have."""

    def need_context(self) -> bool:
        """Subgraphs may use any value computed so far."""
        return True

    def _run(
        self, trips: Any, condition: Any, *state: Any, context: Any = None, body: Any = None,
        attributes: Any = None, bindings: Any = None,
    ) -> tuple[Any, ...]:  # fmt: skip
        body = self.body  # type: ignore[attr-defined]
        feeds = dict(context or {})
        carried = list(state)
        scans: list[list[Any]] = [[] for _ in body.output_names[1 + len(carried) :]]
        going = condition is None or bool(condition)
        trip = 0
        while going and (trips is None or trip < int(trips)):
            values = [np.array(trip, np.int64), np.array(going), *carried]
            feeds.update(zip(body.input_names, values, strict=True))
            results = self._run_body(  # type: ignore[attr-defined]
                feeds, attributes=attributes, bindings=bindings
            )
            going = bool(results[0])
            carried = list(results[1 : 1 + len(carried)])
            for scan, value in zip(scans, results[1 + len(carried) :], strict=True):
                scan.append(value)
            trip += 1
        stacked = [np.stack(scan) if scan else np.zeros((0,)) for scan in scans]
        return (*carried, *stacked)
