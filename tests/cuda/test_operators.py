"""Every operator on drawn cases: what the simulated GPU gives, alone or with the CPU, is right."""

import numpy as np
import onnx
import pytest
import sardonyx
from sardonyx.tools.cuda_cases.runs import kernels_elsewhere

from ..operators import cases_of, has_row, model_of
from ..reference.every_draw import DRAWN

CASES = 2
RANDOM = {
    "Bernoulli", "Dropout", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
    "RandomUniformLike",
}  # fmt: skip
ON_THE_CPU = set(
    [
        "AffineGrid",
        "BlackmanWindow",
        "Cast",
        "Col2Im",
        "Compress",
        "DFT",
        "DeformConv",
        "Det",
        "GridSample",
        "HammingWindow",
        "HannWindow",
        "If",
        "LinearAttention",
        "Loop",
        "MaxRoiPool",
        "MaxUnpool",
        "MelWeightMatrix",
        "NonMaxSuppression",
        "NonZero",
        "Optional",
        "OptionalGetElement",
        "OptionalHasElement",
        "QuantizeLinear",
        "Range",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMean",
        "RoiAlign",
        "STFT",
        "Scan",
        "SequenceAt",
        "SequenceConstruct",
        "SequenceErase",
        "SequenceInsert",
        "SequenceMap",
        "SplitToSequence",
        "TfIdfVectorizer",
        "Unique",
    ]
)
"""Operators that have a kernel of a GPU for some cases yet, or for none; others run there whole."""


@pytest.mark.parametrize(
    "name", sorted({name for domain, name in DRAWN if domain == "" and has_row("", name)} - RANDOM)
)
def test_results_are_those_of_the_cpu(name):
    for kind in ("float32", "int64", "bool"):
        for index, (draw, case) in enumerate(cases_of("", name, kind)):
            if index < CASES:
                compare(name, model_of(draw, case), case)


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
    if name not in ON_THE_CPU:
        assert kernels_elsewhere(session) == [], onnx.printer.to_text(model)
    for got, expected in zip(session.run(None, feeds), wanted, strict=True):
        if not isinstance(got, np.ndarray) or got.dtype == object:
            assert str(got) == str(expected)
            continue
        assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
        kind = np.float64 if got.dtype.kind in "fV" else got.dtype
        np.testing.assert_allclose(
            got.astype(kind), expected.astype(kind), rtol=1e-4, atol=1e-5,
            err_msg=onnx.printer.to_text(model),
        )  # fmt: skip
