"""Findings of a profile: what takes time that it need not."""

from __future__ import annotations

import dataclasses

import pytest
from sardonyx.tools.findings import findings
from sardonyx.tools.profile import Profile, StepRow
from sardonyx.tools.roofline import SIZES, Roofline

STEP = StepRow(0, "a", "Conv", ("a",), "conv.convolve", "NHWC", "fp32", 100e3, 101e3, 0.1, 100, 100,
               1.0, 1.0, 0.9, "compute")  # fmt: skip


def step(**fields: object) -> StepRow:
    return dataclasses.replace(STEP, **fields)


def profiled(*steps: StepRow, outside_ns: float = 0.0) -> Profile:
    total = sum(each.median_ns for each in steps) + outside_ns
    roof = Roofline("test", 1, 100.0, (10.0,) * len(SIZES))
    return Profile("m", 1, 5, list(steps), total, total, outside_ns, {}, roof)


def texts(*steps: StepRow, **more: float) -> list[str]:
    return [finding.text for finding in findings(profiled(*steps, **more))]


def test_a_good_profile_has_none():
    assert texts(step(), step(reference_ns=150e3), step(reference_ns=95e3)) == []


def test_steps_that_onnxruntime_does_faster_are_named_together():
    (found,) = texts(
        step(nodes=("p",), op_type="MaxPool", kernel="max_pool.max_pool[3]", reference_ns=50e3),
        step(nodes=("q",), op_type="MaxPool", kernel="max_pool.max_pool[2]", reference_ns=75e3),
        step(),
    )
    assert found.startswith("MaxPool (p, q) take 1.60 times as long as in onnxruntime")
    assert "75 µs more" in found


@pytest.mark.parametrize(
    ("op_type", "kernel", "ratio"),
    [
        ("MaxPool", "max_pool.max_pool[1, 3, 3, 2, 4, 'f32']", 0.74),
        ("Conv", "strips.strips", 0.52),
        ("Conv", "depthwise.depthwise[3, 1, 7, 'f32', 'near']", 0.78),
        ("Add", "pointwise.pointwise['add(x0,x1)', 'f32v f32v f32v']", 0.91),
        ("ReduceMean", "reduce.reduce['mean', 'f32']", 0.79),
    ],
)
def test_each_kind_of_step_that_was_slower_on_intel_is_named(op_type, kernel, ratio):
    """With speeds over onnxruntime's that an Emerald Rapids had."""
    slow = step(nodes=("s",), op_type=op_type, kernel=kernel, reference_ns=ratio * 100e3)
    (found,) = texts(slow, step(), step(reference_ns=150e3))
    assert found.startswith(f"{op_type} (s) takes {1 / ratio:.2f} times as long as in onnxruntime")


def test_small_losses_and_short_steps_are_not_worth_a_line():
    """onnxruntime's profiler counts whole microseconds."""
    assert texts(step(median_ns=4e3, reference_ns=1e3)) == []
    assert texts(step(median_ns=100e6), step(reference_ns=50e3)) == []


def test_steps_far_below_the_roof_are_named_with_what_bounds_them():
    (found,) = texts(step(roof=0.25, bound="memory"), step(roof=0.9))
    assert found.startswith("Conv (a) reaches 25.0 % of the roof (memory): 75 µs beyond")


def test_host_steps_changes_of_layout_and_time_outside_are_told():
    host = step(nodes=("h",), op_type="Unique", layout="host", kernel="onnx.reference", roof=None)
    order = step(op_type="Reorder", kernel="copy.copy[4]", roof=0.1)
    found = texts(host, order, outside_ns=60e3)
    assert any(text == "Unique (h) runs in Python, without a kernel: 100 µs" for text in found)
    assert any("1 changes of layout take 100 µs" in text for text in found)
    assert any("outside of steps" in text for text in found)


def test_the_most_expensive_come_first_and_a_few_are_named():
    low = [step(nodes=(f"n{i}",), roof=0.1, median_ns=1e5 + i) for i in range(5)]
    slow = step(nodes=("s",), op_type="Add", kernel="pointwise", reference_ns=90e3, roof=0.9)
    found = texts(*low, slow)
    assert found[0].startswith("Conv (n4, n3, n2 and 2 more) reach 10.0 %")
    assert found[1].startswith("Add (s) takes 1.11 times")
