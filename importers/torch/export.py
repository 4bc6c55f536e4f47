"""Export of a PyTorch module: the part that both of PyTorch's exporters need."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ...errors import ImportFailed
from .call import Call
from .explain import explain

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True)
class Export:
    """A module that is exported.

    Attributes
    ----------
    module : torch.nn.Module
        In evaluation mode.
    title : str
        Its name in errors.
    call : Call
        What it is traced with.
    input_names, output_names : sequence of str, optional
        Names in the model; those of the module's signature when not given.
    """

    module: Any
    title: str
    call: Call
    input_names: Sequence[str] | None = None
    output_names: Sequence[str] | None = None

    @classmethod
    def like(cls, other: Export) -> Self:
        """Make an export of this class of what another one exports."""
        return cls(other.module, other.title, other.call, other.input_names, other.output_names)

    def first_success(self, attempts: Iterable[tuple[str, Callable[[], ir.Model]]]) -> ir.Model:
        """Return the model of the first attempt that does not fail.

        If it is not the very first one, a warning names the limitation of the model, which comes
        with the attempt, and why.

        Raises
        ------
        Exception
            That of the first attempt, where all fail.
        """
        failure: Exception | None = None
        for limitation, attempt in attempts:
            try:
                model = attempt()
            except Exception as error:
                failure = failure or error
                continue
            if failure is not None:
                why = explain(failure).removeprefix(f"PyTorch could not convert {self.title}: ")
                warnings.warn(f"{self.title} is imported with {limitation}: {why}", stacklevel=7)
            return model
        raise failure or ImportFailed(f"PyTorch returned no model for {self.title}")
