"""Attention of transformers' models, through both exporters of PyTorch."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import onnxruntime as ort
import pytest
import sardonyx

WHY = "transformers is not installed: pip install sardonyx[torch] transformers"
torch = pytest.importorskip("torch", reason=WHY)
transformers = pytest.importorskip("transformers", reason=WHY)

GPT = {"vocab_size": 40, "n_positions": 32, "n_embd": 32, "n_layer": 1, "n_head": 4}
LLAMA = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 32,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
CONFIGS = {
    # neighbours, of the first elements only; heads behind positions
    "GPTJ": GPT | {"rotary_dim": 4},
    # the same, of queries, keys and values that come packed
    "CodeGen": GPT | {"rotary_dim": 4},
    # neighbours, of tables of sines and cosines in one
    "RoFormer": {k: v for k, v in LLAMA.items() if "token" not in k and "key" not in k},
    # halves, of the first elements only
    "Phi": LLAMA | {"num_key_value_heads": 4},
    # positions relative to the query, and a mask that is subtracted
    "XLNet": {"vocab_size": 40, "d_model": 32, "n_layer": 1, "n_head": 4, "d_inner": 48},
}


class Hidden(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        config = getattr(transformers, f"{kind}Config")(**CONFIGS[kind])
        self.model = getattr(transformers, f"{kind}Model")(config).eval()
        self.options = {} if kind in ("RoFormer", "XLNet") else {"use_cache": False}

    def forward(self, ids, mask):
        return self.model(input_ids=ids, attention_mask=mask, **self.options)[0]


def export(kind, dynamo, path):
    ids = torch.arange(10).reshape(2, 5)
    names = ["ids", "mask"]
    free = torch.export.Dim.DYNAMIC
    axes = {0: free, 1: free} if dynamo else {0: "b", 1: "s"}
    options = {"dynamic_shapes" if dynamo else "dynamic_axes": dict.fromkeys(names, axes)}
    if not dynamo:
        options["opset_version"] = 17
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inputs = ids, torch.ones_like(ids)
        torch.onnx.export(
            Hidden(kind), inputs, path, input_names=names, dynamo=dynamo, verbose=False, **options
        )
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("kind", "dynamo"),
    [
        ("GPTJ", False),
        ("GPTJ", True),
        ("CodeGen", False),
        ("RoFormer", False),
        ("Phi", False),
        ("XLNet", False),
    ],
)
def test_attention_and_its_turned_rows_are_operators(kind, dynamo, tmp_path, rng, capsys):
    torch.manual_seed(0)
    path = str(tmp_path / "model.onnx")
    export(kind, dynamo, path)
    model = sardonyx.optimize(sardonyx.load(path))
    left = [node.op_type for node in model.graph]
    turned = 0 if kind == "XLNet" else 2
    assert left.count("RotaryEmbedding") == turned and left.count("Attention") == 1
    assert not {"Softmax", "Resize"} & set(left)
    session, other = sardonyx.Session(model), ort.InferenceSession(path)
    for shape in ((2, 7), (1, 9)):
        ids = rng.integers(0, 40, shape)
        feeds = {"ids": ids, "mask": np.ones_like(ids)}
        feeds["mask"][0, :3] = 0
        (result,), (wanted,) = session.run(None, feeds), other.run(None, feeds)
        np.testing.assert_allclose(result, wanted, rtol=1e-4, atol=1e-5)
