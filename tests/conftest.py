"""Servers that tests share: each is started for the first test that asks for it; and no test's secrets outlive it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pai_train import redact

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest_plugins = [
    "tests.servers.oss_fixture",
    "tests.servers.s3_fixture",
    "tests.servers.gcs_fixture",
    "tests.servers.azure_fixture",
    "tests.servers.maxcompute_fixture",
]


@pytest.fixture(autouse=True)
def _nothing_stays_hidden() -> Iterator[None]:
    before = set(redact._hidden)
    yield
    redact._hidden.clear()
    redact._hidden.update(before)
