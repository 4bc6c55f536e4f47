"""Export of a PyTorch module: the part that both of PyTorch's exporters need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from .call import Call


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
