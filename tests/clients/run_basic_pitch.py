"""basic_pitch: notes of music."""

from __future__ import annotations

import tempfile
import wave
from pathlib import Path
from typing import Any

import numpy as np

from .client import Client, Run
from .inputs import music


def _open(threads: int | None) -> Run:
    import sys

    for name in ("tensorflow", "tflite_runtime", "coremltools"):
        sys.modules[name] = None  # type: ignore[assignment]  # it would take these before ONNX
    import basic_pitch
    from basic_pitch.inference import Model, predict

    path = Path(basic_pitch.__file__).parent / "saved_models" / "icassp_2022" / "nmp.onnx"
    model = Model(path)
    folder = tempfile.TemporaryDirectory()
    file = Path(folder.name) / "music.wav"
    with wave.open(str(file), "wb") as sound:
        sound.setparams((1, 2, 22050, 0, "NONE", ""))
        sound.writeframes((32767 * music()).astype("<i2").tobytes())

    def run() -> Any:
        assert folder.name  # kept while its file is read
        output, _, notes = predict(file, model)
        listed = [[float(begin), float(end), int(pitch)] for begin, end, pitch, *_ in notes]
        return {"notes": listed, **{name: np.asarray(each) for name, each in output.items()}}

    return run


CLIENT = Client(
    "basic-pitch",
    "notes of synthesised music",
    _open,
    needs=("librosa", "pretty_midi", "mir_eval", "resampy", "soundfile", "importlib_resources"),
)
