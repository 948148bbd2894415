"""run.json: what was run, on what, and how it ended, true at every moment of the run."""

from __future__ import annotations

import json
import os
import shlex
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pai_train.errors import EXIT_DONE, EXIT_FAILED, Interrupted, PaiTrainError, Refused, told
from pai_train.experiment import environment
from pai_train.experiment.folder import RECORD, write
from pai_train.experiment.plain import plain
from pai_train.redact import redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Status = Literal["running", "done", "failed", "interrupted", "refused"]

EXIT_CTRL_C = 130


@dataclass(frozen=True)
class InputRecord:
    """What an input was.

    Attributes:
        address: Its URL or table name, without credentials.
        snapshot: `Snapshot.to_json()` of what was read.
        rows: Rows of the snapshot, where known.
        bad_rows: How many of the rows read were left out; None where none may be.
        rows_read: How many different rows were read, bad ones included, where these are counted.
        quarantine: Name of the file in the run folder that holds them.
    """

    address: str
    snapshot: Mapping[str, Any] | None = None
    rows: int | None = None
    bad_rows: int | None = None
    rows_read: int | None = None
    quarantine: str | None = None


@dataclass(frozen=True)
class OutputRecord:
    """What an output got.

    Attributes:
        address: Its URL or table name, without credentials.
        rows: Rows written.
        snapshot: `Snapshot.to_json()` of what the commit published.
    """

    address: str
    rows: int | None = None
    snapshot: Mapping[str, Any] | None = None


def utc_now() -> datetime:
    """Returns the time, in UTC."""
    return datetime.now(UTC)


