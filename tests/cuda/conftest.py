"""Tests in numba's simulator, which a variable turns on: ``tests/test_cuda.py`` sets it."""

import os

collect_ignore_glob = [] if os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" else ["test_*.py"]
