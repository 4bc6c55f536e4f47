"""Reports of the optimizer: what each pass changed, what was fused, and why a near miss was not."""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir


@dataclass
class PassReport:
    """Number of rewrites and seconds of one pass, over all rounds."""

    name: str
    changes: int = 0
    seconds: float = 0.0


@dataclass
class Report:
    """Numbers of each pass, and explanations of fusions and near misses in words."""

    passes: list[PassReport] = field(default_factory=list)
    rounds: int = 0
    _explanations: dict[str, tuple[str, ir.Node | None]] = field(default_factory=dict)

    @property
    def explanations(self) -> list[str]:
        """Texts in the order in which their subjects were first explained."""
        return [
            text
            for text, missed in self._explanations.values()
            if missed is None or missed.graph is not None
        ]

    def explain(self, text: str, subject: str = "", missed: ir.Node | None = None) -> None:
        """Note a fusion or a near miss.

        Parameters
        ----------
        text : str
        subject : str
            The last explanation of a subject counts: a near miss may be fused in the next round.
        missed : onnx_ir.Node, optional
            Node of a near miss. When a larger fusion has replaced it, the text is dropped.
        """
        self._explanations[subject or text] = (text, missed)

    def forget(self) -> None:
        """Drop all explanations."""
        self._explanations.clear()
