"""Models in Ray, Spark and Beam: the function of batches, and the examples on this machine."""

import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import sardonyx
import sardonyx.ray
from sardonyx.ray import Predictor
from sardonyx.tools.demo import DATA

ROOT = Path(__file__).parents[1]
MODEL = str(DATA / "digits.onnx")
PIXELS = np.random.default_rng(1).integers(0, 17, (4, 1, 8, 8)).astype(np.float32)
EXPECTED = sardonyx.Session(MODEL)(PIXELS)


def test_the_module_needs_no_ray():
    code = "import sardonyx.ray, sys; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_a_batch_becomes_outputs_beside_what_is_kept():
    predict = Predictor(MODEL, keep=["label"])
    found = predict({"pixels": PIXELS, "label": np.arange(4)})
    np.testing.assert_array_equal(found["label"], np.arange(4))
    np.testing.assert_allclose(found["probabilities"], EXPECTED, rtol=1e-5)


def test_columns_may_have_other_names():
    for predict, column in (
        (Predictor(MODEL), "image"),
        (Predictor(MODEL, columns={"pixels": "p"}), "p"),
    ):
        np.testing.assert_allclose(predict({column: PIXELS})["probabilities"], EXPECTED, rtol=1e-5)
    halved = Predictor(MODEL, prepare=lambda batch: {"pixels": batch["twice"] / 2})
    np.testing.assert_allclose(halved({"twice": 2 * PIXELS})["probabilities"], EXPECTED, rtol=1e-5)
    with pytest.raises(sardonyx.InvalidArgument, match=r"'pixels'.*\['a', 'b'\]"):
        Predictor(MODEL)({"a": PIXELS, "b": PIXELS})


def test_it_is_pickled_before_and_after_it_has_opened():
    predict = Predictor(MODEL, optimize="basic")
    for _ in range(2):
        again = pickle.loads(pickle.dumps(predict))
        np.testing.assert_allclose(again({"pixels": PIXELS})["probabilities"], EXPECTED, rtol=1e-5)
        predict({"pixels": PIXELS})


def test_threads_are_the_cpus_that_ray_has_assigned(monkeypatch):
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert sardonyx.ray.assigned_threads() is None
    for cpus, threads in ((2.0, 2), (0.5, 1), (None, 7)):
        resources = {} if cpus is None else {"CPU": cpus}
        context = types.SimpleNamespace(get_assigned_resources=lambda found=resources: found)
        fake = types.SimpleNamespace(
            is_initialized=lambda: True, get_runtime_context=lambda found=context: found
        )
        monkeypatch.setitem(sys.modules, "ray", fake)
        assert sardonyx.ray.assigned_threads() == threads
    monkeypatch.setitem(
        sys.modules,
        "ray",
        types.SimpleNamespace(
            is_initialized=lambda: True,
            get_runtime_context=lambda: types.SimpleNamespace(
                get_assigned_resources=lambda: {"CPU": 1.0}
            ),
        ),
    )
    assert Predictor(MODEL).session.threads == 1
    assert Predictor(MODEL, threads=2).session.threads == 2


def test_requests_that_do_not_fit_are_refused_alone():
    predict = Predictor(MODEL)
    image = PIXELS[0].tolist()
    requests = [
        {"pixels": image},
        {},
        {"pixels": "text"},
        3,
        {"pixels": [[1.0]]},
        {"pixels": image},
    ]
    answers = sardonyx.ray._answers(predict, requests)
    for index in (0, 5):
        np.testing.assert_allclose(answers[index]["probabilities"], EXPECTED[0], rtol=1e-5)
    assert all("error" in answers[index] for index in (1, 2, 3, 4))


EXAMPLES = {
    "ray_batches": ("ray", "98.0 % right"),
    "ray_service": ("ray", "the image shows a 2"),
    "spark_batches": ("pyspark", "97.5 % right"),
    "beam_batches": ("apache_beam", "(3, "),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_on_this_machine(name, tmp_path):
    package, expected = EXAMPLES[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    if package == "pyspark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not installed")
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": path, "PYSPARK_PYTHON": sys.executable}
    script = ROOT / "examples" / f"{name}.py"
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert expected in done.stdout, done.stdout[-1000:] + done.stderr[-3000:]
    assert len(script.read_text().splitlines()) <= 40


def test_a_worker_that_is_killed_loses_nothing(tmp_path):
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    code = f"""
import ray
from sardonyx.tools.cluster_bench import measure
ray.init("local", num_cpus=2, log_to_driver=False)
found = measure("sardonyx", {MODEL!r}, 2, 12, die={str(tmp_path / "died")!r})
print("rows", sorted(found["rows"].tolist()) == list(range(96)))
"""
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}, timeout=300,
    )  # fmt: skip
    assert "rows True" in done.stdout, done.stderr[-3000:]
    assert (tmp_path / "died").exists()
