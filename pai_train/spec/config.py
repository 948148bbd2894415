"""The recipe's keys: every key a user can write, with its type, bounds, default and meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt
from typing_extensions import Doc

from pai_train.spec.checkpoints import CheckpointConfig, WarmStartConfig
from pai_train.spec.cluster import ClusterConfig
from pai_train.spec.expiry import ExpireConfig
from pai_train.spec.ids import IdsChoice  # noqa: TC001 - the keys are read from the hints
from pai_train.spec.images import ImageConfig  # noqa: TC001 - the keys are read from the hints
from pai_train.spec.stage_config import StageConfig
from pai_train.spec.train_config import StepConfig

Scalar = bool | int | float | str

STORAGE_SCHEMES = {"oss": "oss", "s3": "s3", "gcs": "gs", "azure": "az"}
"""URL scheme of each remote provider."""

SELF_DESCRIBING = ("parquet", "arrow")
"""Formats of files that say which columns they hold."""


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """What the model learns."""

    column: Annotated[str, Doc("Name of the column to predict.")]
    task: Annotated[
        Literal["auto", "classification", "regression"],
        Doc("auto: regression for DOUBLE and FLOAT columns, classification for texts, integers and BOOLEAN."),
    ] = "auto"
    classes: Annotated[
        list[Scalar] | None, Doc("The class values in order; left out, they are collected from the label column.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Which rows are held out."""

    test: Annotated[float, Gt(0), Lt(1), Doc("Share of the rows held out of training.")]
    seed: Annotated[int, Ge(0), Doc("Chooses another division.")] = 0


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    """Rows to read: files by `oss`, or a table by `table`."""

    oss: Annotated[
        str | list[str] | None,
        Doc("An object, a list of objects or a glob, relative to storage.root, or a full URL."),
    ] = None
    table: Annotated[
        str | None,
        Doc(
            "A table name, or odps://project/tables/name[/pt=value][?start=row&end=row]; several of the same columns"
            " are joined by `,`."
        ),
    ] = None
    where: Annotated[
        str | None,
        Doc("Of a table: only the rows that fulfil this filter, such as `f1 > 5 AND kind = 'a'`."),
    ] = None
    format: Annotated[
        Literal["csv", "text", "jsonl", "parquet", "arrow", "tfrecord", "image"],
        Doc(
            "How the files are written; text: one STRING column, a row per line; jsonl: a JSON object per line; arrow:"
            " Arrow IPC, files or streams; tfrecord: records of tf.train.Example; image: PNG and JPEG, a row per file."
        ),
    ] = "csv"
    compression: Annotated[
        Literal["auto", "none", "gzip", "zstd"],
        Doc(
            "Of csv, text, jsonl and tfrecord; auto: as the files' first bytes say. Compressed files are read once"
            " first."
        ),
    ] = "auto"
    encoding: Annotated[
        str, Doc("How the text of csv, text and jsonl is written, such as utf-8, gbk, gb18030, latin-1 or utf-16.")
    ] = "utf-8"
    quoted_newlines: Annotated[
        bool, Doc("Whether newlines inside quotes are data, of csv; such files are read once first.")
    ] = False
    image: Annotated[ImageConfig | None, Doc("Of image: the shape, and where labels are.")] = None
    header: Annotated[bool, Doc("Whether each file's first line names its columns.")] = False
    delimiter: Annotated[
        str, Doc("The one character between fields; `\\t` and `\\x01` stand for tab and control characters.")
    ] = ","
    columns: Annotated[
        dict[str, str],
        Doc(
            "Column names with MaxCompute types, in file order; for a table and formats that name their columns: those"
            " to read, {} for all."
        ),
    ] = field(default_factory=dict)
    record_defaults: Annotated[
        list[Scalar] | dict[str, Scalar] | None,
        Doc("Value that stands for an empty field or NULL: one per column in order, or by name."),
    ] = None
    features: Annotated[
        list[str] | None, Doc("Columns the model sees; left out, all but the label, and of images the image.")
    ] = None
    ids: Annotated[
        dict[str, IdsChoice],
        Doc(
            "Features of texts that come as integer ids: the column with a number of ids to hash into, a list of texts"
            " as the vocabulary, or keys; {} for none."
        ),
    ] = field(default_factory=dict)
    label: Annotated[str | LabelConfig | None, Doc("The column to predict, or column, task and classes.")] = None
    weight: Annotated[
        str | None, Doc("Of train: a column of numbers, 0 or more, that weigh each row's loss; no feature.")
    ] = None
    split: Annotated[SplitConfig | None, Doc("Hold out part of the rows for evaluation.")] = None
    shuffle: Annotated[
        Literal["none", "block", "window"],
        Doc(
            "none: stored order inside each lane; block: chunks permuted in a lane, rows permuted in a chunk; window:"
            " chunks permuted in a lane, the rows of several chunks permuted together."
        ),
    ] = "block"
    window: Annotated[
        int | None, Ge(2), Le(4096), Doc("With shuffle=window: chunks whose rows are permuted together; null for 8.")
    ] = None
    on_bad_row: Annotated[
        Literal["fail", "skip", "quarantine"],
        Doc(
            "What a row does that cannot be read, or is null without a default: fail ends the run, skip leaves it out,"
            " quarantine also writes it to bad-rows-NAME.jsonl in the run folder."
        ),
    ] = "fail"
    max_bad_rows: Annotated[
        Annotated[int, Ge(0)] | Annotated[float, Gt(0), Lt(1)] | None,
        Doc("The run stops when more rows are left out: a whole number, or a share of the rows; null for no limit."),
    ] = None
    sample: Annotated[
        str | None,
        Doc("File in recipes/data put in place when this input is missing, the store is local and the names agree."),
    ] = None
    snapshot: Annotated[str | None, Doc("Read exactly this snapshot; refuse when the data have changed.")] = None


