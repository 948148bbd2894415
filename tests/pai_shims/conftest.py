"""One server for all checks of TensorFlow 1: it imports once, and every check is forked from it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.suites.zygote import Zygote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def tf1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    with Zygote(tmp_path_factory.mktemp("tf1"), "tests.pai_shims.tf1") as server:
        yield server


@pytest.fixture
def run_script(tf1: Zygote, tmp_path: Path) -> Callable[..., Any]:
    """Runs a script to its end and returns its RESULT."""

    def run(path: Path, *arguments: str, env: dict[str, str] | None = None, code: int = 0) -> Any:
        before, result = len(tf1.output), tmp_path / "result.json"
        pid = tf1.start("tests.pai_shims.tf1:script", str(path), list(arguments), str(result), env=env)
        assert tf1.wait(pid, 120) == code, tf1.output[before:]
        return json.loads(result.read_text()) if result.exists() else tf1.output[before:]

    return run
