"""piper-tts: vowel signs of Arabic text, before it is spoken (libtashkeel)."""

from __future__ import annotations

from typing import Any

from .client import Client, Run

_TEXTS = (
    "السلام عليكم ورحمة الله وبركاته",
    "ذهب الولد إلى المدرسة في الصباح الباكر",
    "اللغة العربية من أكثر اللغات انتشارا في العالم",
)


def _open(threads: int | None) -> Run:
    from piper.tashkeel import TashkeelDiacritizer

    model = TashkeelDiacritizer()

    def run() -> Any:
        return [model(text) for text in _TEXTS]

    return run


CLIENT = Client("piper-tts", "vowel signs of three Arabic sentences", _open)
