"""docs/operators.md says what the table of operators does."""

from __future__ import annotations

import pytest

from . import operators


@pytest.mark.timeout(600)
def test_the_document_is_that_of_the_table():
    wanted = operators.text()
    assert operators.FILE.read_text() == wanted, "write it anew: python -m tests.operators"
