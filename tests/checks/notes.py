"""Where onnx.reference or onnxruntime differs from the standard, and why it is not asked there.

The specification decides: each reason says what it has, its own words in quotation marks, and then
what the witness does instead. Where it leaves results open, nobody is asked.
"""

from __future__ import annotations

from ..reference.drawing import Case, Draw
from .conditions import Note
from .notes_onnxruntime import ONNXRUNTIME
from .notes_reference import REFERENCE
from .notes_unspecified import UNSPECIFIED

NOTES = [*UNSPECIFIED, *REFERENCE, *ONNXRUNTIME]
"""What is known. Where a reason says nothing of the other witness, that one is right."""


def noted(draw: Draw, case: Case, check: str, witness: str) -> Note | None:
    """Return the note for which a witness is not asked about a case."""
    for note in NOTES:
        is_meant = draw.name in note.operators.split() and witness in note.witnesses
        if is_meant and note.when(draw, case, check):
            return note
    return None
