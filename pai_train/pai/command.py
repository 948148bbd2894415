"""From a PAI statement to what it asks for, checked: every fault at once, and nothing is opened."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pai_train.errors import Fault, did_you_mean, nearest
from pai_train.pai import addresses, gpus, place
from pai_train.pai.cluster import cards_of, read_cluster
from pai_train.pai.keys import BY_NAME, KEYS, is_true, misfit
from pai_train.pai.named_tables import read_statements, read_tables
from pai_train.pai.statement import Argument, Statement
from pai_train.pai.variables import Variables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pai_train.pai.cluster import Cluster
    from pai_train.pai.place import Script

_OTHERS = {
    "easy_rec_ext": "run EasyRec's own program as the script of a tensorflow command",
    "tensorboard": "run `tensorboard --logdir …` on the folder",
}


@dataclass(frozen=True)
class Options:
    """What is said beside the statements.

    Attributes:
        variables: The scheduler's variables.
        environ: The environment.
        tables: The table store; None for the environment's, or iceberg.
        tables_root: Where its tables are; None for the environment's.
        take_role: Whether roles of OSS are taken on.
    """

    variables: Variables = field(default_factory=Variables)
    environ: Mapping[str, str] = field(default_factory=dict)
    tables: Literal["iceberg", "maxcompute"] | None = None
    tables_root: str | None = None
    take_role: bool = True


@dataclass(frozen=True)
class Command:
    """What a statement asks for.

    Attributes:
        statement: The statement.
        values: Its values by key, variables filled, keys as PAI spells them; unknown ones as they are written.
        script: What runs.
        tables: Addresses of input tables.
        outputs: Addresses of tables that may be written.
        statements: CREATE TABLE statements, one for each output, or none.
        buckets: Addresses of -Dbuckets.
        checkpoints: The address of -DcheckpointDir.
        hyper_parameters: The address of the file of -DhyperParameters.
        words: Of -DuserDefinedParameters.
        cluster: Its cluster; None for one process.
        gpus: GPUs of the one process; None where nothing is said.
        visible: CUDA_VISIBLE_DEVICES of each process; empty where nothing is said.
        settings: What the processes need in their environment; it may hold keys, and is in no text.
        tables_name: The table store.
        tables_root: Where its tables are.
        notes: What is to be known of it.
        warnings: What is probably not meant so.
    """

    statement: Statement = field(repr=False)
    values: Mapping[str, str] = field(repr=False)
    script: Script
    tables: tuple[str, ...]
    outputs: tuple[str, ...]
    statements: tuple[str, ...]
    buckets: tuple[str, ...]
    checkpoints: str | None
    hyper_parameters: str | None
    words: tuple[str, ...]
    cluster: Cluster | None
    gpus: int | None
    visible: tuple[str, ...]
    settings: Mapping[str, str] = field(repr=False)
    tables_name: str
    tables_root: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags in front of those of a cluster, in PAI's order; what is not set gives none."""
        lists = (("tables", self.tables), ("outputs", self.outputs), ("buckets", self.buckets))
        flags = [f"--{name}={','.join(values)}" for name, values in lists if values]
        return (*flags, *([f"--checkpointDir={self.checkpoints}"] if self.checkpoints else []))


def read_command(
    statement: Statement, options: Options, warnings: list[str] | None = None
) -> tuple[Command | None, list[Fault]]:
    """Checks a statement.

    Args:
        statement: The statement.
        options: What is said beside it.
        warnings: Gets its warnings, also where there are faults: an unknown key may be why another one is missing.

    Returns:
        What it asks for, and every fault; None where there is one.
    """
    reading = _Reading(statement, options)
    read = reading.read()
    if warnings is not None:
        warnings += reading.warnings
    return read


