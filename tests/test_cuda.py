"""Kernels of GPUs in numba's simulator: each file of ``tests/cuda`` in a process of its own.

The simulator is chosen when numba is imported, for the whole process.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sardonyx.tools.cuda_cases.cases import MODULES

FOLDER = Path(__file__).parent / "cuda"
CASES = "test_cases.py"
FILES = sorted({path.name for path in FOLDER.glob("test_*.py")} - {CASES})

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None,
    reason="needs numba-cuda: pip install 'sardonyx[cuda]'",
)


def in_the_simulator(*options):
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider",
               "-W", "ignore::RuntimeWarning", *options]  # fmt: skip
    alone = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        command, env=alone | {"NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True,
        cwd=FOLDER.parents[1], timeout=550, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5_000:]


@pytest.mark.parametrize("name", FILES)
def test_in_the_simulator(name):
    in_the_simulator(FOLDER / name)


@pytest.mark.parametrize("module", MODULES)
def test_cases_in_the_simulator(module):
    in_the_simulator(FOLDER / CASES, "-k", f"[{module}:")
