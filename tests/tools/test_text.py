import pytest
from sardonyx.tools import text


@pytest.mark.parametrize(
    ("ns", "expected"),
    [(0, "0 ns"), (999, "999 ns"), (1500, "1.5 µs"), (2.5e6, "2.5 ms"), (3e9, "3 s")],
)
def test_duration(ns, expected):
    assert text.duration(ns) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (5 * 2**30, "5.0 GiB")],
)
def test_size(count, expected):
    assert text.size(count) == expected


@pytest.mark.parametrize(
    ("count", "expected"), [(12, "12"), (25_600_000, "25.6 M"), (8.2e9, "8.2 G")]
)
def test_number(count, expected):
    assert text.number(count) == expected


def test_shape():
    assert text.shape((1, "n", None)) == "1×n×?"
    assert text.shape(()) == "scalar"
    assert text.shape(None) == "any shape"


def test_missing_values_are_dashes():
    assert text.milliseconds(None) == text.error(None) == text.percent(None) == "–"
    assert (text.milliseconds(1.5e6), text.error(0.0), text.percent(0.125)) == (
        "1.500",
        "0",
        "12.5 %",
    )


def test_units_and_tails():
    assert text.number(1, "FLOP") == "1 FLOP"
    assert text.number(8.2e9, "FLOP") == "8.2 GFLOP"
    assert text.tail("model/block/conv", 10) == "…lock/conv"
    assert text.tail("conv", 10) == "conv"


def test_what_goes_into_a_pipe_is_wide_and_has_no_blanks_at_the_ends(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS")
    console = text.console()
    assert console.width == 200
    table = text.table("a title", "name", "number:")
    table.add_row("x" * 150, "1")
    text.show(console, table, "[bold]end[/bold]")
    lines = capsys.readouterr().out.splitlines()
    assert any("x" * 150 in line for line in lines) and "end" in lines
    assert all(line == line.rstrip() for line in lines)
    monkeypatch.setenv("COLUMNS", "90")
    assert text.console().width == 90


def test_what_goes_into_a_pipe_is_wide_also_where_colours_are_forced(monkeypatch):
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "dumb")
    assert text.console().width == 200
