from __future__ import annotations

import pytest

from tests.suites.jobs import Jobs


@pytest.fixture
def jobs(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return Jobs(folder)
