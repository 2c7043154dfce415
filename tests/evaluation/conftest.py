import json
import pathlib

import pytest

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "fixtures"


@pytest.fixture(scope="session")
def golden():
    """Decisions of the official evaluation code."""
    return json.loads((FIXTURES / "eval.json").read_text())
