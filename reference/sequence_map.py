"""SequenceMap, of any number of sequences; onnx's own takes two, and none that is empty."""

from __future__ import annotations

from typing import Any

from onnx.reference.op_run import OpRun


class SequenceMap(OpRun):
    """SequenceMap of the standard."""

    def need_context(self) -> bool:
        """Subgraphs may use any value computed so far."""
        return True

    def _run(
        self, *inputs: Any, context: Any = None, body: Any = None, attributes: Any = None,
        bindings: Any = None,
    ) -> tuple[Any, ...]:  # fmt: skip
        body = self.body  # type: ignore[attr-defined]
        lengths = {len(value) for value in inputs if isinstance(value, list)}
        if len(lengths) != 1:
            raise ValueError(f"sequences of {sorted(lengths)} elements")
        feeds = dict(context or {})
        results: list[list[Any]] = [[] for _ in body.output_names]
        for position in range(lengths.pop()):
            values = [each[position] if isinstance(each, list) else each for each in inputs]
            feeds.update(zip(body.input_names, values, strict=True))
            given = self._run_body(  # type: ignore[attr-defined]
                feeds, attributes=attributes, bindings=bindings
            )
            for result, value in zip(results, given, strict=True):
                result.append(value)
        return tuple(results)