@dataclass(frozen=True, kw_only=True)
class OutputConfig:
    """Predictions to write: a table by `table` and `ddl`, or files by `oss`."""

    table: Annotated[str | None, Doc("A table name, or odps://project/tables/name[/pt=value].")] = None
    ddl: Annotated[str | None, Doc("CREATE TABLE statement, run when the table is absent, else compared.")] = None
    oss: Annotated[str | None, Doc("A folder, relative to storage.root, or a full URL.")] = None
    format: Annotated[Literal["csv", "parquet"], Doc("How files are written.")] = "csv"
    input: Annotated[str, Doc("Name of the input whose every row gets a prediction.")] = "train"
    columns: Annotated[
        dict[str, str],
        Doc(
            "Output column: input column, or $prediction, or $probability. Left out: equal names are carried, and the"
            " column named like the label takes $prediction."
        ),
    ] = field(default_factory=dict)
    write: Annotated[
        Literal["overwrite", "append", "fail"],
        Doc("overwrite replaces the content at commit, as on PAI; append adds; fail refuses an output with rows."),
    ] = "overwrite"


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The model."""

    name: Annotated[str, Doc("linear, mlp, or a dotted path to a builder of your own.")] = "mlp"
    params: Annotated[dict[str, Scalar | list[Scalar] | None], Doc("Keyword arguments of the builder.")] = field(
        default_factory=dict
    )


@dataclass(frozen=True, kw_only=True)
class TrainConfig(StepConfig):
    """How to train."""

    epochs: Annotated[int, Ge(1), Doc("How often the training rows are read.")] = 10
    steps: Annotated[int | None, Ge(1), Doc("Stop after this many steps, whatever the epoch.")] = None
    batch_size: Annotated[int, Ge(1), Doc("Rows of a global batch, over all replicas.")] = 32
    drop_remainder: Annotated[bool, Doc("Whether batches of fewer rows, such as an epoch's last, are left out.")] = (
        False
    )
    learning_rate: Annotated[float, Gt(0), Doc("Step size of the optimizer.")] = 0.001
    optimizer: Annotated[Literal["adam", "adamw", "rmsprop", "sgd"], Doc("Keras optimizer.")] = "adam"
    seed: Annotated[int, Ge(0), Le(2**32 - 1), Doc("Seed of the order, the weights and dropout.")] = 17
    resume: Annotated[
        Literal["auto", "never"] | str,
        Doc(
            "auto: go on with an unfinished run of the same configuration; never: start a new generation; a checkpoint,"
            " a run or a checkpointDir, relative to storage.root or a full URL: start a new one from its state."
        ),
    ] = "auto"
    warm_start: Annotated[
        str | WarmStartConfig | None,
        Doc("Weights of another model to begin with: where they are, or keys; null for new ones."),
    ] = None
    deterministic: Annotated[bool, Doc("Same weights from the same start, at some cost in speed.")] = True
    steps_per_call: Annotated[
        Annotated[int, Ge(1)] | Literal["auto"],
        Doc("Steps run by one call into TensorFlow; auto: more for small models."),
    ] = "auto"
    jit_compile: Annotated[
        bool | Literal["auto"],
        Doc("Whether XLA compiles the steps of full batches; auto: of small models on one CPU, in longer trainings."),
    ] = "auto"
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """A local read cache of remote objects."""

    dir: Annotated[str | None, Doc("A local folder that several processes may share; null for no cache.")] = None
    max_gb: Annotated[float, Gt(0), Doc("GiB it may hold; what was not read for longest goes first.")] = 10.0


@dataclass(frozen=True, kw_only=True)
class StorageConfig:
    """Where bytes live."""

    name: Annotated[
        Literal["local", "memory", "oss", "s3", "gcs", "azure"],
        Doc("The provider that endpoint, region, profile and role_arn are for."),
    ] = "local"
    root: Annotated[str, Doc("Folder or URL that relative names of inputs, outputs and checkpointDir start from.")]
    endpoint: Annotated[str | None, Doc("Address of the service; null for the environment's or the provider's.")] = None
    region: Annotated[str | None, Doc("The provider's name of the region; null for the environment's.")] = None
    profile: Annotated[str | None, Doc("A profile in the provider's own file of credentials; never a key.")] = None
    role_arn: Annotated[
        str | None, Doc("OSS: RAM role to take on, acs:ram::<uid>:role/<name>, with the environment's credentials.")
    ] = None
    addressing: Annotated[
        Literal["path", "virtual"] | None,
        Doc("Whether the bucket stands in the path or the host of a request; null for the provider's habit."),
    ] = None
    parallel: Annotated[int, Ge(1), Le(256), Doc("Requests in flight at once for one reader or writer.")] = 8
    part_mb: Annotated[float, Gt(0), Le(1024), Doc("MiB of one ranged read and of one part of an upload.")] = 8.0
    timeout_s: Annotated[float, Gt(0), Doc("Seconds after which a request without an answer is repeated.")] = 30.0
    deadline_s: Annotated[float, Gt(0), Doc("Seconds after which an operation that keeps failing is an error.")] = 120.0
    cache: CacheConfig = field(default_factory=CacheConfig)


@dataclass(frozen=True, kw_only=True)
class TablesConfig:
    """Where rows live."""

    name: Annotated[Literal["iceberg", "maxcompute"], Doc("The table store.")]
    root: Annotated[
        str,
        Doc(
            "Folder or URL of the tables, relative to the working folder; with maxcompute, of the records of unfinished"
            " writes."
        ),
    ]
    project: Annotated[str, Doc("The project of a bare table name.")] = "pai_train"
    catalog: Annotated[
        str | None,
        Doc(
            "Iceberg: what lists the tables. null for the store itself, postgresql://user@host:5432/database,"
            " sqlite:///file, or https://host of a REST catalog; never with a password."
        ),
    ] = None
    endpoint: Annotated[str | None, Doc("MaxCompute: its address; null for ODPS_ENDPOINT.")] = None
    tunnel_endpoint: Annotated[
        str | None,
        Doc("MaxCompute: the address of its tunnel; null for ODPS_TUNNEL_ENDPOINT, or what the service tells."),
    ] = None
    role_arn: Annotated[
        str | None,
        Doc("MaxCompute: RAM role to take on, acs:ram::<uid>:role/<name>, with the environment's credentials."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """How rows become tensors."""

    name: Annotated[
        Literal["tf_data", "queue_runner"], Doc("Parallel reads of chunks, or TF1 queues and their runners.")
    ]
    lanes: Annotated[
        int, Ge(1), Le(256), Doc("Streams a batch is drawn from; at most this many workers can share an input.")
    ] = 4
    parallel: Annotated[
        Annotated[int, Ge(1)] | Literal["auto"], Doc("Chunks read at once; auto: the number of cores.")
    ] = "auto"
    ahead: Annotated[int, Ge(1), Doc("Superbatches kept ready in front of the loop.")] = 2


@dataclass(frozen=True, kw_only=True)
class JobConfig:
    """A whole recipe, as composed."""

    mode: Annotated[
        Literal["train", "check", "stage", "expire"],
        Doc(
            "train; check: test what the run will need, and change nothing; stage: put data where the run reads it;"
            " expire: list old snapshots and unreferenced files of the recipe's tables, or delete them."
        ),
    ] = "train"
    inputs: Annotated[dict[str, InputConfig], Doc("What to read, by name; `train` is required, `test` is evaluated.")]
    outputs: Annotated[dict[str, OutputConfig], Doc("What to write, by name.")] = field(default_factory=dict)
    checkpointDir: Annotated[  # noqa: N815 - PAI's spelling
        str, Doc("Folder of the run's checkpoints, relative to storage.root, or a full URL.")
    ]
    gpus: Annotated[int | str, Doc("0: CPU; N: exactly N GPUs; auto: all visible; '0,1': these GPUs.")] = 0
    on_missing_gpu: Annotated[
        Literal["logical_cpu", "fail"],
        Doc("What to do with fewer GPUs than asked: run the replicas on logical CPU devices, or refuse."),
    ] = "logical_cpu"
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    storage: StorageConfig
    tables: TablesConfig
    engine: EngineConfig
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    stage: StageConfig = field(default_factory=StageConfig)
    expire: ExpireConfig = field(default_factory=ExpireConfig)
