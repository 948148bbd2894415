"""A job: what the resolver made of a recipe, as plain values and openers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pai_train.feed.ids import Ids
    from pai_train.origins import Origins
    from pai_train.spec.address import TableRef
    from pai_train.spec.checkpoints import WarmStartConfig
    from pai_train.spec.config import EngineConfig, TrainConfig
    from pai_train.spec.contracts import Source, WriteSession
    from pai_train.spec.images import ImageType
    from pai_train.spec.types import MaxComputeType
    from pai_train.storage import Stores
    from pai_train.tables.contracts import Tables
    from pai_train.team import Team
    from pai_train.training.devices import Devices


@dataclass(frozen=True)
class LabelPlan:
    """The column to learn, its task, and its classes where the recipe names them."""

    column: str
    task: Literal["classification", "regression"]
    classes: tuple[Any, ...] | None


@dataclass(frozen=True)
class Sample:
    """A sample that stands in for a missing input.

    Attributes:
        path: The file it comes from, for people.
        target: Where it goes, for people.
        place: Puts it there.
    """

    path: str
    target: str
    place: Callable[[], object]


@dataclass(frozen=True)
class JobInput:
    """An input that was found and checked.

    Attributes:
        name: Its name in the recipe.
        address: What it is, for people.
        tables: The tables with their partitions and rows, of tables.
        columns: Its columns with declared types, in order.
        features: The columns the model sees.
        label: What is learned of it.
        weight: The column that weighs the rows, of the training input.
        ids: Its texts that come as integer ids.
        defaults: Values that stand for null, but of texts that come as ids.
        split: Share and seed of the held-out rows.
        shuffle: Order of its rows in training.
        window: Chunks whose rows are permuted together, with shuffle "window".
        snapshot: The snapshot it must have.
        on_bad_row: What a row does that cannot be read.
        max_bad_rows: How many rows may be left out, or which share of them; None for any.
        sample: What is put in its place first, because it is missing.
        open: Opens it, at a snapshot id where one is given.
    """

    name: str
    address: str
    tables: tuple[TableRef, ...]
    columns: Mapping[str, MaxComputeType | ImageType]
    features: tuple[str, ...]
    label: LabelPlan | None
    weight: str | None
    ids: Mapping[str, Ids]
    defaults: Mapping[str, Any]
    split: tuple[float, int] | None
    shuffle: Literal["none", "block", "window"]
    window: int
    snapshot: str | None
    on_bad_row: Literal["fail", "skip", "quarantine"]
    max_bad_rows: float | None
    sample: Sample | None
    open: Callable[[str | None], Source]


@dataclass(frozen=True)
class JobOutput:
    """An output that was found and checked.

    Attributes:
        name: Its name in the recipe.
        address: What it is, for people.
        table: The table and its partition, of a table.
        url: The folder, of files.
        input: Name of the input whose rows are predicted.
        mapping: (output column, input column or $prediction or $probability), in order.
        create: Creates it where it is absent; tells whether it did.
        write: Opens the write that a token names.
    """

    name: str
    address: str
    table: TableRef | None
    url: str | None
    input: str
    mapping: tuple[tuple[str, str], ...]
    create: Callable[[], bool]
    write: Callable[[str], WriteSession]


@dataclass(frozen=True)
class Job:
    """A training that may begin: everything was checked, nothing is written yet.

    Attributes:
        recipe: The recipe's name.
        recipe_file: The file it was read from.
        overrides: The command's overrides.
        argv: The command.
        config_hash: Identity of the configuration.
        yaml: The composed configuration.
        run_dir: The run folder's name.
        log_level: Lowest level shown on the console.
        inputs: By name; `train` is there.
        outputs: By name.
        checkpoints: URL of checkpointDir.
        origins: What it begins from.
        warm_start: Which weights it takes over.
        stores: How stores are reached.
        tables: Opens the table store.
        model: The builder's name.
        params: The builder's keyword arguments.
        train: How to train.
        engine: How rows become tensors.
        devices: What the replicas run on.
        team: Whom it is trained with.
        reproduce: Gives the line that repeats the run, from its run_id, the snapshots of its inputs and the checkpoint
            it began from.
        callbacks: Keras callbacks given in Python, beside those that `train` names.
    """

    recipe: str | None
    recipe_file: str | None
    overrides: tuple[str, ...]
    argv: tuple[str, ...]
    config_hash: str
    yaml: str
    run_dir: str
    log_level: int
    inputs: Mapping[str, JobInput]
    outputs: Mapping[str, JobOutput]
    checkpoints: str
    origins: Origins
    warm_start: WarmStartConfig | None
    stores: Stores
    tables: Callable[[], Tables]
    model: str
    params: Mapping[str, Any]
    train: TrainConfig
    engine: EngineConfig
    devices: Devices
    team: Team
    reproduce: Callable[[str, Mapping[str, str], str | None], str]
    callbacks: tuple[Any, ...] = ()
