"""Whether the places a run reads, writes and owns lie apart, and can be what they are meant to be."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from pai_train.errors import Fault, PaiTrainError
from pai_train.storage import display, is_glob, join, matches, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pai_train.job import JobInput, JobOutput
    from pai_train.spec.config import JobConfig
    from pai_train.storage import Stores


_ELSEWHERE = "name another folder, or a narrower pattern"


def place_faults(config: JobConfig, stores: Stores) -> list[Fault]:
    """Checks that the folders a run needs are on stores that serve, and are or can become folders it may write into."""
    root = _folder("storage.root", config.storage.root, ".", stores, creates=False)
    if root:
        # What is relative to it would only repeat it.
        return root
    return [
        *_folder("checkpointDir", config.storage.root, config.checkpointDir, stores, creates=True),
        # Where a catalog beside the store is the commit point, the store need not know who was first.
        *_folder("tables.root", config.tables.root, ".", stores, creates=config.tables.catalog is None),
    ]


def _folder(key: str, root: str, name: str, stores: Stores, *, creates: bool) -> list[Fault]:
    try:
        url = resolve(root, name)
        store = stores.open(url)
        if store.info(url) is not None:
            return [Fault("is an object, not a folder", key, got=display(url), todo="name a folder")]
        if creates and not store.creates_exclusively(url):
            return [Fault("the store has no exclusive create", key, got=url, wanted="a store that has it")]
    except PaiTrainError as error:
        return [replace(error.fault, where=key)]
    if not url.startswith("file://"):
        return []
    path = url.removeprefix("file://")
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    if os.path.isdir(path) and os.access(path, os.W_OK | os.X_OK):
        return []
    wanted = f"{path} to be a folder that this process may write into"
    return [Fault("cannot be made or written", key, got=display(url), wanted=wanted)]


def _read_back(config: JobConfig, output: JobOutput, written: str) -> Iterator[str]:
    """Names the inputs whose pattern would find what an output writes: the next run would read it."""
    for name, rows in config.inputs.items():
        patterns = [rows.oss] if isinstance(rows.oss, str) else list(rows.oss or [])
        urls = [resolve(config.storage.root, pattern) for pattern in patterns]
        if any(is_glob(url) and matches(url, join(output.url or "", written)) for url in urls):
            yield name


def overlaps(config: JobConfig, inputs: Mapping[str, JobInput], outputs: Mapping[str, JobOutput]) -> list[Fault]:
    """Finds outputs that would write over each other, over an input, or among what the run keeps for itself."""
    root = resolve(config.storage.root, ".")
    owned = {
        "checkpointDir": resolve(config.storage.root, config.checkpointDir),
        "tables.root": resolve(config.tables.root, "."),
    }
    faults = []
    if owned["checkpointDir"] in (root, owned["tables.root"]) or _inside(owned["checkpointDir"], owned["tables.root"]):
        faults.append(Fault("checkpoints need a folder of their own", "checkpointDir", got=config.checkpointDir))
    seen: dict[str, str] = {}
    for name, output in outputs.items():
        key = f"outputs.{name}.{'oss' if output.url else 'table'}"
        if output.address in seen:
            what = f"outputs {seen[output.address]!r} and {name!r} write to one place"
            faults.append(Fault(what, key, got=output.address))
        seen[output.address] = name
        if output.url is not None:
            faults += [
                Fault(f"the output lies among what {owner} keeps", key, got=output.address, todo="name another folder")
                for owner, url in owned.items()
                if output.url != root and (_inside(output.url, url) or _inside(url, output.url))
            ]
            if output.url == root:
                faults.append(Fault("the output is storage.root itself", key, got=output.address, todo="name a folder"))
            faults += [
                Fault(
                    f"the input {other!r} would read what the output writes", key, got=output.address, todo=_ELSEWHERE
                )
                for other in _read_back(config, output, f"part-00000.{config.outputs[name].format}")
            ]
        faults += [
            Fault(f"the output would replace the input {other!r}", key, got=output.address, todo="name another table")
            for other, item in inputs.items()
            if _same_rows(item, output)
        ]
    return faults


def _inside(url: str, folder: str) -> bool:
    return url == folder or url.startswith(folder.rstrip("/") + "/")


def _same_rows(item: JobInput, output: JobOutput) -> bool:
    """Two partitions of one table may be read and written at once."""
    written = output.table
    return written is not None and any(
        (read.project, read.name) == (written.project, written.name)
        and (not read.partitions or bool(set(read.partitions) & set(written.partitions)))
        for read in item.tables
    )
