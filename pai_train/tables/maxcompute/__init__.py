"""Tables kept by MaxCompute, reached through pyodps, which only the modules of this package import."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pai_train.errors import TableError

if TYPE_CHECKING:
    from pai_train.storage import Stores
    from pai_train.tables.maxcompute.tables import MaxComputeTables

__all__ = ["open_tables"]


def open_tables(
    root: str,
    project: str,
    stores: Stores | None = None,
    *,
    endpoint: str | None = None,
    tunnel_endpoint: str | None = None,
    role_arn: str | None = None,
) -> MaxComputeTables:
    """Opens the tables of MaxCompute; sends nothing yet.

    Args:
        root: A folder, as a path or a URL, for the records of unfinished writes.
        project: The project of addresses that name none; empty for the environment's or the file's.
        stores: How the folder is reached, how long a service is waited for; left out, as the environment says.
        endpoint: Address of the service; None for the environment's or the file's.
        tunnel_endpoint: Address of its tunnel; None for the environment's, the file's, or what the service tells.
        role_arn: The RAM role to take on with the environment's keys.

    Raises:
        TableError: pyodps is not installed, or there is no endpoint or project.
    """
    try:
        import odps  # noqa: F401
        import pandas  # noqa: F401
    except ImportError as missing:
        raise TableError(
            "tables=maxcompute needs packages that are not installed",
            got=f"no module {missing.name!r}",
            todo="pip install 'pai_train[maxcompute]'",
        ) from None
    from pai_train.storage import Stores
    from pai_train.tables.maxcompute.service import find_service
    from pai_train.tables.maxcompute.tables import MaxComputeTables

    service = find_service(endpoint, tunnel_endpoint, project, role_arn)
    return MaxComputeTables(service, root, stores or Stores())
