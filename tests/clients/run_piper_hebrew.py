"""piper-tts: vowel points of Hebrew text, before it is spoken (Nakdimon)."""

from __future__ import annotations

from typing import Any

from .client import Client, Run

_TEXTS = ("שלום עולם, מה שלומך היום?", "הילד הלך לבית הספר בבוקר", "בראשית ברא אלהים את השמים")


def _open(threads: int | None) -> Run:
    from piper.hebrew import NakdimonDiacritizer

    model = NakdimonDiacritizer()

    def run() -> Any:
        return [model(text) for text in _TEXTS]

    return run


CLIENT = Client("piper-tts", "vowel points of three Hebrew sentences", _open)
