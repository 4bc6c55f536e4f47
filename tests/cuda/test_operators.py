"""Every operator on drawn shapes, attributes and numbers, and without elements.

What the simulated GPU gives, alone or with the CPU, is what onnx.reference and the CPU give.
"""

import numpy as np
import onnx
import pytest
import sardonyx
from onnx.reference import ReferenceEvaluator
from sardonyx.tools.cuda_cases.runs import kernels_elsewhere

from ..checks import changes
from ..operators import cases_of, has_row, model_of
from ..reference.every_draw import DRAWN

CASES = 2
RANDOM = {
    "Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
}  # fmt: skip
ON_THE_CPU = {
    "If", "Loop", "Optional", "OptionalGetElement", "OptionalHasElement", "Scan", "SequenceAt",
    "SequenceConstruct", "SequenceErase", "SequenceInsert", "SequenceMap", "SplitToSequence",
    "TfIdfVectorizer",
}  # fmt: skip
"""Operators of which the CPU does a part: it walks control flow, and holds lists and optional
values. The GPU runs all steps of others."""


NAMES = sorted({name for domain, name in DRAWN if domain == "" and has_row("", name)} - RANDOM)


@pytest.mark.parametrize("name", NAMES)
def test_results_are_those_of_the_reference_and_of_the_cpu(name):
    for kind in ("float32", "int64", "bool"):
        for index, (draw, case) in enumerate(cases_of("", name, kind)):
            if index < CASES:
                compare(name, model_of(draw, case), case)
            if index == 0 and (empty := changes.empty(draw, case)):
                compare(name, model_of(draw, empty), empty)


def compare(name, model, case):
    """Run a case on both devices, if the CPU takes it."""
    feeds = dict(zip(model.graph.node[-1].input, case.inputs, strict=False))
    feeds = {port.name: feeds[port.name] for port in model.graph.input}
    data = model.SerializeToString()
    try:
        wanted = sardonyx.Session(data).run(None, feeds)
    except sardonyx.SardonyxError:
        return  # a case that no model may have
    session = sardonyx.Session(data, device="cuda")
    if name not in ON_THE_CPU and 0 not in [np.size(each) for each in wanted]:
        assert kernels_elsewhere(session) == [], onnx.printer.to_text(model)
    reference = reference_of(model, feeds, wanted)
    for got, *others in zip(session.run(None, feeds), wanted, reference, strict=True):
        for expected in others:
            agree(got, expected, onnx.printer.to_text(model))


def agree(got, expected, text):
    """Compare two results."""
    if not isinstance(got, np.ndarray) or got.dtype == object:
        assert str(got) == str(expected)
        return
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    kind = np.float64 if got.dtype.kind in "fV" else got.dtype
    np.testing.assert_allclose(
        got.astype(kind), expected.astype(kind), rtol=1e-4, atol=1e-5, err_msg=text
    )


def reference_of(model, feeds, wanted):
    """Return what onnx.reference gives, or what the CPU gives where the two are known to differ.

    ``tests/checks`` has the cases, and what the standard says of them.
    """
    try:
        with np.errstate(all="ignore"):
            found = ReferenceEvaluator(model).run(None, feeds)
    except Exception:  # whatever its operators raise
        return wanted
    for own, other in zip(wanted, found, strict=True):
        is_alike = isinstance(other, np.ndarray) and np.shape(own) == other.shape
        if not is_alike or own.dtype != other.dtype or own.dtype.kind not in "fiu":
            return wanted
        if not np.allclose(own, other, rtol=5e-4, atol=1e-4, equal_nan=True):
            return wanted
    return found
