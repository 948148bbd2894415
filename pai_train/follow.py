"""The train mode of a worker that is not the chief: it trains with the others, and writes nothing but its log."""

from __future__ import annotations

import logging
import os
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pai_train.begin import Beginning
from pai_train.errors import Interrupted, LaunchError
from pai_train.experiment.logs import logs
from pai_train.experiment.record import Record
from pai_train.launch.star import PeerLost
from pai_train.launch.supervisor import RANK, WORKER_LOG
from pai_train.storage import Scratch
from pai_train.team import Crew
from pai_train.train import Training, train
from pai_train.training.generations import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pai_train.job import Job
    from pai_train.training.contracts import TrainState
    from pai_train.training.signals import StopSignals

logger = logging.getLogger(__name__)


def perform(job: Job, signals: StopSignals) -> Record:
    """Runs a job, or this worker's part of it, and returns its record.

    Raises:
        PaiTrainError: What ended the run.
        Interrupted: A signal asked to stop.
    """
    team = job.team
    if not isinstance(team, Crew):
        return train(job, signals)
    with _stopped_together(signals), team.together():
        return train(job, signals) if team.rank == 0 else follow(job, team, signals)


@contextmanager
def _stopped_together(signals: StopSignals) -> Iterator[None]:
    """Takes the loss of another worker for what it is, when all were asked to stop and that one was faster."""
    try:
        yield
    except PeerLost as error:
        if not signals.requested:
            raise
        raise Interrupted("asked to stop, as other workers were", todo="the same command goes on") from error


def follow(job: Job, team: Crew, signals: StopSignals) -> Record:
    """Runs a job's part and returns its record, which is kept nowhere; the log is in the chief's run folder.

    Args:
        job: What to do.
        team: Those it is done with.
        signals: Tells whether the run is asked to stop.

    Raises:
        PaiTrainError: What ended the run, here or on another worker.
        Interrupted: A signal asked one of the workers to stop; the chief saved the state.
    """
    folder = _folder(Path(team.star.broadcast()))
    # Where this worker was started by another process, its standard error is that log already.
    with (
        Scratch() as scratch,
        logs(folder, job.log_level, name=WORKER_LOG.format(team.rank), console=RANK not in os.environ),
    ):
        record = Record(folder=scratch, recipe=job.recipe, config_hash=job.config_hash)
        logger.info("worker %d of %d, with %s", team.rank, team.size, ", ".join(job.devices.names))
        training = _Following(replace(job, outputs={}), record, signals, team)
        try:
            training.run()
        except BaseException as error:
            logger.debug("this worker ended with", exc_info=error)
            raise
        logger.info("done: %d steps", record.steps)
    return record


def _folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LaunchError(
            "the run folder cannot be made on this worker's machine",
            where=str(folder),
            got=error.strerror or str(error),
            todo="choose a folder that all workers can make with hydra.run.dir=…",
        ) from error
    return folder


class _Following(Training):
    """One start of a run, beside its chief's."""

    def __init__(self, job: Job, record: Record, signals: StopSignals, team: Crew) -> None:
        super().__init__(job, record, signals)
        self._crew = team

    def run(self) -> None:
        told = self._crew.star.broadcast()
        run_id, generation, url, resumed = told["run"]
        with Scratch() as scratch:
            restored = scratch / "restored"
            self._crew.star.share(restored)
            run = Run(run_id, generation, url, resumed)
            begun = Beginning.from_json(told["begins"], restored, self._job.warm_start)
            self._train(run, begun, _Nothing(url), _Nothing(url))


class _Nothing:
    """Stands where the chief keeps checkpoints and pins: what all have alike is kept once."""

    def __init__(self, url: str) -> None:
        self._url = url

    def save(self, state: TrainState, write: Callable[[Path], None], **more: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(SimpleNamespace(url=self._url))
        return done

    def latest(self) -> None:
        return None

    def hold(self, *held: Any) -> None:
        return None
