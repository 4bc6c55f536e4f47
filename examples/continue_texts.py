"""Texts from a decoder with a cache: export, single steps, and a folder for `sardonyx generate`.

    python examples/continue_texts.py --prompt "Once upon a time"

The decoder is a small GPT-2 of transformers whose weights are random and whose tokens are bytes, so
what it writes means nothing; a trained one is exported in the same way. Needs torch, transformers
and tokenizers.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sardonyx
from sardonyx.tools.generate import TextModel

_END = 0


@dataclass(frozen=True)
class Outcome:
    """What became of a prompt.

    Attributes
    ----------
    tokens, expected : list of int
        Those that the steps of a session and transformers' own generation continue it with.
    text : str
        What `sardonyx generate` shows.
    folder : Path
        Model, tokenizer and configuration.
    """

    tokens: list[int]
    expected: list[int]
    text: str
    folder: Path


def random_decoder() -> Any:
    """Make a GPT-2 of two layers."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=256, n_positions=512, n_embd=64, n_layer=2, n_head=4,
        bos_token_id=_END, eos_token_id=_END,
    )  # fmt: skip
    return GPT2LMHeadModel(config).eval()


def exported(model: Any) -> Any:
    """Export a decoder whose inputs are tokens and the keys and values of all before."""
    import torch

    batch, past, new = 2, 5, 3
    with torch.no_grad():
        before = model(input_ids=torch.ones((batch, past), dtype=torch.long), use_cache=True)
    return sardonyx.load(
        model,
        example_inputs={
            "input_ids": torch.ones((batch, new), dtype=torch.long),
            "past_key_values": before.past_key_values,
            "attention_mask": torch.ones((batch, past + new), dtype=torch.long),
        },
    )


def write_folder(model: Any, folder: Path) -> None:
    """Write what `sardonyx generate` reads; a trained model brings its own tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    sardonyx.save(exported(model), folder / "model.onnx")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"eos_token_id": _END}))


def continued(session: sardonyx.Session, prompt: Sequence[int], count: int) -> list[int]:
    """Take the most probable token so many times; the cache stays in the session's memory."""
    model = session.stateful(capacity=256)
    tokens: list[int] = []
    unread = list(prompt)
    while len(tokens) < count:
        feeds = {
            "input_ids": np.array([unread]),
            "attention_mask": np.ones((1, model.length + len(unread)), np.int64),
        }
        (logits,) = model.run(["logits"], feeds)
        unread = [int(logits[0, -1].argmax())]
        tokens += unread
    return tokens


def expected_of(model: Any, prompt: Sequence[int], count: int) -> list[int]:
    """Let transformers continue a prompt."""
    import torch

    tokens = torch.tensor([list(prompt)])
    found = model.generate(
        tokens, attention_mask=torch.ones_like(tokens), do_sample=False, pad_token_id=_END,
        max_new_tokens=count, min_new_tokens=count, eos_token_id=None,
    )  # fmt: skip
    return [int(each) for each in found[0, len(prompt) :]]


def main(argv: Sequence[str] | None = None) -> Outcome:
    """Export a decoder, and continue a prompt by it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--prompt", default="Once upon a time")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--output", type=Path, default=Path("build/examples/decoder"))
    arguments = parser.parse_args(argv)
    arguments.output.mkdir(parents=True, exist_ok=True)
    decoder = random_decoder()
    write_folder(decoder, arguments.output)

    model = TextModel.open(arguments.output, threads=1)
    prompt = model.tokenizer.encode(arguments.prompt).ids
    tokens = continued(model.session, prompt, arguments.tokens)
    start = time.perf_counter()
    text = "".join(model.write(arguments.prompt, most=arguments.tokens))
    rate = arguments.tokens / (time.perf_counter() - start)
    print(f"{arguments.prompt}{text}\n{rate:.0f} tokens a second, the prompt included")
    expected = expected_of(decoder, prompt, arguments.tokens)
    print("as transformers has it" if tokens == expected else f"transformers: {expected}")
    print(f"sardonyx generate {arguments.output} --prompt {arguments.prompt!r}")
    return Outcome(tokens, expected, text, arguments.output)


if __name__ == "__main__":
    main()
