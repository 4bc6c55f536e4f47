"""The conformance suite lowered for a GPU: what stays on the CPU, plans, and kernels that compile.

``cuda_on_the_cpu.txt`` lists what a GPU does not run. A kernel is compiled once, by whichever test
comes first; that it compiles is remembered as long as the sources and compilers stay the same.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
from pathlib import Path

import pytest
from sardonyx.errors import UnsupportedModel

if importlib.util.find_spec("numba_cuda") is None:
    pytest.skip("needs numba-cuda: pip install 'sardonyx[cuda]'", allow_module_level=True)

from .cuda_lowering import LIST, listed, lowered, model_of, suite

PARTS = 24
WITHOUT = {"test_gradient_of_add", "test_gradient_of_add_and_mul"}
"""Training operators, for which there is nothing to lower."""


@pytest.fixture(scope="module")
def cases():
    return suite()


@pytest.fixture(scope="module")
def known():
    return listed()


def sources_digest():
    """Digest of what compiled kernels follow from."""
    from sardonyx import kernels

    digest = hashlib.sha256()
    for path in sorted(Path(kernels.__file__).parent.glob("**/*.py")):
        digest.update(path.read_bytes())
    for name in ("numba-cuda", "nvidia-nvvm", "numba"):
        digest.update(importlib.metadata.version(name).encode())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def compile_once(tmp_path_factory):
    from sardonyx.kernels.cuda.compilation import compiled
    from sardonyx.kernels.cuda.kernel import find

    base = os.environ.get("SARDONYX_CACHE") or tmp_path_factory.getbasetemp().parent
    folder = Path(base, "cuda_compiled", sources_digest())
    folder.mkdir(parents=True, exist_ok=True)

    def compile_once(ref):
        """Compile a kernel, unless another test has or does."""
        mark = folder / hashlib.sha256(str(ref).encode()).hexdigest()
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return
        try:
            ptx = compiled(find(ref), (8, 0))[0]
            assert b".extern .func" not in ptx  # what it calls is part of it
        except BaseException:
            mark.unlink()
            raise

    return compile_once


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(PARTS))
def test_a_part_of_the_suite_is_lowered(part, cases, known, compile_once):
    wrong = []
    for name in sorted(cases)[part::PARTS]:
        if name in WITHOUT:
            with pytest.raises(UnsupportedModel):
                lowered(model_of(cases[name]))
            continue
        found = lowered(model_of(cases[name]))
        if found.elsewhere != known.get(name, set()):
            wrong.append((name, sorted(found.elsewhere), sorted(known.get(name, set()))))
        for launch in found.launches:
            grid, block = launch.grid, launch.block
            assert 0 < min(grid) <= max(grid[1:]) < 1 << 16, name
            assert 0 < grid[0] < 1 << 31, name
            assert 0 < block[0] * block[1] * block[2] <= 512, name
        for ref in sorted(found.kernels, key=str):
            compile_once(ref)
    assert not wrong, f"{wrong}; is that right, run tests/conformance/cuda_lowering.py: {LIST.name}"


def test_the_list_is_of_cases_that_there_are(cases, known):
    assert set(known) <= set(cases)
    assert len(cases) >= 2000
    assert len(known) <= len(cases) / 4
