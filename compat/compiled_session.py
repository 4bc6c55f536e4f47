"""What ``InferenceSession._sess`` offers: the methods of onnxruntime's compiled session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .errors import Fail, made, translates
from .io_binding import IOBinding
from .options import RunOptions
from .values import OrtValue, OrtValueVector, plain


class CompiledSession:
    """Methods of an engine that code beside `InferenceSession` calls, on values and bindings."""

    inputs: list[Any]
    outputs: list[Any]
    overridable: list[Any]

    def run(
        self,
        names: Sequence[str] | None,
        feeds: Mapping[str, Any],
        options: RunOptions | None = None,
    ) -> list[Any]:
        """Run with arrays."""
        raise NotImplementedError

    def get_inputs(self) -> list[Any]:
        """Describe the inputs."""
        return self.inputs

    def get_outputs(self) -> list[Any]:
        """Describe the outputs."""
        return self.outputs

    def get_overridable_initializers(self) -> list[Any]:
        """Describe the initializers that runs may give."""
        return self.overridable

    inputs_meta = property(get_inputs)
    outputs_meta = property(get_outputs)

    @translates
    def run_with_ort_values(
        self,
        feeds: Mapping[str, OrtValue],
        names: Sequence[str] | None,
        options: RunOptions | None = None,
    ) -> OrtValueVector:
        """Run with values; returns values."""
        given = {name: plain(value) for name, value in feeds.items()}
        return OrtValueVector(OrtValue(each) for each in self.run(names or None, given, options))

    def run_with_iobinding(self, binding: IOBinding, options: RunOptions | None = None) -> None:
        """Run with what is bound; the outputs are the binding's.

        Raises
        ------
        Fail
            Something bound does not fit, or a step failed.
        """
        try:
            binding._take(self.run(binding._names(), binding._inputs, options))
        except Exception as error:
            raise made(Fail, f"Error in execution: {error}") from error
