"""Inputs of clients: photographs and a scanned page, rendered text, music, files of many kinds."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_WORDS = ("Sardonyx runs models of the", "interface of onnxruntime,", "equal results: 1234.50")


def photograph(name: str) -> np.ndarray:
    """Return a photograph that comes with scikit-image, height x width x 3 bytes, RGB."""
    import skimage.data

    image: np.ndarray = getattr(skimage.data, name)()
    return image


def page() -> np.ndarray:
    """Return the scanned page that comes with scikit-image, enlarged, in RGB."""
    import skimage.data

    image = Image.fromarray(skimage.data.page())
    return np.asarray(image.resize((2 * image.width, 2 * image.height)).convert("RGB"))


def rendered(words: tuple[str, ...] = _WORDS, size: int = 34) -> np.ndarray:
    """Return lines of text, black on white, in RGB."""
    font = ImageFont.load_default(size)
    image = Image.new("RGB", (620, 40 + 60 * len(words)), "white")
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(words):
        draw.text((30, 20 + 60 * number), line, "black", font)
    return np.asarray(image)


def captcha(text: str) -> bytes:
    """Return a small picture of a few letters below thin lines, as PNG."""
    rng = np.random.default_rng(3)
    image = Image.new("RGB", (160, 60), "white")
    draw = ImageDraw.Draw(image)
    for number, letter in enumerate(text):
        shift = int(rng.integers(-6, 7))
        draw.text((14 + 34 * number, 10 + shift), letter, "navy", ImageFont.load_default(34))
    for _ in range(4):
        ends = [int(each) for each in rng.integers(0, 60, 4)]
        draw.line((0, ends[0], 159, ends[1]), "gray")
    return png(np.asarray(image))


def png(image: np.ndarray) -> bytes:
    """Return an image as a file."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def music(rate: int = 22050) -> np.ndarray:
    """Return a melody over chords, struck strings of six partials, as float32."""
    melody = (60, 62, 64, 67, 72, 71, 67, 64)
    sound = np.zeros(int(5 * rate))
    for number, note in enumerate(melody):
        _strike(sound, note, 0.2 + 0.5 * number, 0.5, rate)
        if number % 4 == 0:
            for chord in (48, 52, 55):
                _strike(sound, chord, 0.2 + 0.5 * number, 0.25, rate)
    return (0.7 * sound / np.abs(sound).max()).astype(np.float32)


def _strike(sound: np.ndarray, note: int, at: float, loudness: float, rate: int) -> None:
    begin = int(at * rate)
    time = np.arange(min(int(1.2 * rate), len(sound) - begin)) / rate
    pitch = 440 * 2 ** ((note - 69) / 12)
    for partial in range(1, 7):
        wave = np.sin(2 * np.pi * pitch * partial * time) * np.exp(-time * (2 + partial))
        sound[begin : begin + len(time)] += loudness / partial * wave


def documents() -> dict[str, bytes]:
    """Return files of many kinds, by what they are."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        # With a date of its own: that of the moment would be another one in each process.
        file.writestr(zipfile.ZipInfo("notes.txt", (2024, 5, 6, 7, 8, 10)), "a note\n" * 200)
    python = "import os\n\n\ndef main():\n    for name in os.listdir('.'):\n        print(name)\n"
    c = '#include <stdio.h>\n\nint main(int argc, char **argv) {\n  printf("%d\\n", argc);\n}\n'
    html = "<!DOCTYPE html><html><head><title>A page</title></head><body><p>Text</p></body></html>"
    return {
        "python": 5 * python.encode(),
        "c": 5 * c.encode(),
        "html": 3 * html.encode(),
        "json": json.dumps([{"name": f"n{i}", "value": i} for i in range(60)]).encode(),
        "csv": "\n".join(f"{i},name {i},{i * 0.5}" for i in range(80)).encode(),
        "shell": b'#!/bin/bash\nset -e\nfor f in *.txt; do\n  echo "$f"\ndone\n' * 4,
        "text": b"It was a bright cold day in April, and the clocks were striking.\n" * 20,
        "zip": archive.getvalue(),
        "png": png(rendered()),
        "noise": np.random.default_rng(0).bytes(3000),
    }
