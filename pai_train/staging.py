"""What `mode=stage` puts where: worked out from the keys and what is there, read-only."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING

from pai_train.errors import Fault, PaiTrainError, did_you_mean
from pai_train.fill import Fill
from pai_train.spec.address import parse_tables
from pai_train.spec.ddl import parse_ddl
from pai_train.spec.names import character, without_case
from pai_train.spec.staging import target_table
from pai_train.spec.table import Column, Ddl
from pai_train.spec.types import parse_type
from pai_train.stage import Plan, Work
from pai_train.storage import ObjectInfo, Store, basename, display, is_glob, is_url, join, open_store, resolve
from pai_train.transfer import Copy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pai_train.spec.address import TableRef
    from pai_train.spec.config import InputConfig, JobConfig
    from pai_train.storage import Stores
    from pai_train.tables.contracts import Tables

_FEW = 32
"""So many objects are asked for one by one; of more, their folder is listed."""
_SHOWN = 3


@dataclass(frozen=True)
class _Found:
    """A file to stage, and its name below the place it goes to."""

    info: ObjectInfo
    store: Store
    name: str


class Planner:
    """Finds out what is to be staged.

    Args:
        config: The keys.
        stores: How stores are reached.
        tables: Opens the tables; called where a table is filled.
        samples: Folders that hold samples, in order.

    Attributes:
        faults: What forbids it, with keys in `where`.
    """

    def __init__(
        self, config: JobConfig, stores: Stores, tables: Callable[[], Tables], samples: Sequence[Path]
    ) -> None:
        self._config, self._stores, self._samples = config, stores, samples
        self._open_tables = tables
        self._limits = stores.options.limits
        self.faults: list[Fault] = []

    def plan(self) -> Plan:
        """Returns what goes where; complete only where there are no faults."""
        own = self._config.stage.from_ is not None
        works, place = self._own() if own else (self._of_samples(), "")
        addresses = list(dict.fromkeys(work.address for work in works))
        return Plan(works, place or ", ".join(addresses), self._limits.parallel)

    # Samples

    def _of_samples(self) -> list[Work]:
        works: list[Work] = []
        for name, rows in self._config.inputs.items():
            if rows.sample is not None:
                try:
                    works += self._of_sample(f"inputs.{name}", rows, rows.sample)
                except PaiTrainError as error:
                    self.faults.append(_at(error.fault, f"inputs.{name}"))
        return works

    def _of_sample(self, key: str, rows: InputConfig, sample: str) -> Sequence[Work]:
        folders = [folder for folder in self._samples if (folder / sample).is_file()]
        if not folders:
            known = sorted(path.name for folder in self._samples if folder.is_dir() for path in folder.iterdir())
            self.faults.append(
                Fault("there is no such sample", f"{key}.sample", got=sample, todo=did_you_mean(sample, known))
            )
            return []
        info = _local(folders[0] / sample)
        if rows.table is not None:
            refs = parse_tables(rows.table, self._config.tables.project)
            if len(refs) > 1:
                wanted = f"one table of the name {sample.partition('.')[0]}"
                self.faults.append(Fault("a sample stands in for one table", f"{key}.table", rows.table, wanted))
                return []
            ref = replace(refs[0], rows=None)
            if not self._is_own(f"{key}.sample", sample, f"{ref.name}.csv"):
                return []
            found = _Found(info, open_store(info.url), sample)
            return self._fill(key, ref, [found], self._declared(ref), header=False, delimiter=",")
        if not isinstance(rows.oss, str) or is_glob(rows.oss):
            wanted = f"one object of the name {sample}"
            self.faults.append(Fault("a sample stands in for one object", f"{key}.oss", str(rows.oss), wanted))
            return []
        if not self._is_own(f"{key}.sample", sample, basename(resolve(self._config.storage.root, rows.oss))):
            return []
        url = resolve(self._config.storage.root, rows.oss)
        return self._copies([_Found(info, open_store(info.url), "")], url)

    def _is_own(self, key: str, sample: str, wanted: str) -> bool:
        if sample != wanted:
            what = "a sample only stands in for an input of its own name"
            self.faults.append(Fault(what, key, got=sample, wanted=wanted))
        return sample == wanted

    # What the user names

    def _own(self) -> tuple[Sequence[Work], str]:
        stage = self._config.stage
        try:
            found, folder = self._sources()
            ref = target_table(self._config)
            if ref is not None:
                columns = parse_ddl(stage.ddl) if stage.ddl is not None else self._declared(ref)
                delimiter = character(stage.delimiter)
                works = self._fill("stage.from", ref, found, columns, header=stage.header, delimiter=delimiter)
                return works, str(ref)
            return self._to_objects(found, folder)
        except PaiTrainError as error:
            self.faults.append(_at(error.fault, "stage.to"))
            return [], ""

    def _to_objects(self, found: Sequence[_Found], folder: bool) -> tuple[Sequence[Work], str]:
        root, to = self._config.storage.root, self._config.stage.to or ""
        # As a name it may hold the characters of a glob, which stand for themselves.
        url = resolve(root, to) if is_url(to) or to.startswith("/") else join(resolve(root, "."), to)
        # A bucket and the root are folders, whether a slash says so or not.
        whole = not folder and not to.endswith("/") and url != resolve(root, ".") and "/" in url.partition("://")[2]
        if whole:
            found = [replace(one, name="") for one in found]
        return self._copies(found, url), display(url)

    def _sources(self) -> tuple[list[_Found], bool]:
        """Returns the files that `stage.from` names, and whether they go to a folder in any case."""
        given = self._config.stage.from_
        names = given if isinstance(given, list) else [given or ""]
        found: list[_Found] = []
        folder = len(names) > 1
        for name in names:
            try:
                here, many = self._named(name)
            except PaiTrainError as error:
                self.faults.append(_at(error.fault, "stage.from"))
                continue
            folder = folder or many
            found += here
            if not here:
                what = "nothing matches the pattern" if is_glob(name) else "there is no such file or folder"
                self.faults.append(Fault(what, "stage.from", got=name))
        twice = [name for name, count in Counter(one.name for one in found).items() if count > 1]
        for name in twice:
            self.faults.append(Fault("two files have one name where they go", "stage.from", got=name))
        return found, folder

    def _named(self, name: str) -> tuple[list[_Found], bool]:
        name = os.path.expanduser(name)
        url = resolve(".", name)
        store = self._stores.open(url)
        info = None if is_glob(name) else store.info(url)
        if info is not None:
            return [_Found(info, store, basename(url))], False
        infos = store.glob(url) if is_glob(name) else store.list(url)
        around = resolve(".", folder_of(name)) if is_glob(name) else url
        return [_Found(info, store, info.url[len(around) :].lstrip("/")) for info in infos], True

    # What is made of it

    def _copies(self, found: Sequence[_Found], url: str) -> list[Copy]:
        store = self._stores.open(url)
        targets = [join(url, one.name) if one.name else url for one in found]
        if len(found) > _FEW:
            held = {info.url: info for info in store.list(url)}
        else:
            held = {target: info for target in targets if (info := store.info(target)) is not None}
        replace_ = self._config.stage.replace
        return [
            Copy(one.info, one.store, store, target, held.get(target), replace_)
            for one, target in zip(found, targets, strict=True)
        ]

    def _declared(self, ref: TableRef) -> Ddl | None:
        """Returns the columns that an input of this table declares."""
        for rows in self._config.inputs.values():
            if rows.table is None or not rows.columns:
                continue
            others = parse_tables(rows.table, self._config.tables.project)
            if any((other.project, other.name) == (ref.project, ref.name) for other in others):
                columns = without_case(rows).columns
                return Ddl(ref.name, tuple(Column(name, parse_type(text)) for name, text in columns.items()))
        return None

    def _fill(
        self, key: str, ref: TableRef, found: Sequence[_Found], ddl: Ddl | None, *, header: bool, delimiter: str
    ) -> list[Fill]:
        from pai_train.feed.csv import CsvSource
        from pai_train.feed.csv import look as look_at_csv
        from pai_train.tables.arrow import arrow_type
        from pai_train.tables.partitions import one_partition

        tables = self._open_tables()
        info = tables.describe(ref)
        if ddl is None and info is None:
            todo = f"stage.ddl='create table {ref.name}(…)', or a recipe with an input of this table and its columns"
            self.faults.append(Fault("there is no such table, and nothing tells its columns", key, str(ref), todo=todo))
        if not found or (ddl is None and info is None):
            return []
        columns = ddl.columns if ddl is not None else info.columns if info is not None else ()
        held = {column.name: column for column in info.columns} if info is not None else {}
        wrong = [one for one in columns if info is not None and (held.get(one.name) or one).type != one.type]
        wrong += [one for one in columns if info is not None and one.name not in held]
        if wrong and self._config.stage.ddl is None:
            got, wanted = (", ".join(f"{one.name} {one.type}" for one in some) for some in (wrong, held.values()))
            self.faults.append(Fault(f"the table {ref} has no such columns", key, got, wanted))
            return []
        try:
            one_partition(ref, info.partitions if info is not None else ddl.partitions if ddl is not None else ())
        except PaiTrainError as error:
            self.faults.append(_at(error.fault, key))
            return []
        store = found[0].store
        if any(one.store is not store for one in found):
            self.faults.append(Fault("the files for one table lie on different stores", key))
            return []
        types = {column.name: arrow_type(column) for column in columns}
        infos = [one.info for one in found]
        faults = look_at_csv(store, infos, types, header=header, delimiter=delimiter)
        self.faults += faults
        if faults:
            return []
        source = CsvSource(infos, types, store=store, header=header, delimiter=delimiter)
        # The statement is compared with a table that is there; an input's columns may be fewer than the table's.
        made = ddl if info is None or self._config.stage.ddl is not None else None
        return [Fill(source, len(infos), tables, ref, made, self._config.stage.write, self._limits.parallel)]


def folder_of(name: str) -> str:
    """Returns the folder that an object, or all that match a glob, lie below, as `resolve` takes it."""
    fixed = "/".join(takewhile(lambda part: not is_glob(part), name.split("/")[:-1]))
    if not fixed:
        return "/" if name.startswith("/") else "."
    return f"{fixed}/" if fixed.endswith("//") else fixed


def _local(path: Path) -> ObjectInfo:
    url = resolve("/", str(path.resolve()))
    info = open_store(url).info(url)
    if info is None:
        raise PaiTrainError("the sample is gone", where=display(url), todo="start again")
    return info


def _at(fault: Fault, key: str) -> Fault:
    """Puts the key in front of a fault that names only the data."""
    return replace(fault, where=key, what=f"{fault.where}: {fault.what}" if fault.where else fault.what)