class _Reading:
    """A statement while it is checked: one method for each part of it."""

    def __init__(self, statement: Statement, options: Options) -> None:
        self.statement, self.options = statement, options
        self.faults: list[Fault] = []
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.given: dict[str, Argument] = {}
        self.values: dict[str, str] = {}

    def read(self) -> tuple[Command | None, list[Fault]]:
        self.algorithm()
        self.arguments()
        tables_name = self.options.tables or self.options.environ.get("PAI_TRAIN_TABLES") or "iceberg"
        used = self.filled(self.statement.used)
        project = used or self.options.environ.get("PAI_TRAIN_PROJECT") or "pai_train"
        tables = read_tables(self.given.get("tables"), project, self.faults, writes=False)
        outputs = read_tables(self.given.get("outputs"), project, self.faults, writes=True)
        statements = read_statements(self.given.get("createTableSql"), outputs, project, self.faults)
        cluster, cards, visible = self.processes()
        places, root = self.places()
        script = self.script(places.pop("script", [""])[0], tables_name)
        words = self.words()
        if self.faults or script is None:
            return None, self.faults
        settings = dict(self.settled.settings)
        settings |= {"PAI_TRAIN_TABLES": tables_name} if self.options.tables else {}
        settings |= {"PAI_TRAIN_TABLES_ROOT": root} if root else {}
        settings |= {"PAI_TRAIN_PROJECT": used} if used else {}
        return Command(
            self.statement,
            self.values,
            script,
            tables,
            outputs,
            statements,
            tuple(places.get("buckets", ())),
            next(iter(places.get("checkpointDir", ())), None),
            next(iter(places.get("hyperParameters", ())), None),
            words,
            cluster,
            cards,
            visible,
            settings,
            tables_name,
            root or self.options.environ.get("PAI_TRAIN_TABLES_ROOT") or "data/tables",
            tuple(self.notes),
            tuple(self.warnings),
        ), []

    def algorithm(self) -> None:
        """Checks -name and -project."""
        name = self.statement.name
        value = self.filled(name)
        if name is None or not value:
            self.faults.append(Fault("-name is missing", self.statement.where, wanted="-name tensorflow"))
        elif not value.lower().startswith("tensorflow"):
            todo = _OTHERS.get(value.lower()) or did_you_mean(value, ["tensorflow"])
            self.faults.append(
                Fault("only TensorFlow's components are run here", name.where, value, "tensorflow", todo)
            )
        project = self.statement.project
        if project is not None and self.filled(project) not in ("algo_public", None):
            self.notes.append(f"{project.where}: components come from algo_public; {project.value!r} has no effect")

    def arguments(self) -> None:
        """Fills the values in and knows the keys."""
        for argument in self.statement.arguments:
            value = self.filled(argument)
            key = BY_NAME.get(argument.key.lower())
            if value is None:
                continue
            if key is None:
                close = nearest(argument.key, [known.name for known in KEYS])
                meant = f"; did you mean -D{close}?" if close else ""
                self.warnings.append(f"{argument.where}: unknown key, without effect{meant}")
                self.values[argument.key] = value
                continue
            if not value.strip():
                continue
            wanted = misfit(key, value)
            if wanted is not None:
                self.faults.append(Fault("not a value of this key", argument.where, value, wanted))
                continue
            if key.status == "another component":
                self.warnings.append(f"{argument.where}: {key.here}, without effect")
            elif key.status == "no effect":
                why = key.here.removeprefix("no effect").removeprefix(": ")
                self.notes.append(f"-D{key.name} has no effect{': ' if why else ''}{why}")
            self.values[key.name] = value
            self.given[key.name] = Argument(argument.written, value, argument.place)

    def filled(self, argument: Argument | None) -> str | None:
        """Returns a value with its variables filled, blanks around it taken off; None where one is left open."""
        if argument is None:
            return None
        value, left = self.options.variables.fill(argument.value)
        if left:
            known = self.options.variables.business is not None
            names = ", ".join(left)
            todo = "--set name=value" if known else "--date yyyymmdd for dates, --set name=value for other names"
            what = "a variable is open" if len(left) == 1 else "variables are open"
            self.faults.append(Fault(what, argument.where, names, "a value for each", todo))
            return None
        return value.strip()

    def processes(self) -> tuple[Cluster | None, int | None, tuple[str, ...]]:
        """Reads -Dcluster and -DgpuRequired, and deals out GPUs."""
        asked, single = self.given.get("cluster"), self.given.get("gpuRequired")
        if asked is not None and single is not None:
            what = "cluster and gpuRequired should not be set at the same time"
            self.faults.append(Fault(what, single.where, todo='give GPUs as "gpu" of the cluster\'s parts'))
        sparse = is_true(self.values.get("useSparseClusterSchema"))
        if asked is not None:
            cluster, faults, warnings = read_cluster(asked.value, asked.where, sparse=sparse)
            self.faults += faults
            self.warnings += warnings
            if cluster is None:
                return None, None, ()
            return cluster, None, self.dealt([cluster.parts[job].gpus for job, _ in cluster.members()])
        if single is None:
            return None, None, ()
        cards = cards_of(int(single.value), single.where, self.warnings)
        return None, cards, self.dealt([cards])

    def dealt(self, wanted: Sequence[int]) -> tuple[str, ...]:
        """Returns CUDA_VISIBLE_DEVICES of each process."""
        there = gpus.present(self.options.environ) if any(wanted) else []
        given, missing = gpus.dealt(wanted, there)
        if missing:
            what = f"asked for GPUs: {sum(wanted)}, on this machine: {len(there)}"
            self.warnings.append(f"{what}; a process without one runs on the CPU")
        return tuple(given)

    def places(self) -> tuple[dict[str, list[str]], str | None]:
        """Settles all addresses of stores.

        Returns:
            The addresses by key, and the tables' root.
        """
        named: list[tuple[str, addresses.Place]] = []
        for key in ("script", "buckets", "checkpointDir", "hyperParameters"):
            argument = self.given.get(key)
            if argument is None:
                continue
            texts = addresses.split_list(argument.value) if key == "buckets" else [argument.value]
            named += [(key, addresses.Place(text, argument.where)) for text in texts]
        root = self.options.tables_root
        resource = [one for key, one in named if key == "script" and place.resource_of(one.text) is not None]
        asked = [(key, one) for key, one in named if one not in resource or key != "script"]
        asked += [("", addresses.Place(root, "command line --tables-root"))] if root else []
        self.settled = addresses.settle(
            [one for _, one in asked],
            self.options.environ,
            arn=self.given.get("arn"),
            host=self.given.get("ossHost"),
            take_role=self.options.take_role,
        )
        self.faults += self.settled.faults
        self.notes += self.settled.notes
        found: dict[str, list[str]] = {}
        for (key, one), url in zip(asked, self.settled.urls, strict=True):
            found.setdefault(key, []).append(url)
            if key == "buckets" and url and not url.endswith("/"):
                self.warnings.append(f"{one.where}: PAI's buckets end in '/': {url}")
        for one in resource:
            found["script"] = [one.text]
        return found, next(iter(found.pop("", ())), None)

    def script(self, address: str, tables_name: str) -> Script | None:
        """Reads -Dscript and -DentryFile."""
        given, entry = self.given.get("script"), self.given.get("entryFile")
        if given is None:
            if not any("-Dscript" in str(fault.where) for fault in self.faults):
                self.faults.append(Fault("-Dscript is missing", self.statement.where, wanted="-Dscript=file.py"))
            return None
        if not address:
            return None
        where = self.statement.where if entry is None else entry.where
        found, faults = place.read_script(
            address, given.where, None if entry is None else entry.value, where, tables_name
        )
        self.faults += faults
        if found is not None and entry is not None and not found.entry:
            self.notes.append("-DentryFile has no effect: the script is no archive")
        return found

    def words(self) -> tuple[str, ...]:
        """Splits -DuserDefinedParameters as a shell does."""
        given = self.given.get("userDefinedParameters")
        if given is None:
            return ()
        try:
            return tuple(shlex.split(given.value))
        except ValueError as error:
            what = f"cannot be split into words: {str(error).lower()}"
            self.faults.append(Fault(what, given.where, given.value, todo="close each quote"))
            return ()
