"""Who we are on OSS: keys from the environment or the provider's default chain, and RAM roles taken on with them.

No key ever comes from a config, and none is kept in an object that can be shown or pickled.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from typing import TYPE_CHECKING, Any, Protocol

from alibabacloud_oss_v2.credentials import CredentialsProvider  # type: ignore[import-untyped]
from alibabacloud_oss_v2.types import Credentials  # type: ignore[import-untyped]

from pai_train.storage.errors import AccessRefused

if TYPE_CHECKING:
    from pai_train.storage.options import Access

ROLE_SECONDS = 3600
_SESSION_NAME = "pai-train"
_CONNECT_MS, _ANSWER_MS = 5_000, 10_000

# The names of key, secret and token, in the order in which they are looked for.
_OSS_NAMES = "OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"
_CLOUD_NAMES = "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"
_TODO = f"set {_OSS_NAMES[0]} and {_OSS_NAMES[1]}, or {_CLOUD_NAMES[0]} and {_CLOUD_NAMES[1]}"


class _Keys(Protocol):
    def get_access_key_id(self) -> str: ...
    def get_access_key_secret(self) -> str: ...
    def get_security_token(self) -> str | None: ...


class _Source(Protocol):
    def get_credentials(self) -> _Keys: ...


class OssCredentials:
    """The credentials of one filesystem: one source for all buckets, one more for each role.

    Args:
        access: Names the profile and the roles.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._providers: dict[tuple[str | None, str | None], CredentialsProvider] = {}
        self._base: _Source | None = None

    def provider(self, bucket: str, sts_host: str | None) -> CredentialsProvider:
        """Returns what signs the requests to a bucket; of the same role, the same one.

        Args:
            bucket: Its name.
            sts_host: The region's token service, where ALIBABA_CLOUD_STS_ENDPOINT names none.
        """
        role = self._access.roles.get(bucket, self._access.role_arn)
        sts_host = os.environ.get("ALIBABA_CLOUD_STS_ENDPOINT") or sts_host
        with self._lock:
            if self._base is None:
                self._base = _Environment(self._access.profile)
            if (role, sts_host) not in self._providers:
                source = _role(role, self._base, sts_host) if role else self._base
                self._providers[role, sts_host] = _Provider(source, role)
            return self._providers[role, sts_host]


class _Provider(CredentialsProvider):  # type: ignore[misc]
    """Hands the client the keys of the moment."""

    def __init__(self, source: _Source, role: str | None) -> None:
        self._source = source
        self._role = role

    def get_credentials(self) -> Credentials:
        try:
            keys = self._source.get_credentials()
        except AccessRefused:
            raise
        except Exception as error:
            # The library raises what it likes, and its text may hold a whole answer of the token service.
            raise self._failure(error) from None
        return Credentials(keys.get_access_key_id(), keys.get_access_key_secret(), keys.get_security_token() or None)

    def _failure(self, error: Exception) -> Exception:
        status = re.search(r"http_code: (\d+)", str(error))
        about = f"the role {self._role}" if self._role else "credentials"
        if type(error).__name__ == "RetryError" or (status and int(status[1]) >= 500):
            return ConnectionError(f"the token service did not answer for {about}")
        if self._role is None:
            return AccessRefused("no credentials for OSS", got=_reason(error), wanted="a key", todo=_TODO)
        return AccessRefused(
            "the role cannot be taken on",
            where=self._role,
            got=_reason(error),
            todo="let the role trust this user (its trust policy), and allow the user sts:AssumeRole",
        )


class _Environment:
    """Keys from the environment, read at each use; without them the provider's chain, which refreshes by itself."""

    def __init__(self, profile: str | None) -> None:
        self._profile = profile
        self._chain: _Source | None = None
        self._lock = threading.Lock()

    def get_provider_name(self) -> str:
        return "environment"

    def get_credentials(self) -> _Keys:
        for names in (_OSS_NAMES, _CLOUD_NAMES):
            key, secret, token = (os.environ.get(name) for name in names)
            if key and secret:
                return _StaticKeys(key, secret, token)
            if key or secret:
                missing = names[1] if key else names[0]
                raise AccessRefused("half a credential for OSS", wanted=missing, todo=f"set {missing}")
        with self._lock:
            if self._chain is None:
                self._chain = _chain(self._profile)
        return self._chain.get_credentials()


class _StaticKeys:
    def __init__(self, key: str, secret: str, token: str | None) -> None:
        self._key = key
        self._secret = secret
        self._token = token

    def get_access_key_id(self) -> str:
        return self._key

    def get_access_key_secret(self) -> str:
        return self._secret

    def get_security_token(self) -> str | None:
        return self._token

    def get_provider_name(self) -> str:
        return "environment"


class _Profile:
    """A named profile of the command line tool's file or of the library's own; it must be in one of them."""

    def __init__(self, name: str) -> None:
        from alibabacloud_credentials.provider import (  # type: ignore[import-untyped]
            CLIProfileCredentialsProvider,
            ProfileCredentialsProvider,
        )

        self._name = name
        self._files = CLIProfileCredentialsProvider(profile_name=name), ProfileCredentialsProvider(profile_name=name)
        self._found: Any = None

    def get_credentials(self) -> _Keys:
        from alibabacloud_credentials.exceptions import CredentialException  # type: ignore[import-untyped]

        for file in (self._found,) if self._found else self._files:
            try:
                keys: _Keys = file.get_credentials()
            except CredentialException as error:
                # A profile that is there but cannot be used says so itself.
                if not re.match(r"unable to (open|get profile)|failed to get", str(error)):
                    raise
            else:
                self._found = file
                return keys
        raise AccessRefused(
            "no such profile of credentials",
            got=self._name,
            wanted="a profile in ~/.aliyun/config.json or ~/.alibabacloud/credentials.ini",
            todo=f"make it with `aliyun configure --profile {self._name}`, or {_TODO}",
        )


def _chain(profile: str | None) -> _Source:
    from alibabacloud_credentials.provider import DefaultCredentialsProvider

    _hush()
    if profile:
        return _Profile(profile)
    chain: _Source = DefaultCredentialsProvider()
    return chain


def _role(role: str, base: _Source, sts_host: str | None) -> _Source:
    from alibabacloud_credentials.http import HttpOptions  # type: ignore[import-untyped]
    from alibabacloud_credentials.provider import RamRoleArnCredentialsProvider

    _hush()
    source: _Source = RamRoleArnCredentialsProvider(
        credentials_provider=base,
        role_arn=role,
        role_session_name=_SESSION_NAME,
        duration_seconds=ROLE_SECONDS,
        sts_endpoint=re.sub(r"^https?://", "", sts_host).rstrip("/") if sts_host else None,
        http_options=HttpOptions(connect_timeout=_CONNECT_MS, read_timeout=_ANSWER_MS),
    )
    return source


def _hush() -> None:
    """Keeps the library from printing tracebacks and answers to stderr: each failure reaches the caller anyway."""
    logging.getLogger("credentials").setLevel(logging.CRITICAL)


def _reason(error: Exception) -> str:
    """Returns what a person may read of a failure: code and message of an answer, never the answer itself."""
    text, _, answer = str(error).partition("result: ")
    try:
        told = json.loads(answer)
        return f"{told['Code']}: {told['Message']}"
    except (ValueError, KeyError, TypeError):
        return text.rstrip(" ,:")[:500]
