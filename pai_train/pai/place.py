"""Where a command's script is: a file of this machine, an object of a store, or a resource of MaxCompute."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Literal

from pai_train.errors import Fault, nearest

_RESOURCE = re.compile(r"(?:odps://)?(?P<project>\w+)/resources/(?P<name>[^/]+)", re.IGNORECASE)
_ATTACHED = re.compile(r"(?:file://)?@@(?P<name>[^/]+)", re.IGNORECASE)
_ARCHIVES = (".tar.gz", ".tgz", ".zip")
_FORMS = "file.py, archive.tar.gz or archive.zip: a path, an address of a store, or odps://project/resources/name"


@dataclass(frozen=True)
class Script:
    """A script or an archive of one.

    Attributes:
        kind: Where it is.
        address: A path, a URL, or `project/name` of a resource; the project may be empty.
        entry: Of an archive, the file that runs, below its root; '' for a script.
    """

    kind: Literal["file", "store", "resource"]
    address: str
    entry: str = ""

    @property
    def name(self) -> str:
        """Its last part."""
        return self.address.rstrip("/").rpartition("/")[2]

    def __str__(self) -> str:
        if self.kind != "resource":
            return self.address
        project, _, name = self.address.partition("/")
        return f"odps://{project}/resources/{name}" if project else f"the resource {name}"


def resource_of(text: str) -> str | None:
    """Returns `project/name` of what names a resource of MaxCompute; None for what names none."""
    attached = _ATTACHED.fullmatch(text)
    if attached is not None:
        return f"/{attached['name']}"
    found = _RESOURCE.fullmatch(text)
    if found is None or (not text.lower().startswith("odps://") and os.path.exists(text)):
        return None
    return f"{found['project']}/{found['name']}"


def read_script(
    address: str, where: str, entry: str | None, entry_where: str, tables: str
) -> tuple[Script | None, list[Fault]]:
    """Reads -Dscript and -DentryFile; looks at files of this machine and at nothing else.

    Args:
        address: A path or a URL, as settled, or what names a resource.
        where: Where it stands, for people.
        entry: The value of -DentryFile; None without one.
        entry_where: Where that stands.
        tables: The table store: resources are MaxCompute's.
    """
    faults: list[Fault] = []
    resource = resource_of(address)
    path = local_path(address) if resource is None else None
    kind: Literal["file", "store", "resource"] = "resource" if resource else "file" if path is not None else "store"
    script = Script(kind, resource or path or address)
    lower = script.name.lower()
    if not lower.endswith((".py", *_ARCHIVES)):
        faults.append(Fault("not a script", where, address, _FORMS))
    elif lower.endswith(_ARCHIVES):
        fault = _entry_fault(entry, entry_where, where)
        faults += [fault] if fault is not None else []
        script = Script(kind, script.address, os.path.normpath(entry or "."))
    if path is not None and not os.path.isfile(path):
        folder, name = os.path.split(path)
        close = nearest(name, os.listdir(folder)) if os.path.isdir(folder) else None
        todo = f"did you mean {os.path.join(folder, close)}?" if close else None
        faults.append(Fault("there is no such file", where, path, todo=todo))
    if kind == "resource" and tables != "maxcompute":
        todo = "add --tables maxcompute, or name a file or an object of a store"
        faults.append(Fault("resources are MaxCompute's, and tables are not", where, address, todo=todo))
    return (None if faults else script), faults


def local_path(address: str) -> str | None:
    """Returns the path of a settled address; None where it is on a store."""
    if address.lower().startswith("file://"):
        return address[len("file://") :]
    return None if "://" in address else address


def _entry_fault(entry: str | None, where: str, script: str) -> Fault | None:
    if entry is None:
        return Fault("an archive needs -DentryFile", script, wanted="the file that runs, such as main.py")
    plain = os.path.normpath(entry)
    if os.path.isabs(entry) or plain.split(os.sep)[0] == ".." or not plain.endswith(".py"):
        return Fault("not a file of the archive", where, entry, "a path below the archive's root, such as main.py")
    return None
