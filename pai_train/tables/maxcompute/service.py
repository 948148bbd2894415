"""Which MaxCompute is meant: endpoints, project and role, from what is given, the environment or PAI's file."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pai_train.errors import TableError, did_you_mean
from pai_train.redact import hide

CONFIG_FILE = "ODPS_CONFIG_FILE_PATH"

_KEYS = ("access_id", "access_key", "end_point", "tunnel_endpoint", "project_name")


@dataclass(frozen=True)
class Service:
    """A MaxCompute service; nothing in it is secret.

    Attributes:
        endpoint: Address of the service, such as `https://service.cn-hangzhou.maxcompute.aliyun.com/api`.
        tunnel_endpoint: Address of its tunnel; None for what the service tells.
        project: The project that requests are made from.
        role_arn: The RAM role to take on.
    """

    endpoint: str
    tunnel_endpoint: str | None
    project: str
    role_arn: str | None = None


def find_service(
    endpoint: str | None = None,
    tunnel_endpoint: str | None = None,
    project: str | None = None,
    role_arn: str | None = None,
) -> Service:
    """Returns the service that is meant: what is given goes before the environment, and that before PAI's file.

    Raises:
        TableError: There is no endpoint or no project, or the file cannot be read.
    """
    file = _file()
    endpoint = endpoint or os.environ.get("ODPS_ENDPOINT") or file.get("end_point")
    tunnel_endpoint = tunnel_endpoint or os.environ.get("ODPS_TUNNEL_ENDPOINT") or file.get("tunnel_endpoint")
    if not endpoint:
        raise TableError(
            "no address of MaxCompute",
            where="tables.endpoint",
            wanted="such as https://service.cn-hangzhou.maxcompute.aliyun.com/api",
            todo=f"set tables.endpoint, or ODPS_ENDPOINT, or end_point in the file that {CONFIG_FILE} names",
        )
    return Service(
        _url(endpoint, "tables.endpoint"),
        _url(tunnel_endpoint, "tables.tunnel_endpoint") if tunnel_endpoint else None,
        (project or find_project()).lower(),
        role_arn,
    )


def find_project() -> str:
    """Returns the project that the environment names, or else PAI's file.

    Raises:
        TableError: Neither does, or the file cannot be read.
    """
    project = os.environ.get("ODPS_PROJECT_NAME") or _file().get("project_name")
    if not project:
        raise TableError(
            "no project of MaxCompute",
            where="tables.project",
            todo=f"set tables.project, or ODPS_PROJECT_NAME, or project_name in the file that {CONFIG_FILE} names",
        )
    return project


def _file() -> dict[str, str]:
    path = os.environ.get(CONFIG_FILE)
    return read_config(path) if path else {}


def read_config(path: str) -> dict[str, str]:
    """Reads PAI's file of lines `key=value`, cut at the first `=`; its secrets are masked in every text from now on.

    Raises:
        TableError: The file cannot be read, or a line is no such line.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TableError(
            f"the file that {CONFIG_FILE} names cannot be read",
            where=path,
            got=type(error).__name__,
            todo="correct the path",
        ) from None
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals:
            # What the line holds may be a key.
            raise TableError("not a line of the form key=value", where=f"{path}:{number}", wanted=" or ".join(_KEYS))
        found[key.strip().lower()] = value.strip()
    for name in ("access_id", "access_key", "security_token"):
        hide(found.get(name))
    if "endpoint" in found and "end_point" not in found:
        raise TableError("unknown key 'endpoint'", where=path, todo=did_you_mean("endpoint", ["end_point"]))
    return found


def _url(text: str, key: str) -> str:
    scheme, slashes, rest = text.strip().partition("://")
    if not slashes:
        return f"https://{text.strip().rstrip('/')}"
    if scheme.lower() not in ("http", "https") or not rest or "@" in rest or "?" in rest:
        raise TableError("not an address of a service", where=key, got=text, wanted="https://host/api")
    return text.strip().rstrip("/")
