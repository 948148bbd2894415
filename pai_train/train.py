"""The train mode: from a checked job to a trained model, written outputs and a finished run folder."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pai_train.begin import begin
from pai_train.errors import DataError, Interrupted
from pai_train.examine import (
    WHOLE,
    check_ids,
    count_classes,
    describe_rows,
    described,
    open_input,
    split_of,
)
from pai_train.experiment import folder as run_folder
from pai_train.experiment.environment import packages_known
from pai_train.experiment.logs import logs
from pai_train.experiment.metrics import Metrics
from pai_train.experiment.progress import Progress
from pai_train.experiment.record import InputRecord, OutputRecord, Record
from pai_train.experiment.summary import summary
from pai_train.experiment.watch import Watch
from pai_train.feed.contracts import FeedPlan, Position
from pai_train.feed.engines import engine
from pai_train.feed.order import check_position, lay_out
from pai_train.feed.stats import Stats
from pai_train.names import plain_name, token
from pai_train.pins import Pins, held
from pai_train.storage import Scratch, display
from pai_train.team import folder_of, opened
from pai_train.training.checkpoints import Checkpoints
from pai_train.training.contracts import TrainState
from pai_train.training.generations import Run, Runs
from pai_train.training.retention import Retention
from pai_train.training.totals import metrics

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pai_train.begin import Beginning
    from pai_train.feed.bad_rows import BadRows
    from pai_train.job import Job, JobInput
    from pai_train.models.contracts import LabelSpec
    from pai_train.spec.contracts import Source, WriteSession
    from pai_train.training.learner import Learner
    from pai_train.training.signals import StopSignals

logger = logging.getLogger(__name__)


def train(job: Job, signals: StopSignals) -> Record:
    """Runs a job and returns its record; the run folder tells the same, however it ends.

    Args:
        job: What to do.
        signals: Tells whether the run is asked to stop.

    Raises:
        PaiTrainError: What ended the run.
        Interrupted: A signal asked it to stop; its state is saved.
    """
    folder = folder_of(job)
    with logs(folder, job.log_level):
        record = Record.start(
            folder,
            argv=job.argv,
            recipe=job.recipe,
            recipe_file=job.recipe_file,
            overrides=list(job.overrides),
            config_hash=job.config_hash,
            seed=job.train.seed,
            devices=list(job.devices.names),
            replicas=job.devices.replicas * job.team.size,
        )
        run_folder.write_config(folder, job.yaml)
        training = Training(job, record, signals)
        try:
            training.run()
        except BaseException as error:
            training.note_bad_rows()
            _note_storage(record, job)
            record.finish(error)
            logger.debug("the run ended with", exc_info=error)
            raise
        training.note_bad_rows()
        _note_storage(record, job)
        record.finish()
        logger.info("%s", summary(record))
    return record


class Training:
    """One start of a run."""

    def __init__(self, job: Job, record: Record, signals: StopSignals) -> None:
        self._job = job
        self._record = record
        self._signals = signals
        self._bad: dict[str, BadRows] = {}
        self._keep = Retention.of(job.train.checkpoint)

    def run(self) -> None:
        job, record = self._job, self._record
        if job.devices.notice:
            logger.warning("%s", job.devices.notice)
        self._prepare()
        store = job.stores.open(job.checkpoints)
        runs = Runs(store, job.checkpoints)
        run = runs.open(job.config_hash, "never" if job.train.resume == "never" else "auto", job.origins.resume)
        record.run_id, record.generation, record.begun_from = run.run_id, run.generation, run.begun_from
        if run.notice:
            logger.info("%s", run.notice)
        scratch = Scratch()
        checkpoints = Checkpoints(store, run.url, keep=self._keep, scratch=scratch.path)
        # Closed before the lease is given back: the last upload may still be under way.
        with scratch as folder, checkpoints.lease(run.run_id), checkpoints, Pins(job.tables, run.run_id) as pins:
            restored = folder / "restored"
            begun = begin(job, run, checkpoints, restored)
            job.team.start(run, begun.to_json(), restored)
            self._train(run, begun, checkpoints, pins)
            runs.finish(run, {"metrics": record.metrics, "weights_sha256": record.weights_sha256})
            pins.release()

    def _prepare(self) -> None:
        """Puts samples in place and creates what is absent; never touches what exists."""
        for item in self._job.inputs.values():
            if item.sample is not None:
                logger.warning(
                    "input %s is missing: putting the sample %s there, as %s",
                    item.name,
                    item.sample.path,
                    item.sample.target,
                )
                item.sample.place()
        for output in self._job.outputs.values():
            if output.create():
                logger.info("output %s: created %s", output.name, output.address)

    def _train(self, run: Run, begun: Beginning, checkpoints: Any, pins: Any) -> None:
        from pai_train.learning import make_learner
        from pai_train.training.state import weights_sha256

        job, record, state = self._job, self._record, begun.state
        item = job.inputs["train"]
        check_ids(item, state)
        sources = {name: open_input(one, state) for name, one in job.inputs.items()}
        job.team.agree(sources)
        tokens = state.tokens if state is not None else {}
        tokens = {name: tokens.get(name, token(run.run_id, name)) for name in job.outputs}
        pins.hold(held(job, sources, tokens))
        for one in job.inputs.values():
            if one.tables and one.snapshot is not None:
                # It was no longer the current one, and may have expired before it was pinned.
                one.open(one.snapshot)
        for name, source in sources.items():
            snapshot = source.snapshot
            record.inputs[name] = InputRecord(job.inputs[name].address, snapshot.to_json(), snapshot.rows)
            self._take_bad_rows(name, snapshot.rows)
        check = partial(self._check_stop, "looking at the input; nothing was trained since the last checkpoint")
        look = (item, sources["train"], check, self._bad.get("train"))
        label, columns = described(job.team.from_chief(partial(describe_rows, *look)))
        count = partial(count_classes, item, sources["train"], label, *look[2:])
        learner = make_learner(job, columns, label, count)
        if state is None:
            others = {name: one.snapshot for name, one in sources.items() if name != "train"}
            positions = {name: Position(snapshot, WHOLE, 0, 0, 0, ()) for name, snapshot in others.items()}
            state = TrainState(0, 0, positions, run.run_id, job.config_hash, versions=packages_known())
        record.warm_start = begun.load(learner.variables)
        ids = {name: one.identity for name, one in item.ids.items()}
        state = replace(state, tokens=tokens, config_hash=job.config_hash, ids=ids)
        # Opened before training, for what an output refuses to be known at once.
        sessions = {name: output.write(tokens[name]) for name, output in job.outputs.items()}
        record.reproduce = job.reproduce(
            run.run_id, {name: one.snapshot.id for name, one in sources.items()}, run.begun_from
        )
        record.save()
        state = self._fit(learner, label, sources, state, checkpoints, begun)
        job.team.pool(self._bad)
        for bad in self._bad.values():
            bad.finish()
        record.weights_sha256 = weights_sha256(learner.variables)
        self._predict(learner, label, sources, sessions)

    def _fit(
        self,
        learner: Learner,
        label: LabelSpec,
        sources: Mapping[str, Source],
        state: TrainState,
        checkpoints: Any,
        begun: Beginning,
    ) -> TrainState:
        from pai_train.learning import make_callbacks
        from pai_train.training.fit import Feed, Fit, last_metrics

        job, record = self._job, self._record
        parallel = None if job.engine.parallel == "auto" else job.engine.parallel
        stats, address = Stats(job.engine.name), job.inputs["train"].address
        feeds = engine(job.engine.name, parallel, partial(stats.reading, address))
        plan = self._plan(job.inputs["train"], label, learner)
        held_out: Feed | None = None
        test = self._held_out(plan, sources)
        if test is not None:
            held_out = opened(job.team.feed(engine(job.engine.name, parallel), *test), job.team.aligned(*test))
        layout = lay_out(sources["train"].chunks(), plan)
        epoch_steps = layout.batches(plan)
        if epoch_steps == 0:
            raise DataError(
                "the rows to train on fill no batch",
                where="train.drop_remainder" if plan.drop_remainder else "inputs.train",
                got=f"{layout.rows} rows, batches of {plan.batch_size}",
                todo="lower train.batch_size, or leave drop_remainder out" if layout.rows else "give it rows",
            )
        begun.keep(state, learner.variables, checkpoints, partial(check_position, plan=plan, layout=layout))
        total = None if epoch_steps is None else epoch_steps * job.train.epochs
        if job.train.steps is not None:
            total = job.train.steps if total is None else min(total, job.train.steps)
        with Metrics(record.folder) as lines, Progress(total, job.train.epochs) as progress:
            state = Fit(
                learner=learner,
                feed=job.team.feed(feeds, sources["train"], plan),
                align=job.team.aligned(sources["train"], plan),
                held_out=held_out,
                checkpoints=checkpoints,
                config=job.train,
                depth=job.engine.ahead,
                watcher=Watch(record, lines, progress, address, metrics),
                stop=self._stops,
                worth=self._keep.worth,
                source=address,
                stats=stats,
                callbacks=make_callbacks(job, learner),
                agree=lambda value: job.team.from_chief(lambda: value),
            ).run(state)
        record.metrics = last_metrics(state)
        record.epochs, record.steps = state.epoch, state.step
        latest = checkpoints.latest()
        record.checkpoint = display(latest.url) if latest is not None else None
        record.save()
        return state

    def _plan(self, item: JobInput, label: LabelSpec, learner: Learner) -> FeedPlan:
        from pai_train.training.call_size import auto_steps

        config = self._job.train
        steps = config.steps_per_call
        if steps == "auto":
            steps = auto_steps(learner.parameters, config.batch_size, learner.image_bytes)
        steps = self._job.team.steps(
            min(steps, config.checkpoint.every_steps or steps, config.evaluate_every_steps or steps)
        )
        learner.expect(config.batch_size, steps)
        return FeedPlan(
            columns=(*item.features, label.column, *((item.weight,) if item.weight else ())),
            batch_size=config.batch_size,
            defaults=item.defaults,
            epochs=config.epochs,
            shuffle=item.shuffle,
            window=item.window,
            seed=config.seed,
            lanes=self._job.engine.lanes,
            split=split_of(item, "train"),
            bad_rows=self._bad.get("train"),
            steps=steps,
            drop_remainder=config.drop_remainder,
        )

    def _held_out(self, plan: FeedPlan, sources: Mapping[str, Source]) -> tuple[Source, FeedPlan] | None:
        """Returns what to evaluate on: the input `test`, or the rows that the split holds out."""
        test, item = self._job.inputs.get("test"), self._job.inputs["train"]
        columns = tuple(name for name in plan.columns if name != item.weight)
        plan = replace(
            plan,
            columns=columns,
            epochs=None,
            shuffle="none",
            batch_size=max(plan.batch_size, 256),
            drop_remainder=False,
        )
        if test is not None:
            return sources["test"], replace(plan, defaults=test.defaults, split=None, bad_rows=self._bad.get("test"))
        if item.split is not None:
            return sources["train"], replace(plan, split=split_of(item, "test"))
        return None

    def _predict(
        self, learner: Learner, label: LabelSpec, sources: Mapping[str, Source], sessions: Mapping[str, WriteSession]
    ) -> None:
        from pai_train.serving.predict import predict_into

        features = self._job.inputs["train"].features
        for name, output in self._job.outputs.items():
            rows, snapshot = predict_into(
                sessions[name],
                learner,
                sources[output.input],
                features=features,
                defaults=self._job.inputs[output.input].defaults,
                classes=label.classes,
                mapping=output.mapping,
                check=partial(self._check_stop, "predicting; the trained state is saved"),
                bad_rows=self._bad.get(output.input),
            )
            self._record.outputs[name] = OutputRecord(output.address, rows, snapshot.to_json())
            self._record.save()

    def _take_bad_rows(self, name: str, rows: int | None) -> None:
        item, folder = self._job.inputs[name], self._record.folder
        if item.on_bad_row == "fail":
            return
        sink = folder / run_folder.BAD_ROWS.format(plain_name(name)) if item.on_bad_row == "quarantine" else None
        self._bad[name] = self._job.team.bad_rows(name, limit=item.max_bad_rows, total=rows, sink=sink)

    def note_bad_rows(self) -> None:
        """Puts the counts of bad rows into the record."""
        for name, bad in self._bad.items():
            if bad.count:
                logger.warning("%s", bad.summary())
            quarantine = bad.sink.name if bad.sink is not None and bad.count else None
            known = self._record.inputs[name]
            self._record.inputs[name] = replace(known, bad_rows=bad.count, rows_read=bad.seen, quarantine=quarantine)

    def _stops(self) -> bool:
        self._job.team.pool(self._bad)
        return self._job.team.any(self._signals.requested)

    def _check_stop(self, work: str) -> None:
        if self._signals.requested:
            raise Interrupted(f"asked to stop while {work}", todo="the same command goes on")


def _note_storage(record: Record, job: Job) -> None:
    record.storage = {scheme: stats.counts().to_json() for scheme, stats in job.stores.stats().items()}
