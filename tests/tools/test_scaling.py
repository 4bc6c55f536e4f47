"""Opening a model takes work that grows no faster than its graph."""

import sys

import onnx
import pytest
from sardonyx.importers import load
from sardonyx.importers.onnx.check import check_model
from sardonyx.optimizer.pipeline import LEVELS
from sardonyx.optimizer.report import Report
from sardonyx.runtime.lowering import lower
from sardonyx.tools.large_graphs import KINDS
from sardonyx.tools.scaling import table

NODES = 40


def work_of(function, *arguments):
    """Result, and number of lines of Python and calls of C that a function takes.

    Unlike time, it does not depend on what else the machine does.
    """
    work = 0

    def count_line(frame, event, argument):
        nonlocal work
        work += 1
        return count_line

    def count_call(frame, event, argument):
        nonlocal work
        work += event == "c_call"

    earlier = sys.gettrace()
    sys.settrace(count_line)
    sys.setprofile(count_call)
    try:
        result = function(*arguments)
    finally:
        sys.setprofile(None)
        sys.settrace(earlier)
    return result, work


def work_of_opening(kind, nodes):
    """Work of each stage of opening a model, and of each pass of the optimizer."""
    proto = KINDS[kind](nodes)
    data, work = proto.SerializeToString(), {}
    _, work["check"] = work_of(check_model, onnx.ModelProto.FromString(data))
    model, work["import"] = work_of(load, data)
    for name, optimizer_pass in LEVELS["all"].items():
        _, work[name] = work_of(optimizer_pass, model, Report())
    _, work["lower"] = work_of(lower, model)
    return work


@pytest.mark.parametrize("kind", KINDS)
def test_work_grows_no_faster_than_the_graph(kind):
    work_of_opening(kind, NODES)  # fills what is kept for all models
    small, middle, large = (work_of_opening(kind, count * NODES) for count in (1, 2, 4))
    for stage in small:
        # Twice is linear, four times the square; numbers of 128 and more take a byte more.
        first, second = middle[stage] - small[stage], large[stage] - middle[stage]
        assert second < 2.5 * first + 1000, stage


def test_a_table_of_times_and_memory():
    pytest.importorskip("onnxruntime")
    *_, row = table(["chain_open"], [20])
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:2] == ["chain open", "20"]
    assert [cell.split()[-1] for cell in cells[2:]] == ["s", "s", "s", "s", "MB", "s", "MB"]
