"""silero_vad: finds speech in sound, window by window, with a state."""

from __future__ import annotations

from typing import Any

from .client import Client, Run
from .speech import speech


def _open(threads: int | None) -> Run:
    import torch
    from silero_vad import get_speech_timestamps, load_silero_vad

    model = load_silero_vad(onnx=True)
    sound = torch.from_numpy(speech())

    def run() -> Any:
        model.reset_states()
        return {
            "speech": get_speech_timestamps(sound, model, threshold=0.3),
            "probabilities": model.audio_forward(sound[None], 16000).numpy(),
        }

    return run


CLIENT = Client(
    "silero-vad", "voice activity of synthesised speech", _open, needs=("torch", "scipy")
)
