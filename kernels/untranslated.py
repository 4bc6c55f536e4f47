"""What the translation of functions to LLVM's assembly does not know; numba compiles it instead."""

from __future__ import annotations


class Untranslated(Exception):
    """A function has something that is not translated; the text says what."""
