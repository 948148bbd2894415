"""Every -D key of PAI's TensorFlow components: what it takes, and what becomes of it here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "number", "truth"]
Status = Literal["honoured", "no effect", "another component"]

_TRUTHS = ("true", "false", "1", "0")


@dataclass(frozen=True)
class Key:
    """A key.

    Attributes:
        name: As PAI spells it.
        here: What becomes of it.
        recipe: Its counterpart in a recipe; None where it has none.
        status: Whether it is honoured, accepted without effect, or belongs to another component.
        kind: What is checked of its value alone.
    """

    name: str
    here: str
    recipe: str | None = None
    status: Status = "honoured"
    kind: Kind = "text"


_ONE_MACHINE = "no effect: all processes are on this machine"
_NO_SCHEDULER = "no effect: no scheduler stands in between"
_PYTORCH = "of PAI's PyTorch component"
_EASY_REC = "of EasyRec's component"

KEYS = (
    Key("script", "the script or archive: a file here, on any store, or a resource of MaxCompute"),
    Key("entryFile", "the file of an archive that runs"),
    Key(
        "buckets", "`--buckets`; an address of any store, its role and keys taken out", "storage.root, inputs.NAME.oss"
    ),
    Key("tables", "`--tables`, and what the script may read", "inputs.NAME.table"),
    Key("outputs", "`--outputs`, and the only tables that the script may write", "outputs.NAME.table"),
    Key("createTableSql", "run where the output is absent; one statement per output", "outputs.NAME.ddl"),
    Key("checkpointDir", "`--checkpointDir`; an address of any store", "checkpointDir"),
    Key("gpuRequired", "how many GPUs the script sees; 100 is one", "gpus", kind="number"),
    Key("cluster", "processes on this machine, with flags and TF_CONFIG"),
    Key("useSparseClusterSchema", "a worker's TF_CONFIG has itself and ps only", kind="truth"),
    Key("hyperParameters", "each `k=v` line becomes `--k=v`"),
    Key("userDefinedParameters", "the last words of the command line, split as a shell does"),
    Key("arn", "the RAM role in which OSS is used", "storage.role_arn"),
    Key("ossHost", "where OSS is reached, unless OSS_ENDPOINT says otherwise", "storage.endpoint"),
    Key("jobName", "names the run's folder, runs/NAME/…", "hydra.run.dir"),
    Key("tags", "no effect", status="no effect"),
    Key("enableDynamicCluster", _ONE_MACHINE, status="no effect", kind="truth"),
    Key("autoEnablePsTaskFailover", _ONE_MACHINE, status="no effect", kind="truth"),
    Key(
        "maxHungTimeBeforeGCInSeconds", "no effect: nothing is ended for being quiet", status="no effect", kind="number"
    ),
    Key(
        "maxTrainingTimeInHour",
        "no effect: nothing ends a script but itself and you",
        status="no effect",
        kind="number",
    ),
    Key("allOrNothing", _NO_SCHEDULER, status="no effect", kind="truth"),
    Key("autoStrategy", "no effect", status="no effect", kind="truth"),
    Key("volumes", "no effect: mount them on this machine", status="no effect"),
    Key("vpcRegion", _NO_SCHEDULER, status="no effect"),
    Key("vpcId", _NO_SCHEDULER, status="no effect"),
    Key("pipelineid", "no effect", status="no effect"),
    Key("python", _PYTORCH, status="another component"),
    Key("workerCount", _PYTORCH, status="another component"),
    Key("oversubscription", _PYTORCH, status="another component"),
    Key("enableDockerFusion", _PYTORCH, status="another component"),
    Key("cpuRequired", _EASY_REC, status="another component"),
    Key("memRequired", _EASY_REC, status="another component"),
    Key("lifecycle", _EASY_REC, status="another component"),
    Key("selected_cols", _EASY_REC, status="another component"),
)
"""In the order of the migration page's table."""

BY_NAME = {key.name.lower(): key for key in KEYS}


def misfit(key: Key, value: str) -> str | None:
    """Returns what a value must be when it is not; None when it is."""
    if key.kind == "number" and re.fullmatch(r"[0-9]{1,9}", value.strip()) is None:
        return "a whole number, 0 or more"
    if key.kind == "truth" and value.strip().lower() not in _TRUTHS:
        return "true or false"
    return None


def is_true(value: str | None) -> bool:
    """Tells whether a key's value says yes."""
    return value is not None and value.strip().lower() in ("true", "1")


def as_table() -> str:
    """Returns the keys as the table of the migration page."""
    rows = ["| key | | here | in a recipe |", "|---|---|---|---|"]
    for key in KEYS:
        recipe = "" if key.recipe is None else ", ".join(f"`{name}`" for name in key.recipe.split(", "))
        rows.append(f"| `-D{key.name}` | {key.status} | {key.here.removeprefix('no effect: ')} | {recipe} |")
    return "\n".join(rows)
