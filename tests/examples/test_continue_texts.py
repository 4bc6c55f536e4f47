"""A decoder with a cache continues a prompt as transformers does."""

from __future__ import annotations

import pytest
from sardonyx.tools import cli
from typer.testing import CliRunner


@pytest.mark.filterwarnings("ignore")
def test_steps_and_the_command_write_what_transformers_writes(example, tmp_path):
    for package in ("torch", "transformers", "tokenizers"):
        pytest.importorskip(package)
    arguments = ["--output", str(tmp_path), "--tokens", "12"]
    outcome = example("continue_texts").main(arguments)
    assert len(outcome.tokens) == 12 and outcome.tokens == outcome.expected
    command = ["generate", str(tmp_path), "--prompt", "Once upon a time", "--tokens", "12"]
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == 0, result.output
    assert outcome.text.strip() in result.output and "a second" in result.output
