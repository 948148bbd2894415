"""How an object is cut into parts, and an upload that does not come on."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from pai_train.storage.gcs_upload import GcsUpload
from pai_train.storage.object_streams import Parts


class Counted:
    """Takes so many parts and keeps none."""

    in_order = False

    def __init__(self, most: int | None) -> None:
        self.most_parts = most

    async def send(self, part: bytes) -> None:
        pass


@pytest.mark.parametrize(("most", "reaches"), [(100, 10 * 1023), (None, 100)])
def test_parts_grow_where_a_service_counts_them(most: int | None, reaches: int) -> None:
    async def lengths() -> list[int]:
        upload: Any = Counted(most)
        parts, found = Parts(upload, 1), []
        for _ in range(100):
            found.append(parts.length(1))
            await parts.send(b"")
        return found

    found = asyncio.run(lengths())
    assert found == sorted(found)
    assert (found[0], sum(found)) == (1, reaches)


@pytest.mark.parametrize("kept", [None, "bytes=0-3"], ids=["nothing", "a beginning"])
def test_a_service_that_keeps_nothing_is_given_up(kept: str | None) -> None:
    sent = 0

    async def request(method: str, path: str, **_: Any) -> Any:
        nonlocal sent
        sent += 1
        if method == "POST" and sent == 1:
            return 200, {"Location": "http://there/session?id=1"}, None, b""
        assert sent < 99
        return 308, {} if kept is None else {"Range": kept}, None, b""

    filesystem: Any = SimpleNamespace(_location="http://there", _request=request, resumes=True)
    with pytest.raises(ConnectionError, match="keeps none"):
        asyncio.run(GcsUpload(filesystem, "bucket", "key", False).send(b"12345678"))
