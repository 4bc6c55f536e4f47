"""Generation of text, with a decoder that names the sum of all tokens."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
import sardonyx
from sardonyx.errors import InvalidArgument
from sardonyx.tools import cli
from sardonyx.tools.generate import Decoder, Sampling, generate_tokens
from typer.testing import CliRunner

WORDS = [*"abcdefghijklmnop"]
ENDING = len(WORDS) - 1
MODEL = f"""<ir_version: 10, opset_import: ["" : 21]>
g (int64[batch, sequence] input_ids, int64[batch, total] attention_mask,
   float[batch, 1, past, 1] past_key_values_0_key)
    => (float[batch, 1, {len(WORDS)}] logits, float[batch, 1, all, 1] present_0_key) {{
    axes = Constant<value_ints=[1, 3]>()
    ids = Cast<to=1>(input_ids)
    new = Unsqueeze(ids, axes)
    present_0_key = Concat<axis=2>(past_key_values_0_key, new)
    two = Constant<value_ints=[2]>()
    sum = ReduceSum<keepdims=0>(present_0_key, two)
    count = Constant<value_float={len(WORDS)}.0>()
    rest = Mod<fmod=1>(sum, count)
    start = Constant<value_float=0.0>() one = Constant<value_float=1.0>()
    all_tokens = Range(start, count, one)
    apart = Sub(all_tokens, rest)
    distance = Abs(apart)
    logits = Neg(distance)
}}"""
BRANCHES = f"""<ir_version: 10, opset_import: ["" : 21]>
g (int64[batch, sequence] input_ids, int64[batch, total] attention_mask,
   float[batch, 1, past, 1] past_key_values_0_key, bool[1] use_cache_branch)
    => (float[batch, 1, {len(WORDS)}] logits, float[batch, 1, all, 1] present_0_key) {{
    axes = Constant<value_ints=[1, 3]>()
    ids = Cast<to=1>(input_ids)
    new = Unsqueeze(ids, axes)
    present_0_key = If (use_cache_branch) <
        then_branch = later () => (all1) {{ all1 = Concat<axis=2>(past_key_values_0_key, new) }},
        else_branch = first () => (all2) {{ all2 = Identity(new) }}>
    {MODEL[MODEL.index("two = Constant") :]}"""


def decoder() -> sardonyx.Session:
    return sardonyx.Session(onnx.parser.parse_model(MODEL).SerializeToString(), threads=1)


def continued(prompt: list[int], most: int) -> list[int]:
    """Compute what the decoder continues a prompt with."""
    tokens = list(prompt)
    while len(tokens) < len(prompt) + most and (token := sum(tokens) % len(WORDS)) != ENDING:
        tokens.append(token)
    return tokens[len(prompt) :]


@pytest.mark.parametrize("prompt", [[1], [3, 4, 5], [7] * 300])
def test_tokens_follow_from_all_before(prompt: list[int]) -> None:
    tokens = list(generate_tokens(decoder(), prompt, most=40, ends=[ENDING]))
    assert tokens == continued(prompt, 40)


def test_a_branch_for_the_first_run_is_taken_once() -> None:
    session = sardonyx.Session(onnx.parser.parse_model(BRANCHES).SerializeToString(), threads=1)
    assert list(generate_tokens(session, [3, 4, 5], most=40)) == continued([3, 4, 5], 40)


def test_samples_follow_the_probabilities() -> None:
    logits = np.log(np.array([0.5, 0.2, 0.2, 0.1], np.float32))

    def drawn(**options: float) -> np.ndarray:
        choose = Sampling(**options).chooser()  # type: ignore[arg-type]
        return np.bincount([choose(logits) for _ in range(4000)], minlength=4) / 4000

    np.testing.assert_allclose(drawn(temperature=1.0), [0.5, 0.2, 0.2, 0.1], atol=0.04)
    np.testing.assert_allclose(drawn(temperature=1.0, top_k=1), [1, 0, 0, 0])
    np.testing.assert_allclose(drawn(temperature=1.0, top_p=0.6), [5 / 7, 2 / 7, 0, 0], atol=0.04)
    np.testing.assert_allclose(drawn(temperature=0.01), [1, 0, 0, 0])
    np.testing.assert_allclose(drawn(), [1, 0, 0, 0])
    assert drawn(temperature=2.0)[3] > 0.12


def test_wrong_sampling_is_refused() -> None:
    for options in ({"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}):
        with pytest.raises(InvalidArgument):
            Sampling(**options)  # type: ignore[arg-type]


def test_models_that_are_no_decoders_are_refused() -> None:
    text = MODEL.replace("attention_mask", "token_type_ids")
    session = sardonyx.Session(onnx.parser.parse_model(text).SerializeToString())
    with pytest.raises(InvalidArgument, match="token_type_ids"):
        Decoder(session)
    with pytest.raises(InvalidArgument, match="empty"):
        Decoder(decoder()).read([])


def test_models_without_a_cache_are_refused() -> None:
    text = MODEL.replace("past_key_values_0_key", "earlier").replace("present_0_key", "all_keys")
    session = sardonyx.Session(onnx.parser.parse_model(text).SerializeToString())
    with pytest.raises(InvalidArgument, match=r"no cache: none of its outputs .*all_keys"):
        Decoder(session)


def write_folder(folder: Path) -> None:
    """Write a model, a tokenizer of a letter a token, and what ends a text."""
    tokenizers = pytest.importorskip("tokenizers", reason="the extra 'generate' is not installed")
    model = tokenizers.models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="a")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = tokenizers.decoders.Fuse()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"eos_token_id": ENDING}))
    onnx.save(onnx.parser.parse_model(MODEL), folder / "model.onnx")


def test_command_shows_the_text(tmp_path: Path) -> None:
    write_folder(tmp_path)
    arguments = ["generate", str(tmp_path), "--prompt", "bcd", "--tokens", "12"]
    result = CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 0, result.output
    wanted = "".join(WORDS[token] for token in continued([1, 2, 3], 12))
    assert wanted in result.output
    assert "opened in" in result.output and "12 tokens" in result.output


def test_command_says_what_a_folder_lacks(tmp_path: Path) -> None:
    def output() -> str:
        result = CliRunner().invoke(cli.app, ["generate", str(tmp_path), "-p", "b"])
        assert result.exit_code == 1
        return " ".join(result.output.split())

    assert "no tokenizer.json" in output()
    write_folder(tmp_path)
    (tmp_path / "model.onnx").unlink()
    assert "no model" in output()
    (tmp_path / "config.json").write_text("{")
    onnx.save(onnx.parser.parse_model(MODEL), tmp_path / "model.onnx")
    assert "not valid JSON" in output()
    (tmp_path / "tokenizer.json").write_text("{}")
    assert "is no tokenizer" in output()
