"""Words that Python and compiled code share mean the same to both."""

import ast
from pathlib import Path

import pytest
from sardonyx.kernels import abi
from sardonyx.kernels.cpu import calls, executor, team


@pytest.mark.parametrize("name", ["evaluate", "plan", "fill", "schedule", "run", "work"])
def test_records_have_the_words_that_the_executors_kernels_read(name):
    module = {"work": team, "run": calls}.get(name, executor)
    assert getattr(abi, name.upper()) == getattr(module, name).fields


@pytest.mark.parametrize("table", ["CODE", "BUFFER", "PATCH", "PIECE", "COST", "STEP", "PORT"])
def test_every_column_of_a_table_has_one_name(table):
    columns = {name: value for name, value in vars(abi).items() if name.startswith(f"{table}_")}
    count = columns.pop(f"{table}_COLUMNS")
    assert sorted(columns.values()) == list(range(count))


def test_words_of_a_team_lie_in_cache_lines_of_their_own():
    """But for what the thread that has done the last part reads."""
    together = ("TEAM_SEQUENCE", "TEAM_DEADLINE", "TEAM_ENDED", "TEAM_FOLLOWS", "TEAM_WOKEN")
    words = [v for k, v in vars(abi).items() if k.startswith("TEAM_") and k not in together]
    lines = {8 * word // abi.ALIGNMENT for word in words}
    assert len(lines) == len(words)
    assert max(words) == abi.TEAM_LINES
    assert 8 * abi.LINE_ASLEEP == abi.ALIGNMENT
    assert 8 * abi.LINE_WORDS == 2 * abi.ALIGNMENT


def test_a_share_holds_the_most_parts():
    assert abi.SLICED_PARTS < 1 << abi.SHARE_SHIFT


@pytest.mark.parametrize("parts", [abi.FEW_PARTS, abi.MANY_PARTS, abi.SLICED_PARTS])
@pytest.mark.parametrize("threads", [1, 2, 3, 4, 6, 8, 12])
def test_as_many_rows_as_threads_are_one_for_each(parts, threads):
    ends = [threads * (parts * thread // threads) // parts for thread in range(threads + 1)]
    assert ends == list(range(threads + 1))


def test_nothing_is_imported():
    tree = ast.parse(Path(abi.__file__).read_text())
    assert not any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(tree))
