"""faster_whisper: the voice activity detection before its transcription."""

from __future__ import annotations

from typing import Any

from .client import Client, Run
from .speech import speech


def _open(threads: int | None) -> Run:
    from faster_whisper.vad import VadOptions, get_speech_timestamps, get_vad_model

    sound = speech()
    options = VadOptions(threshold=0.3, min_silence_duration_ms=200)
    model = get_vad_model()
    windows = sound[: len(sound) // 512 * 512]

    def run() -> Any:
        return {
            "speech": get_speech_timestamps(sound, options),
            "probabilities": model(windows),
        }

    return run


CLIENT = Client(
    "faster-whisper",
    "voice activity of synthesised speech, in one run (LSTM)",
    _open,
    needs=("ctranslate2", "av", "scipy"),
)
