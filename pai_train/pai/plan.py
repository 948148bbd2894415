"""What a command would run, for people; nothing is opened, and no secret is shown."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from pai_train.pai.fetch import RUNS
from pai_train.pai.prepare import processes
from pai_train.pai.shown import masked, masked_settings
from pai_train.pai.to_recipe import recipe_of
from pai_train.redact import redact

if TYPE_CHECKING:
    from pai_train.pai.command import Command

FIRST_PORT = 2222


def plan(command: Command) -> str:
    """Returns the processes with their flags and environment, notes, and the recipe that says the same of the data."""
    name = command.statement.name
    lines = [f"{command.statement.where}: {name.value if name is not None else ''}".rstrip()]
    lines.append(f"  script       {command.script}" + (f", {command.script.entry}" if command.script.entry else ""))
    lines.append(f"  run folder   {RUNS}/{command.values.get('jobName') or 'pai'}/<time>")
    lines += [f"  reads        {table}" for table in command.tables]
    statements = command.statements or [""] * len(command.outputs)
    for output, statement in zip(command.outputs, statements, strict=True):
        lines.append(f"  writes       {output}" + (f"   made, where absent, by: {statement}" if statement else ""))
    lines += [f"  setting      {key}={value}" for key, value in masked_settings(command.settings).items()]
    lines += _processes(command)
    lines += [f"  note         {note}" for note in command.notes]
    lines += [f"  warning      {warning}" for warning in command.warnings]
    lines += ["  recipe of its tables and buckets:"]
    lines += [f"    {line}".rstrip() for line in recipe_of(command).splitlines()]
    return redact("\n".join(lines)) + "\n"


def _processes(command: Command) -> list[str]:
    size = 0 if command.cluster is None else command.cluster.size
    made = processes(command, (), range(FIRST_PORT, FIRST_PORT + size))
    lines = [f"  {len(made)} processes; ports from {FIRST_PORT} on stand for free ones"] if size else []
    if command.hyper_parameters:
        lines.append(
            f"  {'flags of':<12} {command.hyper_parameters}, one --k=v for each line, before the last ones below"
        )
    entry = command.script.entry or command.script.name
    for process in made:
        title = f"{process.job_name} {process.task_index}" if process.job_name else "process"
        flags = masked(process.flags)
        lines.append(f"  {title:<12} python {shlex.join([entry, *flags])}")
        lines += [f"  {'':<12} {key}={value}" for key, value in process.env.items()]
    return lines
