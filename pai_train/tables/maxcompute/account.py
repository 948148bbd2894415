"""Who we are on MaxCompute: keys from PAI's file, the environment or the provider's chain, and RAM roles."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from odps.accounts import BaseAccount, CloudAccount

from pai_train.redact import hide
from pai_train.storage import AccessRefused
from pai_train.storage.ram import CLOUD_NAMES, EnvironmentKeys, StaticKeys, failure, how_to_set, role_keys
from pai_train.tables.maxcompute.service import CONFIG_FILE, read_config

if TYPE_CHECKING:
    from pai_train.storage.ram import Keys, KeySource

STS_FILE = "ODPS_STS_ACCOUNT_FILE"

_STS_NAMES = "ODPS_STS_ACCESS_KEY_ID", "ODPS_STS_ACCESS_KEY_SECRET", "ODPS_STS_TOKEN"
_NAMES = (_STS_NAMES, CLOUD_NAMES)
_REGION = re.compile(r"//service\.([a-z0-9-]+?)(?:-(?:vpc|intranet|internal))?\.(?:maxcompute|odps)\.")

HOW = f"{how_to_set((CLOUD_NAMES,))}, or access_id and access_key in the file that {CONFIG_FILE} names"
"""How keys are given, for people."""


class Account(BaseAccount):  # type: ignore[misc]
    """Signs each request with the keys of the moment; holds none.

    Args:
        endpoint: Address of the service: its region has the token service of a role.
        role_arn: The role to take on.
    """

    def __init__(self, endpoint: str, role_arn: str | None = None) -> None:
        self._role = role_arn
        self._source: KeySource = _Found()
        if role_arn:
            self._source = role_keys(role_arn, self._source, _sts_host(endpoint))

    def __repr__(self) -> str:
        return f"Account(role_arn={self._role!r})"

    def sign_request(self, req: Any, endpoint: str, region_name: str | None = None) -> None:
        keys = self._keys()
        signer = CloudAccount(keys.get_access_key_id(), keys.get_access_key_secret())
        signer.sign_request(req, endpoint, region_name=region_name)
        token = keys.get_security_token()
        if token:
            req.headers["authorization-sts-token"] = token

    def _keys(self) -> Keys:
        try:
            keys = self._source.get_credentials()
        except AccessRefused:
            raise
        except Exception as error:
            # The library raises what it likes.
            raise failure(error, "MaxCompute", self._role, HOW) from None
        for secret in (keys.get_access_key_secret(), keys.get_security_token()):
            hide(secret)
        return keys


class _Found:
    """Keys as they are found at each use: PAI's file, then a file of a temporary key, then the environment."""

    def __init__(self) -> None:
        self._environment = EnvironmentKeys("MaxCompute", _NAMES)

    def get_provider_name(self) -> str:
        return "environment"

    def get_credentials(self) -> Keys:
        path = os.environ.get(CONFIG_FILE)
        file = read_config(path) if path else {}
        key, secret = file.get("access_id"), file.get("access_key")
        if key and secret:
            return StaticKeys(key, secret, file.get("security_token"))
        if key or secret:
            missing = "access_key" if key else "access_id"
            raise AccessRefused("half a credential for MaxCompute", where=path, wanted=missing, todo=f"add {missing}=…")
        if os.environ.get(STS_FILE):
            return _of_sts_file(os.environ[STS_FILE])
        return self._environment.get_credentials()


def _of_sts_file(path: str) -> Keys:
    """Reads the file of a temporary key that others renew, as pyodps does."""
    try:
        with open(path, encoding="utf-8") as file:
            told = json.load(file)
        return StaticKeys(told["accessKeyId"], told["accessKeySecret"], told["securityToken"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AccessRefused(
            f"the file that {STS_FILE} names holds no temporary key",
            where=path,
            got=type(error).__name__,
            wanted="JSON with accessKeyId, accessKeySecret and securityToken",
        ) from None


def _sts_host(endpoint: str) -> str | None:
    named = os.environ.get("ALIBABA_CLOUD_STS_ENDPOINT")
    region = _REGION.search(endpoint)
    return named or (f"sts.{region[1]}.aliyuncs.com" if region else None)
