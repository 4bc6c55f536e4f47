"""Every operator that a host step may run, on drawn cases, against onnxruntime.

``FUZZ_CASES=200 pytest tests/reference`` looks longer, ``FUZZ_FIRST`` says where to begin. A case
is its operator and number. Operators that onnxruntime says nothing about, or other things than
the standard, are in `WITHOUT`, with the reason; `test_standard` has what they must do.
"""

from __future__ import annotations

import os
import zlib

import pytest

from .drawing import Draw, history
from .every_draw import DRAWN
from .witness import difference, onnxruntimes, ours

CASES = int(os.environ.get("FUZZ_CASES", "4"))
FIRST = int(os.environ.get("FUZZ_FIRST", "0"))
TRIES = 12
"""Cases drawn for each that onnxruntime has to run."""

RANDOM = "random: no generator gives the same numbers; test_standard looks at their distribution"
MAPS = "onnxruntime takes and gives maps only as inputs and outputs; test_standard has the rule"
WITHOUT = {
    ("", "Bernoulli"): RANDOM,
    ("", "Multinomial"): RANDOM,
    ("", "RandomNormal"): RANDOM,
    ("", "RandomNormalLike"): RANDOM,
    ("", "RandomUniform"): RANDOM,
    ("", "RandomUniformLike"): RANDOM,
    ("", "Constant"): "hands on an attribute; every case of witness.py has some",
    ("", "ImageDecoder"): "needs Pillow, which is no dependency",
    ("ai.onnx.ml", "CastMap"): MAPS,
    ("ai.onnx.ml", "DictVectorizer"): MAPS,
    ("ai.onnx.ml", "ZipMap"): MAPS,
}


def test_every_operator_is_drawn_or_has_a_reason():
    assert set(history()) <= set(DRAWN) | set(WITHOUT)


@pytest.mark.timeout(120 + CASES)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("domain", "name"), sorted(set(DRAWN) & set(history()) - set(WITHOUT)))
def test_operator(domain, name):
    compared, number = 0, FIRST
    while compared < CASES and number < FIRST + TRIES * CASES:
        draw = Draw([number, zlib.crc32(name.encode())], name, domain)
        case = DRAWN[domain, name](draw)
        wanted, why = onnxruntimes(draw, case)
        number += 1
        if wanted is None:
            continue
        found = ours(draw, case)
        assert len(wanted) == len(found)
        problems = [difference(a, b, case) for a, b in zip(wanted, found, strict=True)]
        shapes = [getattr(value, "shape", value) for value in case.inputs]
        assert not any(problems), (number - 1, draw.opset, shapes, case.attributes, problems)
        compared += 1
    assert compared, why
