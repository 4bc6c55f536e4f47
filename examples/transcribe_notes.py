"""Notes in a sound, recognised by a network; the sound is synthesized here.

    python examples/transcribe_notes.py
    python examples/transcribe_notes.py C4 E4 G4 C4+E4+G4

The network is basic-pitch, from the package registry.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import sardonyx
from sardonyx.tools import text, zoo
from side_by_side import Times, times

RATE = 22050  # samples a second, as the network takes them
_WINDOW = 43844  # samples that it takes at once
_LOWEST = 21  # the first key of a piano in MIDI's numbers; 60 is C4, 69 is A4
_KEYS = 88
_OCTAVE = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_HEARD = 0.5  # least activation


def number(note: str) -> int:
    """Return MIDI's number of a note such as ``A4`` or ``C#5``.

    Raises
    ------
    InvalidArgument
        There is no such note on a piano.
    """
    name, octave = note[:-1], note[-1:]
    if name in _OCTAVE and octave.isdecimal():
        key = _OCTAVE.index(name) + 12 * (int(octave) + 1)
        if _LOWEST <= key < _LOWEST + _KEYS:
            return key
    raise sardonyx.InvalidArgument(f"no note {note!r}; A4 and C#5 are notes")


def name(number: int) -> str:
    """Write a note of MIDI's number."""
    return f"{_OCTAVE[number % 12]}{number // 12 - 1}"


def chord(notes: Sequence[int]) -> np.ndarray:
    """Sound notes together for the length of a window: float32, shape (samples, 1)."""
    time = np.arange(_WINDOW) / RATE
    sound = np.zeros(_WINDOW)
    for note in notes:
        pitch = 440 * 2 ** ((note - 69) / 12)
        for overtone in (1, 2, 3):
            sound += np.sin(2 * np.pi * pitch * overtone * time) / overtone**3
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)[:, None]


def print_table(
    played: Sequence[Sequence[int]], heard: Sequence[Sequence[int]], measured: Times
) -> None:
    """Print what was played and heard, and the times of one chord."""
    table = text.table("notes", "played", "heard")
    for notes, recognised in zip(played, heard, strict=True):
        table.add_row(*(" ".join(map(name, sorted(numbers))) for numbers in (notes, recognised)))
    speed = text.table("one chord of two seconds", *Times.COLUMNS)
    speed.add_row(*measured.cells())
    text.show(text.console(), table, speed)


def main(argv: Sequence[str] | None = None) -> list[list[int]]:
    """Hear what notes were played; give them for each chord, as MIDI's numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("chords", nargs="*", default=["A4", "C#5", "A3+E4", "C4+E4+G4"])
    chords = [[number(note) for note in c.split("+")] for c in parser.parse_args(argv).chords]
    sounds = np.stack([chord(notes) for notes in chords])

    path = zoo.model("basic_pitch")
    session = sardonyx.Session(path)
    _, activations, _ = session(sounds)  # between beginnings of notes, and finer pitches
    heard = [
        [int(key) + _LOWEST for key in np.flatnonzero(np.median(frames, axis=0) > _HEARD)]
        for frames in activations  # each of shape (frames, keys of a piano)
    ]
    feeds = {session.get_inputs()[0].name: sounds[:1]}
    print_table(chords, heard, times(path, session, feeds))
    return heard


if __name__ == "__main__":
    main()
