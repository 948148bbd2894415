from __future__ import annotations

import pytest

from tests.suites.jobs import Jobs


@pytest.fixture
def jobs(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return Jobs(folder)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def served(request, monkeypatch):
    """The server that an indirect parameter names, with its environment entered."""
    served = request.getfixturevalue(f"{request.param}_server")
    served.enter(monkeypatch)
    return served
