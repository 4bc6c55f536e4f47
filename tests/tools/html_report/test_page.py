"""Pages of reports: one file each, shown by a browser, whatever a model's names are."""

import copy
import json
import re

import numpy as np
import pytest
import sardonyx
from sardonyx.tools.demo import DATA
from sardonyx.tools.html_report.node_data import node_data
from sardonyx.tools.html_report.page import compared, data_of, page, write


def test_a_page_asks_nobody_for_anything(data):
    text = page(data)
    assert "default-src 'none'" in text
    assert not re.search(r"(src|href|url\()\s*=?\s*[\"']?https?:", text)


def test_a_browser_shows_every_part(data, browse):
    elements, answer = browse(page(data))
    assert answer["faults"] == []
    for title in ("digits", "Findings", "The program", "By operator", "Memory", "The optimizer"):
        assert title in elements
    assert elements.count("<canvas") == 2
    assert "sardonyx is" in elements  # the times of others


def test_a_click_on_a_step_shows_its_nodes_and_headings_sort(data, browse):
    script = """
    const box = document.querySelector('.list');
    const heading = [...box.querySelectorAll('.head button')].find((b) => b.textContent === 'time');
    heading.click();
    answer.first = box.querySelector('.row').children[3].textContent;
    box.querySelector('.row').click();
    answer.detail = document.getElementById('detail').textContent;
    const field = document.querySelector('input');
    field.value = 'softmax'; field.dispatchEvent(new Event('input'));
    answer.rows = box.querySelectorAll('.row').length;
    """
    _, answer = browse(page(data), script)
    assert answer["faults"] == []
    assert "step" in answer["detail"] and "operations" in answer["detail"]
    assert answer["rows"] == 1


def test_ten_thousand_nodes_are_a_few_rows_at_a_time(data, browse):
    many = copy.deepcopy(data)
    count = 10_000
    many["steps"] = [data["steps"][i % len(data["steps"])] for i in range(count)]
    many["nodes"] = [[f"/block.{i // 100}/layer.{i}/Conv", "Conv", i, "runs"] for i in range(count)]
    many["memory"]["buffers"] = [["x", 0, 10, i, i] for i in range(count)]
    script = """
    const box = document.querySelector('.list');
    answer.most = 0;
    for (let i = 0; i < 50; i += 1) {
      box.scrollTop = i * 5000;
      await rest(20);
      answer.most = Math.max(answer.most, box.querySelectorAll('.row').length);
    }
    answer.height = box.querySelector('.body').offsetHeight;
    """
    _, answer = browse(page(many), script)
    assert answer["faults"] == []
    assert 10 < answer["most"] < 100
    assert answer["height"] == 26 * count


HOSTILE = "</script><script>window.hacked=1</script><img src=x onerror=hacked=1>/*script*/"


def test_names_of_a_model_are_text_and_nothing_else(data, browse):
    bad = copy.deepcopy(data)
    bad["model"]["name"] = HOSTILE
    bad["findings"] = [[HOSTILE, 1]]
    bad["nodes"] = [[HOSTILE, HOSTILE, 0, "runs"]]
    bad["steps"][0][bad["columns"].index("nodes")] = [HOSTILE]
    bad["optimizer"]["explanations"] = [HOSTILE]
    script = """
    answer.hacked = window.hacked || 0;
    answer.title = document.querySelector('h1').textContent;
    """
    _, answer = browse(page(bad), script)
    assert answer == {"faults": [], "hacked": 0, "title": HOSTILE}


def test_two_reports_are_compared(data, browse, tmp_path):
    other = copy.deepcopy(data)
    median = data["columns"].index("median_ns")
    other["steps"] = [[*step] for step in data["steps"][:-1]]
    other["steps"][0][median] *= 2
    for name, each in (("a.html", data), ("b.html", other)):
        write(each, tmp_path / name)
    pair = compared(data_of(tmp_path / "a.html"), data_of(tmp_path / "b.html"))
    elements, answer = browse(page(pair), "answer.rows = document.querySelectorAll('.row').length;")
    assert answer["faults"] == [] and answer["rows"] == len(data["steps"])
    assert "digits (1) and digits (2)" in elements


@pytest.mark.parametrize("content", ["", "<html></html>", None])
def test_files_that_are_no_reports_are_refused(tmp_path, content, data):
    path = tmp_path / "file.html"
    if content is not None:
        path.write_text(content)
    with pytest.raises(sardonyx.InvalidArgument, match=r"file\.html"):
        data_of(path)
    write(compared(data, data), path)
    with pytest.raises(sardonyx.InvalidArgument, match="one model"):
        data_of(path)


def test_node_data_has_the_time_of_each_step_once(data):
    found = node_data(data)["main_graph"]
    steps = {step for _, _, step, _ in data["nodes"] if step >= 0}
    median = data["columns"].index("median_ns")
    total = sum(data["steps"][step][median] for step in steps) / 1000
    assert abs(sum(each["value"] for each in found["results"].values()) - total) < 0.01
    stops = [each["stop"] for each in found["gradient"]]
    assert stops == sorted(stops) and (stops[0], stops[-1]) == (0, 1)


def test_the_command_writes_a_page_and_node_data(call, tmp_path):
    model = DATA / "digits.onnx"
    options = ["-o", tmp_path / "a.html", "--runs", 2, "--no-reference"]
    done = call("report", model, *options, "--node-data", tmp_path / "a.json")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "a.json").read_text())["main_graph"]["results"]
    both = call(
        "report",
        "--compare",
        tmp_path / "a.html",
        model,
        "-o",
        tmp_path / "c.html",
        "--runs",
        2,
        "--no-reference",
    )
    assert both.exit_code == 0, both.output
    assert "compared" in (tmp_path / "c.html").read_text()
    assert call("report", model, model, "-o", tmp_path / "d.html").exit_code
    assert call("report", model, "-o", tmp_path / "no" / "d.html", *options[2:]).exit_code == 1


def test_a_session_shows_itself_in_a_notebook(tmp_path):
    session = sardonyx.Session(DATA / "digits.onnx", threads=1)
    shown = session.report(
        {"pixels": np.ones((1, 1, 8, 8), np.float32)}, runs=2, with_reference=False
    )
    text = shown._repr_html_()
    assert text.startswith("<iframe sandbox=") and "&lt;main" in text
    shown.save(tmp_path / "report.html")
    assert data_of(tmp_path / "report.html") == shown.data
    assert "steps" in repr(shown)
    assert len(sardonyx.report(session, runs=1, with_reference=False).data["steps"])
