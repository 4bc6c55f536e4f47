"""Benchmark of transformers: sardonyx, onnxruntime and OpenVINO, and onnxruntime's own fusions.

``python -m sardonyx.tools.encoder_bench minilm bert --threads 1`` prints a line for each model
and length of its sequences (`bench.Race` says what). Networks have the sizes of the published ones
and random weights; torch's exporter writes them, by TorchScript, once into the zoo's cache. Needs
torch, transformers and onnxscript.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from . import zoo
from .bench import Race, race

_VOCABULARY = 1000


@dataclass(frozen=True)
class Network:
    """A transformer, and what its runs read.

    Attributes
    ----------
    build : callable
        Returns a torch module that returns tensors, and example inputs by name.
    free : mapping
        The dimensions of inputs that are free, by their axis.
    feeds : callable
        Makes the inputs of a run, from a random generator and the length of a sequence.
    lengths : tuple of int
        Lengths to measure.
    optimizer : tuple
        onnxruntime's name for the kind of model, heads, and hidden units, for its own fusions.
    """

    build: Callable[[], tuple[Any, dict[str, Any]]]
    free: dict[str, dict[int, str]]
    feeds: Callable[[np.random.Generator, int], dict[str, np.ndarray]]
    lengths: tuple[int, ...] = (16, 64, 128, 512)
    optimizer: tuple[str, int, int] = field(default=("bert", 0, 0))


def _wrap(call: Callable[..., Any], *modules: Any) -> Any:
    import torch

    class Wrapped(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = torch.nn.ModuleList(modules)

        def forward(self, *args: Any) -> Any:
            return call(*self.parts, *args)

    return Wrapped().eval()


# --- texts ------------------------------------------------------------------------------------

_TOKENS = {"input_ids": {1: "length"}, "attention_mask": {1: "length"}}


def _token_feeds(rng: np.random.Generator, length: int) -> dict[str, np.ndarray]:
    ids = rng.integers(0, _VOCABULARY, (1, length))
    return {"input_ids": ids, "attention_mask": np.ones((1, length), np.int64)}


def _token_example() -> dict[str, Any]:
    import torch

    return {"input_ids": torch.ones(1, 16, dtype=torch.int64),
            "attention_mask": torch.ones(1, 16, dtype=torch.int64)}  # fmt: skip


def _bert(layers: int, width: int, heads: int) -> tuple[Any, dict[str, Any]]:
    from transformers import BertConfig, BertModel

    config = BertConfig(vocab_size=_VOCABULARY, hidden_size=width, num_hidden_layers=layers,
                        num_attention_heads=heads, intermediate_size=4 * width)  # fmt: skip
    config._attn_implementation = "eager"
    module = BertModel(config, add_pooling_layer=False)
    return _wrap(lambda m, ids, mask: m(ids, attention_mask=mask)[0], module), _token_example()


def _t5() -> tuple[Any, dict[str, Any]]:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(vocab_size=_VOCABULARY, d_model=512, d_kv=64, d_ff=2048, num_layers=6,
                      num_heads=8)  # fmt: skip
    config._attn_implementation = "eager"
    module = T5EncoderModel(config)
    return _wrap(lambda m, ids, mask: m(ids, attention_mask=mask)[0], module), _token_example()


# --- images and sounds ------------------------------------------------------------------------


def _vit(width: int, heads: int) -> tuple[Any, dict[str, Any]]:
    import torch
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(hidden_size=width, num_attention_heads=heads, intermediate_size=4 * width)
    config._attn_implementation = "eager"
    module = ViTModel(config, add_pooling_layer=False)
    return _wrap(lambda m, x: m(x)[0], module), {"images": torch.zeros(1, 3, 224, 224)}


def _image_feeds(rng: np.random.Generator, length: int) -> dict[str, np.ndarray]:
    return {"images": rng.standard_normal((1, 3, 224, 224)).astype(np.float32)}


def _whisper() -> Any:
    from transformers import WhisperConfig, WhisperModel

    config = WhisperConfig(vocab_size=_VOCABULARY, d_model=384, encoder_layers=4,
                           decoder_layers=4, encoder_attention_heads=6, decoder_attention_heads=6,
                           encoder_ffn_dim=1536, decoder_ffn_dim=1536, pad_token_id=0,
                           bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
                           suppress_tokens=None)  # fmt: skip
    config._attn_implementation = "eager"
    return WhisperModel(config)


def _whisper_encoder() -> tuple[Any, dict[str, Any]]:
    import torch

    return _wrap(lambda m, x: m(x)[0], _whisper().encoder), {"sound": torch.zeros(1, 80, 3000)}


def _sound_feeds(rng: np.random.Generator, length: int) -> dict[str, np.ndarray]:
    return {"sound": rng.standard_normal((1, 80, 3000)).astype(np.float32)}


def _whisper_decoder() -> tuple[Any, dict[str, Any]]:
    import torch

    def call(decoder: Any, ids: Any, states: Any) -> Any:
        # Without a mask transformers looks for packed sequences, by what no exporter knows.
        mask = torch.ones_like(ids)
        return decoder(ids, mask, encoder_hidden_states=states, use_cache=False)[0]

    example = {"ids": torch.ones(1, 16, dtype=torch.int64), "states": torch.zeros(1, 1500, 384)}
    return _wrap(call, _whisper().decoder), example


def _decoder_feeds(rng: np.random.Generator, length: int) -> dict[str, np.ndarray]:
    states = rng.standard_normal((1, 1500, 384)).astype(np.float32)
    return {"ids": rng.integers(0, _VOCABULARY, (1, length)), "states": states}


# --- decoding ---------------------------------------------------------------------------------

_GPT_LAYERS, _GPT_HEADS = 12, 12


def _gpt2() -> tuple[Any, dict[str, Any]]:
    import torch
    from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

    config = GPT2Config()
    config._attn_implementation = "eager"

    def call(module: Any, ids: Any, *past: Any) -> Any:
        pairs = list(zip(past[::2], past[1::2], strict=True))
        cache = DynamicCache(pairs)
        result = module(ids, past_key_values=cache, use_cache=True)
        layers = result.past_key_values.layers
        return result.logits, *(part for layer in layers for part in (layer.keys, layer.values))

    example = {"ids": torch.ones(1, 1, dtype=torch.int64)}
    example |= {name: torch.zeros(1, _GPT_HEADS, 16, 64) for name in _PAST}
    return _wrap(call, GPT2LMHeadModel(config)), example


_PAST = [f"past_{layer}_{part}" for layer in range(_GPT_LAYERS) for part in ("key", "value")]


def _gpt2_feeds(rng: np.random.Generator, length: int) -> dict[str, np.ndarray]:
    shape = (1, _GPT_HEADS, length, 64)
    past = {name: rng.standard_normal(shape).astype(np.float32) for name in _PAST}
    return {"ids": np.array([[7]]), **past}


NETWORKS = {
    "minilm": Network(lambda: _bert(6, 384, 12), _TOKENS, _token_feeds,
                      optimizer=("bert", 12, 384)),
    "bert": Network(lambda: _bert(12, 768, 12), _TOKENS, _token_feeds,
                    optimizer=("bert", 12, 768)),
    "t5": Network(_t5, _TOKENS, _token_feeds, optimizer=("t5", 8, 512)),
    "vit_s": Network(lambda: _vit(384, 6), {}, _image_feeds, (197,), ("vit", 6, 384)),
    "vit_b": Network(lambda: _vit(768, 12), {}, _image_feeds, (197,), ("vit", 12, 768)),
    "whisper_encoder": Network(_whisper_encoder, {}, _sound_feeds, (1500,), ("bart", 6, 384)),
    "whisper_decoder": Network(_whisper_decoder, {"ids": {1: "length"}}, _decoder_feeds, (16, 64),
                               ("bart", 6, 384)),
    "gpt2": Network(_gpt2, {name: {2: "past"} for name in _PAST}, _gpt2_feeds, (16, 128, 512),
                    ("gpt2", 12, 768)),
}  # fmt: skip
"""Transformers by name; the lengths of `gpt2` are those of its cache, at one new token."""


def exported(name: str) -> Path:
    """Return the file of a network, which torch writes at the first call."""
    import torch

    path = zoo.cache_folder() / "transformers" / f"{name}.onnx"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(0)
        network = NETWORKS[name]
        module, example = network.build()
        free = {key: axes for key, axes in network.free.items()}
        with torch.no_grad():
            torch.onnx.export(module, tuple(example.values()), str(path), dynamo=False,
                              input_names=list(example), dynamic_axes=free,
                              opset_version=17)  # fmt: skip
    return path


def optimized(name: str, path: Path) -> Path | None:
    """Return the file with the fusions of onnxruntime's transformer optimizer, if it can."""
    from onnxruntime.transformers import optimizer

    target = path.with_name(f"{path.stem}-optimized.onnx")
    kind, heads, width = NETWORKS[name].optimizer
    if not target.exists():
        try:
            fused = optimizer.optimize_model(str(path), kind, num_heads=heads, hidden_size=width)
            fused.save_model_to_file(str(target))
        except Exception as error:  # it has exceptions of every kind
            print(f"{name}: onnxruntime's transformer optimizer fails: {error}")
            return None
    return target


def measure(name: str, length: int, threads: int, seconds: float) -> Race:
    """Let engines run a network at a length; ``fused`` is onnxruntime with its own fusions."""
    path = exported(name)
    feeds = NETWORKS[name].feeds(np.random.default_rng(0), length)
    files = dict.fromkeys(("sardonyx", "onnxruntime", "openvino"), path)
    fused = optimized(name, path)
    if fused is not None:
        files["fused"] = fused
    return race(files, feeds, threads, seconds, engines={"fused": "onnxruntime"})


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"of {', '.join(NETWORKS)}")] = None,
    threads: int = 1,
    seconds: float = 1.0,
    lengths: str = "",
) -> None:
    """Print times of all engines, and how many times as fast sardonyx is, by two quantiles."""
    for name in names or list(NETWORKS):
        chosen = [int(word) for word in lengths.split(",")] if lengths else NETWORKS[name].lengths
        for length in chosen:
            print(f"{name:16} {length:5} {measure(name, length, threads, seconds)}", flush=True)


if __name__ == "__main__":
    typer.run(main)
