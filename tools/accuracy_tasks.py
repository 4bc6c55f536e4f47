"""Tasks that a quantized model must not get worse at: a model, data to calibrate on, a score.

Scores are in points: of 100 images or characters, so many are right. All data comes with this
package, or from the package registry (`zoo`); what cannot be had raises `zoo.Unavailable`.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from ..runtime.session import Session
from . import zoo
from .demo import DATA, held_out_images

Score = Callable[[Session], float]


@dataclass(frozen=True)
class Task:
    """What a model is for, and how well it does it.

    Attributes
    ----------
    name : str
    metric : str
    source : Any
        Anything `sardonyx.load` takes.
    data : Any
        To calibrate on; none of it is scored.
    score : callable
        From a session to points.
    options : dict
        Of `sardonyx.quantize`.
    allowed : float
        Points that may be lost; infinite where they say nothing of right answers.
    """

    name: str
    metric: str
    source: Any
    data: Any
    score: Score
    options: dict[str, Any] = field(default_factory=dict)
    allowed: float = 0.5


def _needs(*packages: str) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise zoo.Unavailable(f"{package} is not installed")


def _top1(name: str, images: np.ndarray, labels: np.ndarray) -> Score:
    def score(session: Session) -> float:
        (scores,) = session.run(None, {name: images})
        return 100 * float(np.mean(scores.argmax(-1) == labels))

    return score


def digits() -> Task:
    """Network of the demo, on the half of its held-out images that calibration does not see."""
    images = held_out_images()
    half = len(images.labels) // 2
    score = _top1("pixels", images.pixels[half:], images.labels[half:])
    return Task("digits", "top-1", DATA / "digits.onnx", images.pixels[:half], score)


def mnist() -> Task:
    """Digits of MNIST: 2,000 of them, and 200 others to calibrate on."""
    from .digits import digits as labelled

    pixels, labels = labelled()
    order = np.random.default_rng(0).permutation(len(labels))[:2200]
    images, labels = 255 * pixels[order, None], labels[order]

    def score(session: Session) -> float:
        name = session.get_inputs()[0].name
        found = [session.run(None, {name: image[None]})[0].argmax() for image in images[200:]]
        return 100 * float(np.mean(np.array(found) == labels[200:]))

    return Task("mnist", "top-1", zoo.model("mnist"), images[:200], score)


def photographs() -> Task:
    """Classifier of CIFAR-10 on pieces of photographs: agreement with the float model.

    CIFAR-10 itself is in no package of the registry; it was not trained on such pieces.
    """
    _needs("keras", "skimage", "PIL")
    from ..importers import load

    model = load(zoo.model("keras_cifar10"))
    images = _pieces(2500)
    with Session(model) as session:
        name = session.get_inputs()[0].name
        (wanted,) = session.run(None, {name: images})
    score = _top1(name, images[500:], wanted[500:].argmax(-1))
    options = {"equalize": True}
    return Task("keras_cifar10", "top-1 as float's", model, images[:500], score, options, math.inf)


def _pieces(count: int) -> np.ndarray:
    """Pieces of photographs, from 48 to 300 pixels wide, as (n, 32, 32, 3) from 0 to 255."""
    import skimage.data
    from PIL import Image

    names = ("astronaut", "chelsea", "coffee", "rocket")
    photographs = [Image.fromarray(getattr(skimage.data, name)()) for name in names]
    rng = np.random.default_rng(0)
    pieces = []
    for index in range(count):
        photograph = photographs[index % len(photographs)]
        side = int(rng.integers(48, 300))
        left, top = (int(rng.integers(0, size - side)) for size in photograph.size)
        piece = photograph.resize((32, 32), box=(left, top, left + side, top + side))
        pieces.append(np.asarray(piece, np.float32))
    return np.stack(pieces)


Pair = tuple[float, str, str]


def sentence_pairs() -> list[Pair]:
    """Pairs of sentences with a grade from 0 (unrelated) to 5 (the same), by this project."""
    lines = (DATA / "sentence_pairs.tsv").read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines]
    return [(float(grade), one, other) for grade, one, other in rows]


_CALIBRATION_PAIRS = 24


def sentences(mode: str = "static") -> Task:
    """MiniLM: rank correlation of cosines of embeddings with grades, as 100 times Spearman's."""
    _needs("torch", "transformers")
    tokens, model = _sentence_encoder()
    pairs = sentence_pairs()
    known, unseen = pairs[:_CALIBRATION_PAIRS], pairs[_CALIBRATION_PAIRS:]

    def embed(session: Session, texts: Sequence[str]) -> np.ndarray:
        found = [session.run(None, tokens([text]))[0] for text in texts]
        return np.concatenate(found)

    def score(session: Session) -> float:
        ones = embed(session, [one for _, one, _ in unseen])
        others = embed(session, [other for _, _, other in unseen])
        return 100 * rank_correlation((ones * others).sum(1), np.array([p[0] for p in unseen]))

    data = [tokens([text]) for _, *both in known for text in both]
    return Task(
        f"MiniLM, {mode}",
        "Spearman",
        model,
        data if mode == "static" else None,
        score,
        {"mode": mode},
    )


