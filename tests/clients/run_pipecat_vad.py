"""pipecat-ai: voice activity as its pipelines ask for it, buffer by buffer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .client import Client, Run
from .speech import speech


def _open(threads: int | None) -> Run:
    from loguru import logger

    logger.remove()
    from pipecat.audio.vad.silero import SileroVADAnalyzer

    analyzer = SileroVADAnalyzer(sample_rate=16000)
    analyzer.set_sample_rate(16000)
    size = analyzer.num_frames_required()
    samples = (32767 * speech()).astype(np.int16)
    buffers = [samples[at : at + size].tobytes() for at in range(0, len(samples) - size + 1, size)]

    def run() -> Any:
        analyzer._model.reset_states()
        return [float(np.squeeze(analyzer.voice_confidence(each))) for each in buffers]

    return run


CLIENT = Client(
    "pipecat-ai",
    "voice activity of synthesised speech, buffer by buffer",
    _open,
    needs=("loguru", "soxr", "scipy", "loudness"),
)
