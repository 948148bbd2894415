"""What a start of a run begins with: its own newest state, another run's, another model's weights, or nothing."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from pai_train.storage import display
from pai_train.training.contracts import TrainState
from pai_train.training.origin import fetch_weights, keeping_rate, take_over

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pai_train.feed.contracts import Position
    from pai_train.job import Job
    from pai_train.spec.checkpoints import WarmStartConfig
    from pai_train.spec.contracts import Snapshot
    from pai_train.training.checkpoints import Checkpoints
    from pai_train.training.generations import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Beginning:
    """The state and the files to begin with.

    Attributes:
        state: None for a run that begins at its first step.
        folder: Holds the variables' files, unless there are none.
        origin: The checkpoint of another run or model that they are; None for the run's own, or none.
        warm: Which weights are taken over, of another model.
        other_config: Whether the state is that of another configuration.
    """

    state: TrainState | None
    folder: Path
    origin: str | None = None
    warm: WarmStartConfig | None = None
    other_config: bool = False

    def to_json(self) -> dict[str, Any]:
        """Returns what other workers need to begin with it beside the files, of JSON types."""
        state = None if self.state is None else self.state.to_json()
        return {"state": state, "origin": self.origin, "other_config": self.other_config}

    @classmethod
    def from_json(cls, told: Mapping[str, Any], folder: Path, warm: WarmStartConfig | None) -> Beginning:
        """Reads what `to_json` gave.

        Args:
            told: That.
            folder: Holds the same files.
            warm: What the recipe says of a warm start.
        """
        state = None if told["state"] is None else TrainState.from_json(told["state"])
        return cls(state, folder, told["origin"], warm, told["other_config"])

    def load(self, variables: Mapping[str, Any]) -> dict[str, Any] | None:
        """Assigns what there is to the variables; returns the account of a warm start.

        Raises:
            CheckpointError: They are another model's, or cannot be read.
        """
        from pai_train.training.state import read_variables
        from pai_train.training.warm_start import warm_start

        where = None if self.origin is None else display(self.origin)
        if self.state is not None:
            read = partial(read_variables, variables, self.folder, where)
            if self.other_config:
                keeping_rate(variables, read)
            else:
                read()
            whose = where or f"run {self.state.run_id}"
            logger.info("going on behind step %d of %s", self.state.step, whose)
            return None
        if self.warm is None or where is None:
            return None
        account = warm_start(
            variables,
            self.folder,
            where,
            include=self.warm.include,
            exclude=self.warm.exclude,
            ignore_mismatch=self.warm.ignore_mismatch,
        )
        for line in account.lines():
            logger.info("%s", line)
        return account.to_json()

    def keep(
        self,
        state: TrainState,
        variables: Mapping[str, Any],
        checkpoints: Checkpoints,
        check: Callable[[Position, Snapshot], None],
    ) -> None:
        """Saves what was taken over as the run's own, which from then on needs the other one no more.

        Args:
            state: The run's.
            variables: As they were loaded.
            checkpoints: The run's.
            check: Refuses a position in another order of rows, given with the snapshot it is of.

        Raises:
            DataError: The state does not fit the recipe's order of rows.
        """
        from pai_train.training.state import write_variables

        if self.origin is None:
            return
        if (position := state.positions.get("train")) is not None:
            check(position, position.snapshot)
        checkpoints.save(state, partial(write_variables, variables))


def begin(job: Job, run: Run, checkpoints: Checkpoints, folder: Path) -> Beginning:
    """Brings what a run begins with into an empty local folder.

    Raises:
        CheckpointError: There is something, and it cannot be read.
        StorageError: A store failed.
    """
    state = checkpoints.restore(folder)
    if state is not None:
        checkpoints.tidy()
        return Beginning(state, folder)
    if run.begun_from is not None:
        state = take_over(job.stores, run.begun_from, folder, run.run_id)
        return Beginning(state, folder, run.begun_from, other_config=state.config_hash != job.config_hash)
    if job.origins.warm is not None:
        fetch_weights(job.stores, job.origins.warm, folder)
        return Beginning(None, folder, job.origins.warm, job.warm_start)
    return Beginning(None, folder)
