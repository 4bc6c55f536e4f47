"""pipecat-ai: tells whether somebody who speaks is done (Smart Turn v3.2, quantized to 8 bits)."""

from __future__ import annotations

from typing import Any

from .client import Client, Run
from .speech import speech


def _open(threads: int | None) -> Run:
    from loguru import logger

    logger.remove()
    from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3

    analyzer = LocalSmartTurnAnalyzerV3(cpu_count=threads or 1)
    cut = speech()[:36000]

    def run() -> Any:
        return [analyzer._predict_endpoint(sound) for sound in (cut, cut[:20000])]

    return run


CLIENT = Client(
    "pipecat-ai",
    "end of a turn of synthesised speech (Smart Turn v3.2, 8 bits)",
    _open,
    # Activations are rounded to 8 bits at 78 places, where the last bit of a float decides: one
    # engine alone gives 0.43 or 0.32 for an input that differs by a ten-millionth.
    tolerance=0.1,
    has_threads=True,
    needs=("loguru", "soxr", "scipy", "loudness"),
)
