"""swift_f0: pitch of a voice."""

from __future__ import annotations

from typing import Any

from .client import Client, Run
from .speech import speech


def _open(threads: int | None) -> Run:
    from swift_f0 import SwiftF0

    detector = SwiftF0(threads=threads)
    sound = speech()

    def run() -> Any:
        found = detector.detect(sound, 16000)
        return {
            "pitch": found.pitch_hz,
            "confidence": found.confidence,
            "loudness": found.loudness_db,
        }

    return run


CLIENT = Client(
    "swift-f0", "pitch of synthesised speech", _open, has_threads=True, needs=("scipy",)
)
