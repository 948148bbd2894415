"""Keys of Alibaba Cloud: from the environment, from profiles, from the provider's chain, and of RAM roles.

No key ever comes from a config, and none is kept in an object that can be shown or pickled.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from typing import TYPE_CHECKING, Any, Protocol

from pai_train.storage.errors import AccessRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

ROLE_SECONDS = 3600
CLOUD_NAMES = "ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET", "ALIBABA_CLOUD_SECURITY_TOKEN"

_SESSION_NAME = "pai-train"
_CONNECT_MS, _ANSWER_MS = 5_000, 10_000

Names = tuple[str, str, str]


class Keys(Protocol):
    """A key, its secret, and the token of a temporary one."""

    def get_access_key_id(self) -> str: ...
    def get_access_key_secret(self) -> str: ...
    def get_security_token(self) -> str | None: ...


class KeySource(Protocol):
    """Gives the keys of the moment."""

    def get_credentials(self) -> Keys: ...


class EnvironmentKeys:
    """Keys from the environment, read at each use; without them the provider's chain, which refreshes by itself.

    Args:
        service: What they are for, for people.
        names: The names of key, secret and token, in the order in which they are looked for.
        profile: A profile that stands in the provider's chain.
    """

    def __init__(self, service: str, names: Sequence[Names], profile: str | None = None) -> None:
        self._service = service
        self._names = names
        self._profile = profile
        self._chain: KeySource | None = None
        self._lock = threading.Lock()

    def get_provider_name(self) -> str:
        return "environment"

    def get_credentials(self) -> Keys:
        for names in self._names:
            key, secret, token = (os.environ.get(name) for name in names)
            if key and secret:
                return StaticKeys(key, secret, token)
            if key or secret:
                missing = names[1] if key else names[0]
                raise AccessRefused(f"half a credential for {self._service}", wanted=missing, todo=f"set {missing}")
        with self._lock:
            if self._chain is None:
                self._chain = _chain(self._profile, how_to_set(self._names))
        return self._chain.get_credentials()


class StaticKeys:
    """A key that is known."""

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


def failure(error: Exception, service: str, role: str | None, todo: str) -> Exception:
    """Returns what a failure of the library means: its own text may hold a whole answer of the token service.

    Args:
        error: What the library raised.
        service: What the keys are for, for people.
        role: The role that was to be taken on.
        todo: How keys are given.
    """
    status = re.search(r"http_code: (\d+)", str(error))
    about = f"the role {role}" if role else "credentials"
    if type(error).__name__ == "RetryError" or (status and int(status[1]) >= 500):
        return ConnectionError(f"the token service did not answer for {about}")
    if role is None:
        return AccessRefused(f"no credentials for {service}", got=reason(error), wanted="a key", todo=todo)
    return AccessRefused(
        "the role cannot be taken on",
        where=role,
        got=reason(error),
        todo="let the role trust this user (its trust policy), and allow the user sts:AssumeRole",
    )


def how_to_set(names: Sequence[Names]) -> str:
    """Returns which variables to set."""
    return "set " + ", or ".join(f"{key} and {secret}" for key, secret, _ in names)


class _Profile:
    """A named profile of the command line tool's file or of the library's own; it must be in one of them."""

    def __init__(self, name: str, todo: str) -> None:
        from alibabacloud_credentials.provider import (  # type: ignore[import-untyped]
            CLIProfileCredentialsProvider,
            ProfileCredentialsProvider,
        )

        self._name = name
        self._todo = todo
        self._files = CLIProfileCredentialsProvider(profile_name=name), ProfileCredentialsProvider(profile_name=name)
        self._found: Any = None

    def get_credentials(self) -> Keys:
        from alibabacloud_credentials.exceptions import CredentialException  # type: ignore[import-untyped]

        for file in (self._found,) if self._found else self._files:
            try:
                keys: Keys = file.get_credentials()
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
            todo=f"make it with `aliyun configure --profile {self._name}`, or {self._todo}",
        )


def _chain(profile: str | None, todo: str) -> KeySource:
    from alibabacloud_credentials.provider import DefaultCredentialsProvider

    _hush()
    if profile:
        return _Profile(profile, todo)
    chain: KeySource = DefaultCredentialsProvider()
    return chain


def role_keys(role: str, base: KeySource, sts_host: str | None) -> KeySource:
    """Returns the keys of a RAM role, renewed before they end.

    Args:
        role: `acs:ram::<uid>:role/<name>`.
        base: Who takes it on.
        sts_host: The token service; None for the provider's own.
    """
    from alibabacloud_credentials.http import HttpOptions  # type: ignore[import-untyped]
    from alibabacloud_credentials.provider import RamRoleArnCredentialsProvider

    _hush()
    source: KeySource = RamRoleArnCredentialsProvider(
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


def reason(error: Exception) -> str:
    """Returns what a person may read of a failure: code and message of an answer, never the answer itself."""
    text, _, answer = str(error).partition("result: ")
    try:
        told = json.loads(answer)
        return f"{told['Code']}: {told['Message']}"
    except (ValueError, KeyError, TypeError):
        return text.rstrip(" ,:")[:500]
