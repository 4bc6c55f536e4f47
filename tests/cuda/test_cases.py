"""The cases that `cuda_check` runs on a GPU, in the simulator."""

import pytest
from sardonyx.tools.cuda_cases.cases import MODULES, cases_of

CASES = [case for module in MODULES for case in cases_of(module)]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(case):
    case.run()
