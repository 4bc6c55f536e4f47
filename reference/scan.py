"""Scan, along any axes, in either direction; before opset 9 with a batch and lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun


@dataclass(frozen=True)
class _Scope:
    """What the body sees besides its inputs."""

    values: dict[str, Any]
    attributes: Any
    bindings: Any


class Scan(OpRun):
    """Scan of the standard; onnx's own knows the first axis forwards."""

    def need_context(self) -> bool:
        """Subgraphs may use any value computed so far."""
        return True

    def _run(
        self, *inputs: Any, context: Any = None, body: Any = None, num_scan_inputs: int = 1,
        attributes: Any = None, bindings: Any = None, **options: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        scope = _Scope(dict(context or {}), attributes, bindings)
        if self.run_params["opsets"][""] < 9:
            return self._batched(scope, inputs, num_scan_inputs, options)
        return tuple(self._scanned(scope, list(inputs), num_scan_inputs, options))

    def _batched(
        self, scope: _Scope, inputs: Any, count: int, options: dict[str, Any]
    ) -> tuple[Any, ...]:
        """Scan each sample of a batch over the steps that it has."""
        lengths, *values = inputs
        turned = {"scan_input_directions": options.get("directions")}
        samples = []
        for i in range(len(values[0])):
            own = [value[i] for value in values]
            if lengths is not None:
                first = len(own) - count
                own[first:] = [value[: int(lengths[i])] for value in own[first:]]
            samples.append(self._scanned(scope, own, count, turned))
        return tuple(np.stack(parts) for parts in zip(*samples, strict=True))

    def _scanned(
        self, scope: _Scope, values: list[Any], count: int, options: dict[str, Any]
    ) -> list[Any]:
        body = self.body  # type: ignore[attr-defined]
        state, scanned = values[: len(values) - count], values[len(values) - count :]
        axes = options.get("scan_input_axes") or [0] * count
        backwards = options.get("scan_input_directions") or [0] * count
        steps = {value.shape[axis] for value, axis in zip(scanned, axes, strict=True)}
        if len(steps) != 1:
            raise ValueError(f"sequences of {sorted(steps)} steps")
        moved = [
            np.flip(np.moveaxis(value, axis, 0), 0) if back else np.moveaxis(value, axis, 0)
            for value, axis, back in zip(scanned, axes, backwards, strict=True)
        ]
        outer = len(body.output_names) - len(state)
        collected: list[list[Any]] = [[] for _ in range(outer)]
        count = steps.pop()
        if not count:
            # A step on zeros tells the types and the axes of the results.
            moved = [np.zeros((1, *m.shape[1:]), m.dtype) for m in moved]
        first = state
        for step in range(max(count, 1)):
            names = zip(
                body.input_names, [*state, *[np.asarray(m[step]) for m in moved]], strict=True
            )
            results = self._run_body(  # type: ignore[attr-defined]
                {**scope.values, **dict(names)},
                attributes=scope.attributes,
                bindings=scope.bindings,
            )
            _check_states(state, results)
            state = list(results[: len(state)])
            for parts, part in zip(collected, results[len(state) :], strict=True):
                parts.append(part)
        joined = self._joined(collected, options)
        if not count:
            axes = options.get("scan_output_axes") or [0] * outer
            state, joined = first, [y.take([], axis) for y, axis in zip(joined, axes, strict=True)]
        return [*state, *joined]

    def _joined(self, collected: list[list[Any]], options: dict[str, Any]) -> list[np.ndarray]:
        count = len(collected)
        axes = options.get("scan_output_axes") or [0] * count
        backwards = options.get("scan_output_directions") or [0] * count
        return [
            np.moveaxis(np.stack(parts[::-1] if back else parts), 0, axis)
            for parts, axis, back in zip(collected, axes, backwards, strict=True)
        ]


def _check_states(before: list[Any], after: list[Any]) -> None:
    """Refuse states that change their shape, which those of a Loop may."""
    for old, new in zip(before, after, strict=False):
        if np.shape(old) != np.shape(new):
            raise ValueError(f"a state of shape {np.shape(old)} becomes one of {np.shape(new)}")
