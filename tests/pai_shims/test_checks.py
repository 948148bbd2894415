"""Every `check_…` function of the check modules, each in a process forked from one that has TensorFlow 1."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHECKS = [
    pytest.param(
        path.stem,
        name,
        id=f"{path.stem[7:]}-{name[6:]}",
        marks=[pytest.mark.full] if name.startswith("check_full_") else [],
    )
    for path in sorted(HERE.glob("checks_*.py"))
    for name in re.findall(r"^def (check_\w+)\(", path.read_text(), re.MULTILINE)
]


@pytest.mark.parametrize(("module", "name"), CHECKS)
def test_check(tf1, tmp_path, module, name):
    before = len(tf1.output)
    pid = tf1.start("tests.pai_shims.tf1:check", f"tests.pai_shims.{module}", name, str(tmp_path))
    assert tf1.wait(pid, 120) == 0, tf1.output[before:]
