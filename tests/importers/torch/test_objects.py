"""Arguments of PyTorch modules that are objects with tensors, as transformers' caches are."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sardonyx

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install sardonyx[torch]")
nn = torch.nn


class Layer:
    def __init__(self, keys):
        self.keys, self.length = keys, 0


class Cache:
    """Steps so far, one tensor for each layer; a module adds its own in place."""

    def __init__(self, *keys):
        self.layers, self.kind = [Layer(each) for each in keys], "kept"
        self._scratch, self.whole = torch.zeros(3), self  # neither is a part of its own


class Growing(nn.Module):
    """Sums the steps so far that a mask keeps."""

    counts = False

    def forward(self, x, **more):
        cache, mask = more["cache"], more.get("mask")
        for layer in cache.layers:
            layer.keys = torch.cat([layer.keys, x], 1)
            if self.counts:
                layer.length += x.shape[1]
        first, second = (layer.keys for layer in cache.layers)
        steps = first + second
        if mask is not None:
            if mask.shape[1] < steps.shape[1]:
                mask = nn.functional.pad(mask, (0, steps.shape[1] - mask.shape[1]), value=1.0)
            steps = steps * mask[:, : steps.shape[1], None]
        return {"sum": steps.sum(1), "cache": cache}


def drawn(batch, past, new, masked):
    cache = Cache(torch.randn(batch, past, 6), torch.randn(batch, past, 6))
    mask = {"mask": (torch.rand(batch, past + new) > 0.5).float()} if masked else {}
    return {"x": torch.randn(batch, new, 6), "cache": cache, **mask}


def feeds(model, inputs):
    tensors = [inputs["x"], *(layer.keys for layer in inputs["cache"].layers)]
    tensors += [inputs["mask"]] if "mask" in inputs else []
    names = [value.name for value in model.graph.inputs]
    return dict(zip(names, (x.numpy() for x in tensors), strict=True))


@pytest.mark.parametrize("masked", [False, True])
def test_a_cache_is_taken_and_returned_with_any_number_of_steps(masked):
    module, example = Growing(), drawn(2, 5, 3, masked)
    before = example["cache"].layers[0].keys
    with warnings.catch_warnings(action="error", category=UserWarning):
        model = sardonyx.load(module, example_inputs=example)
    assert example["cache"].layers[0].keys is before  # the caller's own is as it was
    shapes = {value.name: list(map(str, value.shape)) for value in model.graph.inputs}
    assert shapes["x"] == ["batch", "x_1", "x_2"]
    assert shapes["cache_layers_0_keys"] == ["batch", "cache_layers_0_keys_1", "x_2"]
    assert shapes["cache_layers_0_keys"] == shapes["cache_layers_1_keys"]
    assert not masked or shapes["mask"] == ["batch", "cache_layers_0_keys_1 + x_1"]
    outputs = [value.name for value in model.graph.outputs]
    assert outputs == ["sum", "cache.layers.0.keys", "cache.layers.1.keys"]
    session = sardonyx.Session(model, threads=1)
    for sizes in ((2, 5, 3), (1, 1, 1), (3, 0, 4), (1, 9, 2)):
        inputs = drawn(*sizes, masked)
        found = session.run(None, feeds(model, inputs))
        result = module(**inputs)
        wanted = [result["sum"], *(layer.keys for layer in result["cache"].layers)]
        for value, tensor in zip(found, wanted, strict=True):
            np.testing.assert_allclose(value, tensor.numpy(), rtol=1e-4, atol=1e-5)


def test_convert_compares_a_module_that_takes_objects():
    assert sardonyx.convert(Growing(), example_inputs=drawn(2, 5, 3, False)).agrees


def test_a_number_that_a_module_counts_in_an_object_is_named():
    module = Growing()
    module.counts = True
    with pytest.raises(sardonyx.UnsupportedModel, match=r"changes cache\.layers\.0\.length, "):
        sardonyx.load(module, example_inputs=drawn(2, 5, 3, False))


class Nested(nn.Module):
    def forward(self, x):
        part = {"state": x + 1, "hidden": (x / 2, x - 1)}
        return {"logits": x * 2, "none": None, "part": part}


def test_outputs_in_nested_mappings_are_named_by_their_paths():
    x = torch.randn(2, 3)
    model = sardonyx.load(Nested(), example_inputs=x)
    names = [value.name for value in model.graph.outputs]
    assert names == ["logits", "part.state", "part.hidden.0", "part.hidden.1"]
    results = sardonyx.Session(model).run(None, {"x": x.numpy()})
    for result, wanted in zip(results, (x * 2, x + 1, x / 2, x - 1), strict=True):
        np.testing.assert_allclose(result, wanted)
