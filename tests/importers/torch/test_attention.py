"""Scaled dot product attention of PyTorch: queries that are masked throughout give zeros."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir
import pytest
import sardonyx

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install sardonyx[torch]")
nn = torch.nn

LOWEST = torch.finfo(torch.float32).min


class Attention(nn.Module):
    def __init__(self, heads=None, **options):
        super().__init__()
        self.heads, self.options = heads, options

    def forward(self, q, k, v, mask):
        if self.heads:
            heads = zip((q, k, v), self.heads, strict=True)
            q, k, v = (x.reshape(x.shape[0], n, x.shape[2], 8) for x, n in heads)
        return nn.functional.scaled_dot_product_attention(q, k, v, mask, **self.options)


def masks(batch, queries, keys, low):
    """Masks with a row that is masked throughout, and a batch that is."""
    kept = torch.ones(batch, 1, queries, keys, dtype=torch.bool).tril()
    kept[0, 0, 1] = False
    kept[-1] = False
    if low is None:
        return kept
    return torch.where(kept, 0.0, torch.tensor(low))


def operands(batch, queries, keys, heads=(4, 4, 4)):
    shapes = ((heads[0], queries), (heads[1], keys), (heads[1], keys))
    return [torch.randn(batch, *shape, 8) for shape in shapes]


def results(model, arrays):
    """What a model gives as it was imported and optimized, here and in onnxruntime."""
    onnxruntime = pytest.importorskip("onnxruntime")
    feeds = dict(zip([value.name for value in model.graph.inputs], arrays, strict=True))
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for level in ("none", "all"):
        yield sardonyx.Session(model, optimize=level, threads=1).run(None, feeds)[0]
        written = sardonyx.optimize(model, level=level)
        session = onnxruntime.InferenceSession(onnx_ir.to_proto(written).SerializeToString(), plain)
        yield session.run(None, feeds)[0]


@pytest.mark.parametrize("low", [None, -math.inf, LOWEST])
@pytest.mark.parametrize(
    "options",
    [{}, {"heads": (4, 4, 4)}, {"scale": 0.3}, {"enable_gqa": True, "heads": (4, 2, 2)}],
    ids=["open", "plain", "scale", "shared"],
)
def test_masks_mean_what_they_do_in_pytorch(low, options):
    module, heads = Attention(**options), options.get("heads", (4, 4, 4))
    model = sardonyx.load(module, example_inputs=(*operands(2, 5, 6, heads), masks(2, 5, 6, low)))
    for sizes in ((2, 5, 6), (3, 4, 9), (1, 7, 7)):
        inputs = [*operands(*sizes, heads), masks(*sizes, low)]
        wanted = module(*inputs).numpy()
        assert np.isfinite(wanted).all() and (low == LOWEST) != (wanted[-1] == 0).all()
        for found in results(model, [x.numpy() for x in inputs]):
            np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_attention_after_core_decompositions():
    inputs = (*operands(2, 5, 6), masks(2, 5, 6, None))
    program = torch.export.export(Attention(), inputs).run_decompositions()
    (found, *_) = sardonyx.Session(sardonyx.load(program), threads=1).run(
        None,
        dict(zip("qkv", (x.numpy() for x in inputs), strict=False)) | {"mask": inputs[3].numpy()},
    )
    np.testing.assert_allclose(found, Attention()(*inputs).numpy(), rtol=1e-4, atol=1e-5)


def test_attention_without_heads_or_batch():
    q, k, v = (torch.randn(3, 5, 8) for _ in range(3))
    mask = torch.ones(5, 5, dtype=torch.bool).tril(-1)
    model = sardonyx.load(Attention(), example_inputs=(q, k, v, mask))
    wanted = Attention()(q, k, v, mask).numpy()
    for found in results(model, [x.numpy() for x in (q, k, v, mask)]):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
