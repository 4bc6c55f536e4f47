"""What can be run says what it is, without any framework."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAMS = (
    "train_and_serve", "label_server", "classify_photographs", "similar_sentences",
    "transcribe_notes", "continue_texts", "own_operators",
)  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_explains_itself(name, example):
    module = example(name)
    command = [sys.executable, module.__file__, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert module.__doc__.partition("\n")[0] in " ".join(done.stdout.split())
