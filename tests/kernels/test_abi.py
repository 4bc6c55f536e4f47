"""Words that Python and compiled code share mean the same to both."""

import ast
from pathlib import Path

import pytest
from sardonyx.kernels import abi
from sardonyx.kernels.cpu import executor


@pytest.mark.parametrize("name", ["evaluate", "plan", "fill", "schedule", "run", "work"])
def test_records_have_the_words_that_the_executors_kernels_read(name):
    assert getattr(abi, name.upper()) == getattr(executor, name).fields


@pytest.mark.parametrize("table", ["CODE", "BUFFER", "PATCH", "COST", "STEP"])
def test_every_column_of_a_table_has_one_name(table):
    columns = {name: value for name, value in vars(abi).items() if name.startswith(f"{table}_")}
    count = columns.pop(f"{table}_COLUMNS")
    assert sorted(columns.values()) == list(range(count))


def test_words_of_a_team_lie_in_cache_lines_of_their_own():
    words = [v for k, v in vars(abi).items() if k.startswith("TEAM_") and k != "TEAM_WORDS"]
    lines = {8 * word // abi.ALIGNMENT for word in words}
    assert len(lines) == len(words)
    assert max(words) < abi.TEAM_WORDS


def test_nothing_is_imported():
    tree = ast.parse(Path(abi.__file__).read_text())
    assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree))
