"""onnx_asr: features of speech before its recognition, as graphs with STFT and resampling."""

from __future__ import annotations

from typing import Any

import numpy as np

from .client import Client, Run
from .speech import speech

_NAMES = ("whisper80", "nemo128", "kaldi", "gigaam_v3", "wespeaker")


def _open(threads: int | None) -> Run:
    import onnxruntime
    from onnx_asr.preprocessors.preprocessor import OnnxPreprocessor

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    kinds = {
        name: OnnxPreprocessor(name, {"sess_options": options, "providers": None})
        for name in _NAMES
    }
    sound = speech()[None]
    lengths = np.array([sound.shape[1]], np.int64)

    def run() -> Any:
        return {name: list(kind(sound, lengths)) for name, kind in kinds.items()}

    return run


CLIENT = Client(
    "onnx-asr",
    "features of synthesised speech, of five kinds",
    _open,
    # onnxruntime's STFT rounds: from features in float64 it is up to 6e-2 away, and we are 3e-4.
    tolerance=1e-2,
    has_threads=True,
    needs=("scipy",),
)
