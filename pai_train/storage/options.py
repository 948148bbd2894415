"""How stores are reached: places, names and limits. Nothing here is secret, so all of it may be shown and pickled."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Limits:
    """How hard a store is worked, and how long it is waited for.

    Attributes:
        parallel: Requests in flight at once for one reader or writer.
        part_bytes: Bytes of one ranged read and of one part of an upload.
        timeout_s: Seconds after which a request without an answer is given up and repeated.
        deadline_s: Seconds after which an operation that keeps failing is an error.
    """

    parallel: int = 8
    part_bytes: int = 8 * 2**20
    timeout_s: float = 30.0
    deadline_s: float = 120.0


@dataclass(frozen=True)
class CacheOptions:
    """Where parts of remote objects are kept.

    Attributes:
        folder: A local folder; made when absent.
        max_bytes: How much it may hold.
    """

    folder: str
    max_bytes: int


@dataclass(frozen=True)
class Access:
    """How the objects of one provider are reached; what is None comes from the environment or the provider.

    Attributes:
        endpoint: Address of the service, as `https://host` or a host.
        region: The provider's name of the region.
        profile: Name of a profile in the provider's own file of credentials.
        role_arn: OSS: the RAM role to take on, `acs:ram::<uid>:role/<name>`.
        addressing: `path` puts the bucket into the path, `virtual` into the host.
        roles: OSS: RAM roles of single buckets, which go before `role_arn`.
    """

    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None
    role_arn: str | None = None
    addressing: str | None = None
    roles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StorageOptions:
    """How all stores of a run are reached.

    Attributes:
        access: By scheme; a scheme that is not named is reached by its environment alone.
        limits: For every remote store.
        cache: A local read cache of remote objects; None for none.
    """

    access: Mapping[str, Access] = field(default_factory=dict)
    limits: Limits = Limits()
    cache: CacheOptions | None = None
