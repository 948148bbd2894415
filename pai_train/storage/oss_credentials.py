"""Who we are on OSS: keys from the environment or the provider's default chain, and RAM roles taken on with them.

No key ever comes from a config, and none is kept in an object that can be shown or pickled.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from alibabacloud_oss_v2.credentials import CredentialsProvider  # type: ignore[import-untyped]
from alibabacloud_oss_v2.types import Credentials  # type: ignore[import-untyped]

from pai_train.storage.errors import AccessRefused
from pai_train.storage.ram import CLOUD_NAMES, EnvironmentKeys, KeySource, failure, how_to_set, role_keys

if TYPE_CHECKING:
    from pai_train.storage.options import Access

ROLES_VARIABLE = "PAI_TRAIN_OSS_ROLES"
"""A role for all buckets, and roles of single ones as `bucket=role`, joined by commas."""

# The names of key, secret and token, in the order in which they are looked for.
_NAMES = (("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"), CLOUD_NAMES)


def role_of_environment(bucket: str) -> str | None:
    """Returns the RAM role that the environment names for a bucket, or for all of them; None where it names none."""
    parts = [part.strip() for part in os.environ.get(ROLES_VARIABLE, "").split(",")]
    roles = {before: role for before, _, role in (part.rpartition("=") for part in parts) if role}
    return roles.get(bucket) or roles.get("")


class OssCredentials:
    """The credentials of one filesystem: one source for all buckets, one more for each role.

    Args:
        access: Names the profile and the roles.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._providers: dict[tuple[str | None, str | None], CredentialsProvider] = {}
        self._base: KeySource | None = None

    def provider(self, bucket: str, sts_host: str | None) -> CredentialsProvider:
        """Returns what signs the requests to a bucket; of the same role, the same one.

        Args:
            bucket: Its name.
            sts_host: The region's token service, where ALIBABA_CLOUD_STS_ENDPOINT names none.
        """
        role = self._access.roles.get(bucket, self._access.role_arn) or role_of_environment(bucket)
        sts_host = os.environ.get("ALIBABA_CLOUD_STS_ENDPOINT") or sts_host
        with self._lock:
            if self._base is None:
                self._base = EnvironmentKeys("OSS", _NAMES, self._access.profile)
            if (role, sts_host) not in self._providers:
                source = role_keys(role, self._base, sts_host) if role else self._base
                self._providers[role, sts_host] = _Provider(source, role)
            return self._providers[role, sts_host]


class _Provider(CredentialsProvider):  # type: ignore[misc]
    """Hands the client the keys of the moment."""

    def __init__(self, source: KeySource, role: str | None) -> None:
        self._source = source
        self._role = role

    def get_credentials(self) -> Credentials:
        try:
            keys = self._source.get_credentials()
        except AccessRefused:
            raise
        except Exception as error:
            # The library raises what it likes.
            raise failure(error, "OSS", self._role, how_to_set(_NAMES)) from None
        return Credentials(keys.get_access_key_id(), keys.get_access_key_secret(), keys.get_security_token() or None)
