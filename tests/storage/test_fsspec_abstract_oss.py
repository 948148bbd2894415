"""fsspec's own suite for filesystems, on OSS: what libraries that speak fsspec may rely on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from fsspec.tests.abstract import (
    AbstractCopyTests,
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
    AbstractPutTests,
)

if TYPE_CHECKING:
    from pai_train.storage.oss import OssObjects
    from tests.servers.served import Served


class OssFixtures(AbstractFixtures):
    @pytest.fixture
    def fs(self, oss_server: Served, monkeypatch: pytest.MonkeyPatch) -> OssObjects:
        oss_server.enter(monkeypatch)
        return oss_server.stores().open(oss_server.root()).filesystem

    @pytest.fixture
    def fs_path(self, oss_server: Served) -> str:
        return oss_server.root().removeprefix("oss://")

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False  # a folder is nothing but the beginning of keys


class TestOssCopy(OssFixtures, AbstractCopyTests):
    pass


class TestOssGet(OssFixtures, AbstractGetTests):
    pass


class TestOssPut(OssFixtures, AbstractPutTests):
    pass


class TestOssOpen(OssFixtures, AbstractOpenTests):
    pass


class TestOssPipe(OssFixtures, AbstractPipeTests):
    pass
