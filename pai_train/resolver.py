"""The composition root: a checked configuration becomes a job of plain values; the only file that sees every room."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pai_train import inputs, origins, outputs
from pai_train.errors import DeviceError, Fault, Interrupted, PaiTrainError, Refused
from pai_train.experiment.reproduce import reproduce_job
from pai_train.front import recipes
from pai_train.gangs import gang_of, team_of
from pai_train.inputs import Rooms
from pai_train.job import Job, JobInput, JobOutput
from pai_train.launch.native import native_stderr
from pai_train.learning import callback_faults, own_step_fault
from pai_train.needs import fit_together
from pai_train.origins import Origins
from pai_train.places import overlaps, place_faults
from pai_train.reach import storage_options
from pai_train.roles import suited
from pai_train.spec.checkpoints import warm_start_of
from pai_train.spec.expiry import named_tables
from pai_train.spec.oss_address import addresses
from pai_train.storage import Stores, resolve
from pai_train.training.signals import StopSignals, interrupting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pai_train.experiment.record import Record
    from pai_train.findings import Report
    from pai_train.front.composed import Composed
    from pai_train.spec.config import JobConfig
    from pai_train.stage import Staged
    from pai_train.tables.contracts import Tables
    from pai_train.team import Team
    from pai_train.training.devices import Devices

logger = logging.getLogger(__name__)

_CHECK_DEADLINE_S = 20.0
"""A check says soon that a store does not answer, however long a run would be patient."""


def run(composed: Composed, callbacks: Sequence[Any] = ()) -> Record | Report | Staged:
    """Resolves and runs a configuration in its mode.

    Returns:
        The record of a training, what a check or an expiry found, or what was staged.

    Raises:
        Refused: Something was wrong before anything was written.
        PaiTrainError: What ended the run.
    """
    mode = composed.config.mode
    if mode == "train":
        # Looking at what there is may wait for a store: it is broken off at once.
        if (gang := gang_of(composed, callbacks)) is not None:
            with _placing(composed), interrupting():
                # What every worker would find is told once, before any is started.
                if faults := _model_faults(composed.config, composed.config.cluster.workers):
                    raise Refused(faults)
            with StopSignals() as signals:
                return gang(lambda: signals.requested)
        with interrupting():
            job = resolve_job(composed)
            from pai_train.follow import perform

        with StopSignals() as signals:
            return perform(replace(job, callbacks=tuple(callbacks)), signals)
    with StopSignals() as signals:
        if mode == "expire":
            return _expire(composed, signals)
        return _check(composed, signals) if mode == "check" else _stage(composed, signals)


def resolve_job(composed: Composed) -> Job:
    """Looks at everything a job needs, read-only.

    Raises:
        Refused: All faults found.
    """
    # What its kernels log as warnings comes to the user as an error of ours, with its place.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with _placing(composed):
        config, stores = _opened(composed)
        # Images are decoded by TensorFlow, whose devices are chosen before its first operation.
        team = team_of(composed)
        devices = _devices(config, composed, team) if _decodes(config) else None
        found_inputs, found_outputs, checkpoints, begins = _look(config, composed, stores, team)
    return Job(
        recipe=composed.recipe,
        recipe_file=composed.recipe_file,
        overrides=composed.overrides,
        argv=("python", "-m", "pai_train", *composed.overrides),
        config_hash=composed.config_hash,
        yaml=composed.yaml,
        run_dir=composed.run_dir,
        log_level=logging.DEBUG if composed.verbose else logging.INFO,
        inputs=found_inputs,
        outputs=found_outputs,
        checkpoints=checkpoints,
        origins=begins,
        warm_start=warm_start_of(config),
        stores=stores,
        tables=lambda: _tables(config, stores),
        model=config.model.name,
        params=config.model.params,
        train=config.train,
        engine=config.engine,
        devices=devices or _devices(config, composed, team),
        team=team,
        reproduce=partial(reproduce_job, composed.config, composed.overrides),
    )


def _check(composed: Composed, signals: StopSignals) -> Report:
    from pai_train.check import check
    from pai_train.needs import Needs

    def devices() -> Devices:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        return _devices(replace(config, on_missing_gpu="logical_cpu"), composed)

    with _placing(composed):
        config, stores = _opened(composed, impatient=True)
        if _decodes(config):
            devices()

    def begun() -> bool:
        return _begun(config, composed, stores)

    def stop() -> None:
        if signals.requested:
            raise Interrupted("the check was stopped, and left nothing behind", todo="the same command starts anew")

    needs = Needs(config, stores, lambda: _rooms(config, composed, stores), begun, composed.run_dir, devices, stop)
    return check(needs.plan(composed.recipe), lambda: signals.requested)


def _stage(composed: Composed, signals: StopSignals) -> Staged:
    from pai_train.stage import stage
    from pai_train.staging import Planner

    with _placing(composed):
        config, stores = _opened(composed)
        planner = Planner(config, stores, lambda: _tables(config, stores), _samples(composed))
        plan = planner.plan()
        if planner.faults:
            raise Refused(planner.faults)
    return stage(plan, lambda: signals.requested)


def _expire(composed: Composed, signals: StopSignals) -> Report:
    from pai_train.expire import Plan, expire
    from pai_train.tables.contracts import Expiring
    from pai_train.tables.expire import Policy

    with _placing(composed):
        config, stores = _opened(composed)
        asked = config.expire
        try:
            tables = _tables(config, stores)
        except PaiTrainError as error:
            raise Refused([_tables_fault(config, error.fault)]) from None
        if not isinstance(tables, Expiring):
            raise Refused([Fault("these tables do not expire", where="mode", got="expire")])
    policy = Policy(asked.older_than_days * 86400, asked.keep_last, asked.grace_hours * 3600)
    title = composed.recipe or "no recipe"
    plan = Plan(title, tables, tables, named_tables(config), policy, asked.delete)
    return expire(plan, lambda: signals.requested)


@contextmanager
def _placing(composed: Composed) -> Iterator[None]:
    """Says of each fault which file or override set the key that it is about."""
    try:
        yield
    except Refused as refused:
        raise Refused([_placed(composed, fault) for fault in refused.faults]) from None


def _opened(composed: Composed, *, impatient: bool = False) -> tuple[JobConfig, Stores]:
    """Returns the configuration with ordinary URLs, and the stores that they lie on."""
    if (
        composed.recipe_file is not None
        and (beside := str(Path(composed.recipe_file).resolve().parent)) not in sys.path
    ):
        # Models and callbacks may lie beside the recipe that names them; what has that name elsewhere comes first.
        sys.path.append(beside)
    config, roles = addresses(composed.config)
    options = storage_options(config, roles)
    if impatient:
        deadline_s = min(options.limits.deadline_s, _CHECK_DEADLINE_S)
        options = replace(options, limits=replace(options.limits, deadline_s=deadline_s))
    return config, Stores(options)


def _look(
    config: JobConfig, composed: Composed, stores: Stores, team: Team
) -> tuple[dict[str, JobInput], dict[str, JobOutput], str, Origins]:
    places = place_faults(config, stores)
    faults = [*places, *_model_faults(config, team.size)]
    if any(fault.where != "checkpointDir" for fault in places):
        raise Refused(faults)
    checkpoints, begun = "", False
    # The other workers are brought what the chief finds.
    begins, found_faults = (Origins(), []) if team.rank else origins.look(config, stores)
    faults += found_faults
    if not places:
        checkpoints = resolve(config.storage.root, config.checkpointDir)
        try:
            begun = _begun(config, composed, stores, begins.resume)
        except PaiTrainError as error:
            faults.append(replace(error.fault, where="checkpointDir"))
    try:
        rooms = _rooms(config, composed, stores)
    except PaiTrainError as error:
        raise Refused([*faults, _tables_fault(config, error.fault)]) from None
    found_inputs: dict[str, JobInput] = {}
    for name, asked in config.inputs.items():
        item, found = inputs.look(name, asked, rooms)
        faults += found
        if item is not None:
            found_inputs[name] = item
    found_outputs: dict[str, JobOutput] = {}
    if "train" in found_inputs:
        faults += [*fit_together(found_inputs), *suited(config.train, found_inputs["train"].label)]
        made = outputs.made_by(found_inputs["train"])
        for name, wanted in config.outputs.items():
            if made is None or wanted.input not in found_inputs:
                continue
            output, found = outputs.look(name, wanted, found_inputs[wanted.input], made, rooms, begun=begun)
            faults += found
            if output is not None:
                found_outputs[name] = output
    if not places:
        faults += overlaps(config, found_inputs, found_outputs)
    if faults:
        raise Refused(faults)
    return found_inputs, found_outputs, checkpoints, begins


def _model_faults(config: JobConfig, workers: int) -> list[Fault]:
    from pai_train.models.load import signature_faults

    name = config.model.name
    # A builder of the user's own is imported here, and TensorFlow with it.
    with native_stderr(_debug):
        faults = signature_faults(name, config.model.params)
        alone = [own_step_fault(name, workers)] if workers > 1 and not faults else []
        faults += [*filter(None, alone), *callback_faults(config.train.callbacks)]
    return [replace(fault, where=fault.where or "model.name") for fault in faults]


def _debug(text: str) -> None:
    logger.debug("%s", text)


def _rooms(config: JobConfig, composed: Composed, stores: Stores) -> Rooms:
    return Rooms(
        root=config.storage.root,
        tables=_tables(config, stores),
        project=config.tables.project,
        tables_local=config.tables.name == "iceberg" and stores.open(resolve(config.tables.root, ".")).is_local,
        samples=_samples(composed),
        stores=stores,
    )


def _tables(config: JobConfig, stores: Stores) -> Tables:
    tables = config.tables
    if tables.name == "maxcompute":
        from pai_train.tables.maxcompute import open_tables

        return open_tables(
            tables.root,
            tables.project,
            stores,
            endpoint=tables.endpoint,
            tunnel_endpoint=tables.tunnel_endpoint,
            role_arn=tables.role_arn,
        )
    from pai_train.tables.iceberg import IcebergTables

    return IcebergTables(config.tables.root, config.tables.project, stores, config.tables.catalog)


def _tables_fault(config: JobConfig, fault: Fault) -> Fault:
    """Puts a fault of opening the tables at the key that it is about."""
    if (fault.where or "").startswith("tables."):
        return fault
    return replace(fault, where="tables.root" if config.tables.catalog is None else "tables.catalog")


def _samples(composed: Composed) -> list[Path]:
    beside = [Path(composed.recipe_file).parent / "data"] if composed.recipe_file else []
    return [*beside, recipes.folder("recipes") / "data"]


def _begun(config: JobConfig, composed: Composed, stores: Stores, begins_from: str | None = None) -> bool:
    """Tells whether an unfinished run of this configuration will be gone on with."""
    from pai_train.training.generations import Runs

    checkpoints = resolve(config.storage.root, config.checkpointDir)
    runs = Runs(stores.open(checkpoints), checkpoints)
    return config.train.resume != "never" and runs.unfinished(composed.config_hash, begins_from) is not None


def _decodes(config: JobConfig) -> bool:
    return any(rows.image is not None for rows in config.inputs.values())


def _devices(config: JobConfig, composed: Composed, team: Team | None = None) -> Devices:
    from pai_train.training.devices import prepare

    missing, train = config.on_missing_gpu, config.train
    join = team.join if team is not None else None
    try:
        with native_stderr(_debug):
            return prepare(config.gpus, missing, deterministic=train.deterministic, seed=train.seed, join=join)
    except DeviceError as error:
        raise Refused([_placed(composed, replace(error.fault, where="gpus"))]) from None


def _placed(composed: Composed, fault: Fault) -> Fault:
    """Says which file or override set the key that a fault is about."""
    return replace(fault, where=composed.place(fault.where)) if fault.where else fault
