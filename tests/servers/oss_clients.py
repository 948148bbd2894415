"""Alibaba Cloud's own client of OSS, unmodified, as the tests of the OSS server use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import alibabacloud_oss_v2 as oss
import pytest
from alibabacloud_oss_v2.transport import RequestsHttpClient
from alibabacloud_oss_v2.types import OperationInput

from tests.servers.oss_fixture import REGION, OssUser
from tests.servers.served import Served


class Rerouted(RequestsHttpClient):
    """A transport that changes each request after it was signed."""

    def __init__(self, change: Callable[[Any], None]) -> None:
        super().__init__()
        self._change = change

    def send(self, request: Any, **options: Any) -> Any:
        self._change(request)
        return super().send(request, **options)


def client_of(
    served: Served, user: OssUser | None = None, version: str = "v4", *, signer: Any = None, **settings: Any
) -> oss.Client:
    """Returns a client that tries once.

    Args:
        served: The server.
        user: Who signs; None for the server's own user.
        version: Of the signature.
        signer: What signs instead of the client's own signer of that version.
        settings: More of the client's configuration.
    """
    user = user or OssUser(served.env["OSS_ACCESS_KEY_ID"], served.env["OSS_ACCESS_KEY_SECRET"])
    config = oss.config.load_default()
    config.endpoint, config.region, config.use_path_style = served.endpoint, REGION, True
    config.signature_version, config.retry_max_attempts = version, 1
    config.credentials_provider = oss.credentials.StaticCredentialsProvider(user.key, user.secret, user.token)
    for name, value in settings.items():
        setattr(config, name, value)
    return oss.Client(config, **({} if signer is None else {"signer": signer}))


def refusal(ask: Callable[..., Any], *arguments: Any, **named: Any) -> oss.exceptions.ServiceError:
    """Returns how the server refuses what is asked."""
    with pytest.raises(oss.exceptions.BaseError) as caught:
        ask(*arguments, **named)
    error = caught.value
    while hasattr(error, "unwrap"):
        error = error.unwrap()
    assert isinstance(error, oss.exceptions.ServiceError), error
    return error


class Bucket:
    """A bucket, with a method for each operation of the client: `bucket.put_object(key=…, body=…)`."""

    def __init__(self, client: oss.Client, name: str) -> None:
        self.client = client
        self.name = name

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        kind = "".join(word.capitalize() for word in operation.split("_")) + "Request"
        request = getattr(oss, kind)
        return lambda **fields: getattr(self.client, operation)(request(bucket=self.name, **fields))

    def put(self, key: str, body: bytes = b"1", **fields: Any) -> Any:
        """Writes an object."""
        return self.put_object(key=key, body=body, **fields)

    def read(self, key: str, **fields: Any) -> bytes:
        """Reads an object."""
        return bytes(self.get_object(key=key, **fields).body.read())

    def raw(self, method: str, key: str | None = None, body: bytes = b"", **fields: Any) -> Any:
        """Sends what the client has no method for."""
        return self.client.invoke_operation(
            OperationInput("Raw", method, bucket=self.name, key=key, body=body, headers={}, **fields)
        )
