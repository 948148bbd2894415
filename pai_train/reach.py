"""How stores are reached, by what the configuration says of them."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from pai_train.spec.config import STORAGE_SCHEMES
from pai_train.storage import Access, CacheOptions, Limits, StorageOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pai_train.spec.config import JobConfig


def storage_options(config: JobConfig, roles: Mapping[str, str]) -> StorageOptions:
    """Returns how stores are reached; the endpoint and its company belong to the provider that `storage` names.

    Args:
        config: What was asked for.
        roles: Names of roles that addresses of OSS give, and their ARNs.
    """
    storage = config.storage
    access = Access(
        endpoint=storage.endpoint,
        region=storage.region,
        profile=storage.profile,
        role_arn=storage.role_arn,
        addressing=storage.addressing,
    )
    limits = Limits(
        parallel=storage.parallel,
        part_bytes=int(storage.part_mb * 2**20),
        timeout_s=storage.timeout_s,
        deadline_s=storage.deadline_s,
    )
    cache = None
    if storage.cache.dir is not None:
        cache = CacheOptions(os.path.abspath(os.path.expanduser(storage.cache.dir)), int(storage.cache.max_gb * 2**30))
    scheme = STORAGE_SCHEMES.get(storage.name)
    reached = {} if scheme is None else {scheme: access}
    if roles:
        # Roles that addresses name are roles of OSS, whatever store is the chosen one.
        reached["oss"] = replace(reached.get("oss", Access()), roles=roles)
    return StorageOptions(access=reached, limits=limits, cache=cache)
