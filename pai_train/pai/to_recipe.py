"""A command's tables, buckets and checkpoint folder as a recipe; what has no counterpart is named in comments."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import yaml

from pai_train.pai.keys import BY_NAME
from pai_train.pai.reads import Reads, look
from pai_train.pai.shown import masked
from pai_train.redact import redact
from pai_train.spec.address import parse_table
from pai_train.spec.ddl import parse_ddl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.pai.command import Command

_STORAGE = {"oss": "oss", "s3": "s3", "gs": "gcs", "az": "azure", "file": "local"}
_LABEL = "label"


def recipe_of(command: Command) -> str:
    """Returns a recipe that composes; what the script alone knows is a guess, and is called one."""
    reads = look(command.script.address) if command.script.kind == "file" else Reads()
    storage, overrides = _storage(command)
    tree: dict[str, Any] = {}
    if overrides:
        tree["defaults"] = [*overrides, "_self_"]
    tree["inputs"], guesses = _inputs(command, reads)
    if command.outputs:
        tree["outputs"] = _outputs(command)
    name = _name(command)
    tree["checkpointDir"] = command.checkpoints or f"checkpoints/{name}"
    if command.gpus is not None:
        tree["gpus"] = command.gpus
    if storage:
        tree["storage"] = storage
    tree["tables"] = _tables(command)
    if not command.checkpoints:
        guesses.append("checkpointDir: the command names none")
    body = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=float("inf"))
    head = ["# What a PAI command reads and writes, as a recipe; model and training are yours to choose."]
    head += ["# @package _global_"]
    head += [f"# To check: {one}" for one in guesses]
    return redact("\n".join([*head, body, *_comments(command)])).rstrip() + "\n"


def _storage(command: Command) -> tuple[dict[str, Any], list[Any]]:
    overrides: list[Any] = []
    storage: dict[str, Any] = {}
    if command.buckets:
        root = command.buckets[0]
        scheme = root.partition("://")[0] if "://" in root else "file"
        if scheme != "file":
            overrides.append({"override /storage": _STORAGE[scheme]})
        storage["root"] = root
        if scheme == "oss":
            endpoint = command.settings.get("OSS_ENDPOINT")
            role = command.settings.get("PAI_TRAIN_OSS_ROLES", "").partition(",")[0].rpartition("=")[2]
            storage |= {"endpoint": endpoint} if endpoint else {}
            storage |= {"role_arn": role} if role else {}
    if command.tables_name == "maxcompute":
        overrides.append({"override /tables": "maxcompute"})
    return storage, overrides


def _tables(command: Command) -> dict[str, Any]:
    # A root beside the buckets would be another one than the command's.
    tables = {"root": command.tables_root}
    project = command.settings.get("PAI_TRAIN_PROJECT")
    return tables | ({"project": project} if project else {})


def _inputs(command: Command, reads: Reads) -> tuple[dict[str, Any], list[str]]:
    label, guesses = _label(command, reads)
    if command.tables:
        inputs: dict[str, Any] = {}
        for at, table in enumerate(command.tables):
            name = ("train", "test")[at] if at < 2 else f"input{at + 1}"
            inputs[name] = {"table": table, "label": label}
        if len(inputs) > 1:
            guesses.append("inputs: scripts take the second table for evaluation, most of them")
        return inputs, guesses
    files = list(reads.files) or ["*.csv"]
    if not reads.files:
        guesses.append("inputs.train.oss: the script knows which files it reads below its buckets")
    columns = dict(reads.columns)
    if not columns:
        columns = {"feature": "DOUBLE", _LABEL: "STRING"}
        guesses.append("inputs.train.columns: the script knows the columns of its files")
    train: dict[str, Any] = {"oss": files[0] if len(files) == 1 else files, "columns": columns}
    if reads.defaults:
        train["record_defaults"] = list(reads.defaults)
    return {"train": {**train, "label": label}}, guesses


def _label(command: Command, reads: Reads) -> tuple[str, list[str]]:
    """Guesses the column to predict."""
    if command.statements:
        last = parse_ddl(command.statements[0]).columns[-1].name
        return last, [f"inputs.train.label: {last} is the last column of the output"]
    if reads.columns and not command.tables:
        last = reads.columns[-1][0]
        return last, [f"inputs.train.label: {last} is the last column of the files"]
    return _LABEL, ["inputs.train.label: the script knows which column it predicts"]


def _outputs(command: Command) -> dict[str, Any]:
    statements: Sequence[str] = command.statements or [""] * len(command.outputs)
    outputs: dict[str, Any] = {}
    for output, statement in zip(command.outputs, statements, strict=True):
        name = base = parse_table(output, "pai_train").name
        while name in outputs:
            name = f"{base}_{len(outputs) + 1}"
        outputs[name] = {"table": output, **({"ddl": statement} if statement else {})}
    return outputs


def _comments(command: Command) -> list[str]:
    lines = []
    for key, value in command.values.items():
        known = BY_NAME.get(key.lower())
        if known is not None and known.recipe is not None:
            continue
        shown = shlex.join(masked(command.words)) if key == "userDefinedParameters" else value
        if key == "script":
            shown = str(command.script)
        if key == "hyperParameters":
            shown = str(command.hyper_parameters)
        lines.append(f"#   -D{key}={' '.join(shown.split())}")
    for bucket in command.buckets[1:]:
        lines.append(f"#   -Dbuckets, one more: {bucket}; an input's oss may be a full address")
    if command.settings.get("PAI_TRAIN_OSS_ROLES", "").count(","):
        lines.append(f"#   roles of single buckets: PAI_TRAIN_OSS_ROLES={command.settings['PAI_TRAIN_OSS_ROLES']}")
    if "OSS_ACCESS_KEY_ID" in command.settings:
        lines.append("#   the key in an address: set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET")
    if "jobName" in command.values:
        lines.append(f"#   -DjobName: on the command line, hydra.run.dir=runs/{command.values['jobName']}")
    return ["", "# Without a counterpart in a recipe:", *lines] if lines else []


def _name(command: Command) -> str:
    return command.script.name.partition(".")[0] or "pai"