@cache
def _sentence_encoder() -> tuple[Callable[[Sequence[str]], dict[str, np.ndarray]], Any]:
    """Return what makes tokens of sentences, and the model that embeds these, as one of ONNX."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    from ..importers import load

    folder = zoo.model("minilm_transformers")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)

    class Encoder(torch.nn.Module):
        """The mean of the tokens that are no padding, scaled to length 1."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = AutoModel.from_pretrained(folder, local_files_only=True)

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            hidden = self.inner(input_ids, attention_mask, token_type_ids).last_hidden_state
            mask = attention_mask[..., None].to(hidden.dtype)
            return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1))

    def tokens(texts: Sequence[str]) -> dict[str, np.ndarray]:
        return dict(tokenizer(list(texts), padding=True, return_tensors="np"))

    example = {k: torch.from_numpy(v) for k, v in tokens(["one sentence", "and two"]).items()}
    return tokens, load(Encoder().eval(), example_inputs=example)


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's: the correlation of ranks, equal numbers having the mean of theirs."""

    def ranks(numbers: np.ndarray) -> np.ndarray:
        _, places, counts = np.unique(numbers, return_inverse=True, return_counts=True)
        found: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[places]
        return found

    return float(np.corrcoef(ranks(one), ranks(other))[0, 1])


_CALIBRATION_LINES = 60


def text_lines() -> Task:
    """PP-OCR's recognition of rendered sentences: characters that are right."""
    _needs("PIL")
    import onnx

    source = zoo.model("ocr_rec")
    properties = {p.key: p.value for p in onnx.load(source).metadata_props}
    letters = ["", *properties["character"].split("\n"), " "]
    texts = sorted({text for _, *both in sentence_pairs() for text in both})
    images = [_rendered(text, seed) for seed, text in enumerate(texts)]
    known = range(0, len(texts), max(len(texts) // _CALIBRATION_LINES, 1))

    def score(session: Session) -> float:
        name = session.get_inputs()[0].name
        wrong = total = 0
        for index, (text, image) in enumerate(zip(texts, images, strict=True)):
            if index not in known:
                (scores,) = session.run(None, {name: image})
                wrong += edit_distance(_decoded(scores[0], letters), text)
                total += len(text)
        return 100 * (1 - wrong / total)

    data = [images[index] for index in known]
    return Task("PP-OCRv6 recognition", "characters", source, data, score)


_HEIGHT = 48


def _rendered(text: str, seed: int) -> np.ndarray:
    """Line of text, blurred and noisy, as PP-OCR wants it: (1, 3, 48, width) from -1 to 1."""
    from PIL import Image, ImageDraw, ImageFilter, ImageFont

    rng = np.random.default_rng(seed)
    font = ImageFont.load_default(int(rng.integers(13, 28)))
    left, top, right, bottom = map(int, font.getbbox(text))
    size = (right - left + 12, bottom - top + 10)
    dark, light = int(rng.integers(20, 110)), int(rng.integers(150, 256))
    image = Image.new("L", size, light)
    ImageDraw.Draw(image).text((6 - left, 5 - top), text, fill=dark, font=font)
    image = image.rotate(float(rng.uniform(-1, 1)), Image.Resampling.BILINEAR, fillcolor=light)
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.2, 1.2))))
    image = image.resize((max(size[0] * _HEIGHT // size[1], 1), _HEIGHT))
    noisy = np.asarray(image, np.float32) + rng.normal(0, 12, (image.height, image.width))
    pixels = np.clip(noisy, 0, 255).astype(np.float32) / np.float32(127.5) - 1
    return np.repeat(pixels[None, None], 3, 1)


def _decoded(scores: np.ndarray, letters: Sequence[str]) -> str:
    """Best letter of each place, repeated and empty ones left out (Graves 2006)."""
    best = scores.argmax(-1)
    kept = best[np.append(True, best[1:] != best[:-1])]
    return "".join(letters[index] for index in kept)


def edit_distance(one: str, other: str) -> int:
    """Insertions, deletions and replacements that make one text of another (Levenshtein)."""
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, 1):
        before, row = row, [i]
        for j, b in enumerate(other, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b)))
    return row[-1]


TASKS: Mapping[str, Callable[[], Task]] = {
    "digits": digits,
    "mnist": mnist,
    "keras_cifar10": photographs,
    "ocr_rec": text_lines,
    "minilm": sentences,
    "minilm_dynamic": lambda: sentences("dynamic"),
}
"""Tasks by a short name."""