@dataclass(kw_only=True)
class Record:
    """The content of run.json; set attributes as they become known, then `save`.

    Attributes:
        folder: The run folder.
        status: How it stands; 'running' with a pid that is gone means killed.
        run_id: The run's name, kept in its checkpoint folder.
        generation: Which generation of the run.
        command: The command as a shell line.
        cwd: The folder it was started in.
        recipe: The recipe's name.
        recipe_file: Which file the recipe was read from.
        overrides: The command's overrides, in Hydra's grammar.
        config_hash: Identity of the composed configuration.
        seed: The run's seed.
        git: The git state of `cwd`, None outside a repository.
        packages: Versions by package.
        devices: Names of the devices computed on.
        replicas: Number of replicas.
        host: Name of the machine.
        pid: Process id.
        started: ISO 8601, UTC.
        ended: ISO 8601, UTC; None while running.
        inputs: What was read, by the recipe's names.
        outputs: What was written, by the recipe's names.
        metrics: Values by metric, by set of rows: train, test.
        epochs: Whole epochs done, those before a resume included.
        steps: Steps done, those before a resume included.
        part_of_epoch: Whether the steps end inside a further epoch.
        rows_per_s: Rows per second of the training loop.
        stall_fraction: Share of the loop's time spent waiting for input, 0 to 1.
        waited_for: The sentence about it.
        feed: What the training input cost: seconds the loop waited and was busy, the first call left out; rows, batches
            and bytes; and by source the seconds that threads read, decoded, and waited for the loop to take rows.
        storage: What each remote store was asked for, by scheme: requests, retries, bytes, seconds waited.
        begun_from: The checkpoint of another run that this one began from.
        warm_start: Which variables were taken over from another model, and which not.
        checkpoint: Where the newest checkpoint is.
        weights_sha256: Hash of the final weights.
        reproduce: The shell line that runs it again.
        exit_code: The process's exit code.
        error: The fault in words; its traceback is in the log.
        now: Gives the time.
    """

    folder: Path
    status: Status = "running"
    run_id: str | None = None
    generation: int | None = None
    command: str = ""
    cwd: Path = field(default_factory=Path.cwd)
    recipe: str | None = None
    recipe_file: str | None = None
    overrides: list[str] = field(default_factory=list)
    config_hash: str | None = None
    seed: int | None = None
    git: environment.Git | None = None
    packages: dict[str, str | None] = field(default_factory=dict)
    devices: list[str] = field(default_factory=list)
    replicas: int | None = None
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    started: str = ""
    ended: str | None = None
    inputs: dict[str, InputRecord] = field(default_factory=dict)
    outputs: dict[str, OutputRecord] = field(default_factory=dict)
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    epochs: int = 0
    steps: int = 0
    part_of_epoch: bool = False
    rows_per_s: float | None = None
    stall_fraction: float | None = None
    waited_for: str | None = None
    feed: dict[str, Any] = field(default_factory=dict)
    storage: dict[str, dict[str, int | float]] = field(default_factory=dict)
    begun_from: str | None = None
    warm_start: dict[str, Any] | None = None
    checkpoint: str | None = None
    weights_sha256: str | None = None
    reproduce: str | None = None
    exit_code: int | None = None
    error: str | None = None
    now: Callable[[], datetime] = field(default=utc_now, repr=False)

    @classmethod
    def start(cls, folder: Path, *, argv: Sequence[str], now: Callable[[], datetime] = utc_now, **known: Any) -> Self:
        """Makes the record of a run that begins now, with git state and versions, and writes it.

        Args:
            folder: The run folder.
            argv: The command's words.
            now: Gives the time.
            **known: Other attributes of the record.
        """
        record = cls(folder=folder, command=shlex.join(argv), now=now, **known)
        record.git = environment.git(record.cwd)
        record.packages = environment.packages()
        record.started = _iso(now())
        record.save()
        return record

    def save(self) -> None:
        """Replaces run.json at once, without the secrets that a text may hold.

        Raises:
            PaiTrainError: It cannot be written.
        """
        tree = redacted(self.to_json())
        write(self.folder / RECORD, json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def epoch(
        self,
        *,
        epochs: int,
        steps: int,
        part_of_epoch: bool = False,
        metrics: Mapping[str, Mapping[str, float]],
        rows_per_s: float | None = None,
        stall_fraction: float | None = None,
        waited_for: str | None = None,
        feed: Mapping[str, Any] | None = None,
    ) -> None:
        """Notes the end of an epoch and saves; metrics are by set of rows, and sets not given stay as they were."""
        self.epochs = epochs
        self.steps = steps
        self.part_of_epoch = part_of_epoch
        self.metrics |= {part: dict(values) for part, values in metrics.items()}
        self.rows_per_s = rows_per_s
        self.stall_fraction = stall_fraction
        self.waited_for = waited_for
        self.feed = dict(feed or {})
        self.save()

    def finish(self, error: BaseException | None = None) -> int:
        """Notes how the run ended, saves, and returns the process's exit code."""
        self.status, self.exit_code = ending(error)
        self.error = None if error is None else fault_text(error)
        self.ended = _iso(self.now())
        self.save()
        return self.exit_code

    @property
    def seconds(self) -> float:
        """Seconds from start to end, or until now."""
        end = self.now() if self.ended is None else datetime.fromisoformat(self.ended)
        return (end - datetime.fromisoformat(self.started)).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """Returns all attributes but `now` as JSON types, in the order of the class."""
        values: dict[str, Any] = plain({name: value for name, value in vars(self).items() if name != "now"})
        return values


def read(folder: Path) -> Record:
    """Returns the record of a run, as its folder tells it.

    Raises:
        PaiTrainError: It cannot be read.
    """
    try:
        known: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        known |= {
            "folder": folder,
            "cwd": Path(known["cwd"]),
            "inputs": {name: InputRecord(**value) for name, value in known["inputs"].items()},
            "outputs": {name: OutputRecord(**value) for name, value in known["outputs"].items()},
        }
        return Record(**known)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PaiTrainError("the record of a run cannot be read", where=str(folder / RECORD), got=str(error)) from error


def ending(error: BaseException | None) -> tuple[Status, int]:
    """Returns the status and exit code that an ending stands for."""
    if error is None:
        return "done", EXIT_DONE
    if isinstance(error, Interrupted):
        return "interrupted", error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", EXIT_CTRL_C
    if isinstance(error, Refused):
        return "refused", error.exit_code
    return "failed", error.exit_code if isinstance(error, PaiTrainError) else EXIT_FAILED


def fault_text(error: BaseException) -> str:
    """Returns a fault in words: our own as they are, others led by their type."""
    text = told(error)
    if isinstance(error, PaiTrainError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
