"""What a run will need, for a check: the folders it uses, and what inputs and outputs look like."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from pai_train import inputs, machine, origins, outputs
from pai_train.check import Plan
from pai_train.errors import Fault, Interrupted, PaiTrainError
from pai_train.findings import Finding, failed
from pai_train.fits import fits
from pai_train.places import overlaps
from pai_train.preflight import Place
from pai_train.spec.address import parse_tables
from pai_train.spec.ids import written_out
from pai_train.staging import folder_of
from pai_train.storage import display, resolve
from pai_train.tables.contracts import Probing, ServiceTables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pai_train.inputs import Rooms
    from pai_train.job import JobInput, JobOutput
    from pai_train.spec.config import InputConfig, JobConfig
    from pai_train.storage import Stores
    from pai_train.training.devices import Devices


class Needs:
    """Works out what a check has to look at.

    Args:
        config: The keys.
        stores: How stores are reached.
        rooms: Opens what inputs and outputs are looked up in.
        begun: Tells whether an unfinished run will be gone on with.
        run_dir: The run folder.
        devices: Chooses the devices, where a model has to be built.
        stop: Called in long looks; may raise to stop.
    """

    def __init__(
        self,
        config: JobConfig,
        stores: Stores,
        rooms: Callable[[], Rooms],
        begun: Callable[[], bool],
        run_dir: str,
        devices: Callable[[], Devices],
        stop: Callable[[], None],
    ) -> None:
        self._config, self._stores, self._run_dir = config, stores, run_dir
        self._rooms, self._begun = rooms, begun
        self._devices, self._stop = devices, stop
        self._train: JobInput | None = None
        self._places: dict[str, Place] = {}
        self._known: list[Finding] = []

    def plan(self, name: str | None) -> Plan:
        """Returns what is to be checked.

        Args:
            name: The recipe; None without one, where only the stores themselves can be checked.
        """
        config = self._config
        root = config.storage.root
        self._use("storage.root", root, ".", lenient=bool(config.inputs))
        for each, rows in config.inputs.items():
            names = [rows.oss] if isinstance(rows.oss, str) else rows.oss or []
            for file in names:
                self._use(f"inputs.{each}", root, folder_of(file), writes=False)
            if rows.image is not None and rows.image.labels is not None:
                self._use(f"inputs.{each}.image.labels", root, folder_of(rows.image.labels), writes=False)
            for column, choice in rows.ids.items():
                if (vocabulary := written_out(choice).file) is not None:
                    self._use(f"inputs.{each}.ids.{column}.file", root, folder_of(vocabulary), writes=False)
        for each, output in config.outputs.items():
            if output.oss is not None:
                self._use(f"outputs.{each}", root, output.oss)
        if config.checkpointDir:
            self._use("checkpointDir", root, config.checkpointDir, creates=True)
        self._use("tables.root", config.tables.root, ".", creates=config.tables.catalog is None)
        data = [self._look, self._origins] if config.inputs else []
        looks = [self._catalog, self._service, *data, self._machine]
        title = f"{name or 'no recipe'} on {root}"
        return Plan(title, self._stores, list(self._places.values()), looks, tuple(self._known))

    def _use(self, key: str, root: str, name: str, **how: bool) -> None:
        try:
            place = Place(key, resolve(root, name), **how)
            self._stores.open(place.url)
        except PaiTrainError as error:
            self._known.append(failed(key, "address", error.fault, fatal=True))
            return
        other = self._places.get(place.url)
        if other is not None:
            place = replace(
                place,
                key=other.key if key in other.key.split(", ") else f"{other.key}, {key}",
                writes=other.writes or place.writes,
                creates=other.creates or place.creates,
                # Only where nobody else writes right there is a refused write forgiven.
                lenient=all(one.lenient or not one.writes for one in (other, place)),
            )
        self._places[place.url] = place

    def _catalog(self) -> Iterator[Finding]:
        """Asks a catalog that stands beside the store whether a table could be created."""
        if self._config.tables.catalog is None:
            return
        try:
            tables = self._rooms().tables
            told = tables.probe() if isinstance(tables, Probing) else None
        except PaiTrainError as error:
            yield failed("tables.catalog", "catalog", error.fault)
            return
        if told is not None:
            yield Finding("tables.catalog", "catalog", "ok", told)

    def _service(self) -> Iterator[Finding]:
        """Tries what a run needs of a service that keeps the tables."""
        if self._config.tables.name == "iceberg":
            return
        try:
            tables = self._rooms().tables
        except PaiTrainError as error:
            yield failed("tables", "open", error.fault)
            return
        if not isinstance(tables, ServiceTables):
            return
        with closing(tables.checks()) as checks:
            place, broken = f"tables  odps://{self._config.tables.project}", False
            for name, work in checks:
                if broken and name != "drop":
                    yield Finding(place, name, "skip", "not tried, because another check failed")
                    continue
                try:
                    yield Finding(place, name, "ok", work())
                except PaiTrainError as error:
                    broken = True
                    yield failed(place, name, error.fault)

    def _look(self) -> Iterator[Finding]:
        """Looks at inputs and outputs as the run does before it begins."""
        try:
            begun = self._begun()
        except PaiTrainError as error:
            yield failed("checkpointDir", "runs", error.fault)
            begun = False
        if begun:
            yield Finding("checkpointDir", "runs", "ok", "an unfinished run is there, and will be gone on with")
        try:
            rooms = self._rooms()
        except PaiTrainError as error:
            yield failed("tables.root", "tables", error.fault)
            yield Finding("inputs and outputs", "data", "skip", "not looked at: the tables cannot be opened")
            return
        found: dict[str, JobInput] = {}
        for name, asked in self._config.inputs.items():
            try:
                item, faults = inputs.look(name, asked, rooms)
                todo = _staged(asked, rooms) if faults else None
            except PaiTrainError as error:
                item, faults, todo = None, [error.fault], None
            yield from (_failed(fault, f"inputs.{name}", todo) for fault in faults)
            if item is not None:
                found[name] = item
                yield Finding(f"inputs.{name}", "data", "ok", _told(item))
        self._train = found.get("train")
        yield from (_failed(fault) for fault in fit_together(found))
        yield from self._look_at_outputs(found, rooms, begun=begun)

    def _look_at_outputs(self, found: Mapping[str, JobInput], rooms: Rooms, *, begun: bool) -> Iterator[Finding]:
        made = outputs.made_by(found["train"]) if "train" in found else None
        good: dict[str, JobOutput] = {}
        for name, wanted in self._config.outputs.items():
            if made is None or wanted.input not in found:
                yield Finding(f"outputs.{name}", "data", "skip", "not looked at: an input it depends on failed")
                continue
            try:
                output, faults = outputs.look(name, wanted, found[wanted.input], made, rooms, begun=begun)
            except PaiTrainError as error:
                output, faults = None, [error.fault]
            yield from (_failed(fault, f"outputs.{name}") for fault in faults)
            if output is not None:
                good[name] = output
                yield Finding(f"outputs.{name}", "data", "ok", f"{output.address} can be written")
        yield from (_failed(fault) for fault in overlaps(self._config, found, good))

    def _origins(self) -> Iterator[Finding]:
        """Looks at the checkpoint that a run is asked to begin from."""
        found, faults = origins.look(self._config, self._stores)
        yield from (failed(_origin_key(fault.where), "checkpoint", fault) for fault in faults)
        for key, url in (("train.resume", found.resume), ("train.warm_start", found.warm)):
            if url is None:
                continue
            yield Finding(key, "checkpoint", "ok", display(url))
            try:
                yield fits(key, url, self._config, self._stores, self._train, self._devices, self._stop)
            except Interrupted:
                raise
            except PaiTrainError as error:
                yield failed(key, "model", error.fault)

    def _machine(self) -> Iterator[Finding]:
        cache = self._stores.options.cache
        if cache is not None:
            yield machine.cache(cache.folder, cache.max_bytes)
        yield machine.temporary()
        yield machine.run_folder(self._run_dir)


def _origin_key(where: str | None) -> str:
    return (where or "train.resume").removesuffix(".from")


def fit_together(found: Mapping[str, JobInput]) -> list[Fault]:
    """Checks that what the model learns from `train` is there in the other inputs."""
    train = found.get("train")
    if train is None:
        return []
    faults = []
    if train.label is None:
        faults.append(
            Fault("the training input needs a label", "inputs.train.label", todo="name the column to predict")
        )
    features = {name: train.columns[name] for name in train.features}
    label = {} if train.label is None else {train.label.column: train.columns[train.label.column]}
    for name, other in found.items():
        # Rows that are only predicted need no label.
        wanted = features | label if name == "test" else features
        faults += [
            Fault(
                f"input {name!r} does not have what the model takes",
                f"inputs.{name}.columns.{column}",
                got=str(other.columns.get(column, "no such column")),
                wanted=f"{column} {kind}",
            )
            for column, kind in wanted.items()
            if other.columns.get(column) != kind
        ]
        faults += [
            Fault(
                f"input {name!r} gives {column!r} other ids than the model learns",
                f"inputs.{name}.ids.{column}",
                got=_ids_told(other, column),
                wanted=_ids_told(train, column),
                todo="say the same of this column in both inputs",
            )
            for column in train.features
            if column in other.columns and other.ids.get(column) != train.ids.get(column)
        ]
    return faults


def _ids_told(item: JobInput, column: str) -> str:
    ids = item.ids.get(column)
    if ids is None:
        return "no ids: the text itself"
    return f"{ids.size} ids, {len(ids.vocabulary)} of them for a vocabulary ({ids.identity})"


def _failed(fault: Fault, place: str | None = None, todo: str | None = None) -> Finding:
    """Sorts a fault under the section of the recipe that it is about; the rest of its key leads its words."""
    where = fault.where or ""
    place = place or ".".join(where.split(".")[:2])
    rest = where.removeprefix(place).lstrip(".")
    words = f"{rest}: {fault.what}" if rest else fault.what
    return failed(place, "data", replace(fault, what=words), todo=todo)


def _told(item: JobInput) -> str:
    if item.sample is None:
        return f"{item.address} is there"
    return f"{item.address} is missing; the sample {item.sample.path} would be put there"


def _staged(asked: InputConfig, rooms: Rooms) -> str | None:
    """Returns what puts a sample in place where the input is missing and a training would not do so itself."""
    if asked.sample is None:
        return None
    if asked.table is not None:
        missing = any(rooms.tables.describe(ref) is None for ref in parse_tables(asked.table, rooms.project))
    elif isinstance(asked.oss, str):
        url = resolve(rooms.root, asked.oss)
        missing = not rooms.stores.open(url).glob(url)
    else:
        return None
    return f"mode=stage puts the sample {asked.sample} there" if missing else None
