"""Trial notes: how the page at ``/`` makes a model's inputs of an image, a sound or a text.

What is known lies beside the model, as Hugging Face has it (``preprocessor_config.json``,
``config.json``, ``tokenizer.json``) or in ``labels.txt``, or is in the model's own metadata, as
Ultralytics writes it; else the page asks.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

from .ports import Port
from .refusals import BAD_REQUEST, Refusal
from .served_model import ServedModel

_LARGEST = 4 << 20
"""Bytes of a file that is read for its notes."""
_SHORTEST_SOUND = 256
"""Samples that a fixed last dimension must have to be taken for a sound's."""
_TOKENS = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}


def notes(model: ServedModel) -> dict[str, Any]:
    """Say what the page can try a model with; reads files.

    Returns
    -------
    dict
        ``image``, ``audio``, ``text``: how to make the input, or None; ``labels``: names of
        classes, or None; ``description``.
    """
    folder = model.file.path.parent
    processor = _read_json(folder / "preprocessor_config.json")
    return {
        "image": next(filter(None, (_image(port, processor) for port in model.inputs)), None),
        "audio": next(filter(None, (_audio(port, processor) for port in model.inputs)), None),
        "text": _text(model, folder),
        "labels": _labels(model, folder),
        "description": model.description,
    }


def _image(port: Port, processor: dict[str, Any]) -> dict[str, Any] | None:
    dims = port.dims or []
    if len(dims) != 4 or port.datatype not in ("FP32", "UINT8", "FP16"):
        return None
    if dims[1] in (1, 3):
        layout, channels, sizes = "NCHW", dims[1], dims[2:]
    elif dims[3] in (1, 3):
        layout, channels, sizes = "NHWC", dims[3], dims[1:3]
    else:
        return None
    mean, std = processor.get("image_mean"), processor.get("image_std")
    is_known = _are_numbers(mean) and _are_numbers(std)
    scale = processor.get("rescale_factor", 1 / 255)
    return {
        "input": port.name,
        "datatype": port.datatype,
        "layout": layout,
        "channels": channels,
        "size": [size if isinstance(size, int) else None for size in sizes],
        "scale": 1.0 if port.datatype == "UINT8" else scale,
        "mean": mean if is_known else [0.0] * 3,
        "std": std if is_known else [1.0] * 3,
        "source": "preprocessor_config.json" if is_known else None,
    }


def _are_numbers(values: Any) -> bool:
    return (
        isinstance(values, list)
        and len(values) in (1, 3)
        and all(isinstance(each, int | float) for each in values)
    )


def _audio(port: Port, processor: dict[str, Any]) -> dict[str, Any] | None:
    dims = port.dims or []
    if port.datatype != "FP32" or not 1 <= len(dims) <= 3:
        return None
    if isinstance(dims[-1], int) and dims[-1] < _SHORTEST_SOUND:
        return None
    if any(isinstance(size, int) and size != 1 for size in dims[:-1]):
        return None
    rate = processor.get("sampling_rate")
    return {
        "input": port.name,
        "rank": len(dims),
        "samples": dims[-1] if isinstance(dims[-1], int) else None,
        "rate": rate if isinstance(rate, int) else 16000,
        "source": "preprocessor_config.json" if isinstance(rate, int) else None,
    }


def _text(model: ServedModel, folder: Path) -> dict[str, Any] | None:
    names = [port.name for port in model.inputs if port.name in _TOKENS]
    if "input_ids" not in names or not (folder / "tokenizer.json").is_file():
        return None
    return {"inputs": names, "source": "tokenizer.json"}


def _labels(model: ServedModel, folder: Path) -> list[str] | None:
    file = folder / "labels.txt"
    if file.is_file() and file.stat().st_size < _LARGEST:
        return file.read_text(errors="replace").splitlines()
    found: Any = _read_json(folder / "config.json").get("id2label")
    if found is None and "names" in model.properties:
        try:
            found = ast.literal_eval(model.properties["names"])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if isinstance(found, dict):
        found = [found[key] for key in sorted(found, key=lambda key: int(str(key)))]
    return [str(each) for each in found] if isinstance(found, list) else None


def _read_json(file: Path) -> dict[str, Any]:
    try:
        if file.stat().st_size < _LARGEST:
            found = json.loads(file.read_text())
            return found if isinstance(found, dict) else {}
    except (OSError, ValueError, RecursionError):
        pass
    return {}


def tokens(model: ServedModel, text: str) -> list[dict[str, Any]]:
    """Return the inputs that a text becomes, as the protocol writes tensors.

    Raises
    ------
    Refusal
        There is no tokenizer beside the model, or no package that reads it.
    """
    known = _text(model, model.file.path.parent)
    if known is None:
        raise Refusal(BAD_REQUEST, "no tokenizer.json lies beside the model, or no input_ids in it")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise Refusal(BAD_REQUEST, "texts need the package tokenizers") from None
    try:
        tokenizer = Tokenizer.from_file(str(model.file.path.parent / "tokenizer.json"))
    except Exception as error:  # it raises Exception itself
        raise Refusal(BAD_REQUEST, f"tokenizer.json cannot be read: {error}") from None
    encoding = tokenizer.encode(text)
    ports = {port.name: port for port in model.inputs}
    return [
        {
            "name": name,
            "datatype": ports[name].datatype,
            "shape": [1, len(encoding.ids)],
            "data": list(getattr(encoding, _TOKENS[name])),
        }
        for name in known["inputs"]
    ]
