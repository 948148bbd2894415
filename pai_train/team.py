"""Where a training stands among others: alone, or as one of several workers of whom the first is the chief."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pai_train.errors import DataError
from pai_train.experiment import folder as run_folder
from pai_train.feed.align import align
from pai_train.feed.bad_rows import BadRows, Found, Reported
from pai_train.feed.contracts import Shard
from pai_train.feed.tensors import no_rows
from pai_train.launch.supervisor import RANK, READY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from pai_train.feed.contracts import Engine, FeedPlan, Superbatch
    from pai_train.job import Job
    from pai_train.launch.star import Star
    from pai_train.launch.tf_config import Workers
    from pai_train.spec.contracts import Source
    from pai_train.training.callbacks import Callbacks
    from pai_train.training.devices import Devices
    from pai_train.training.fit import Feed
    from pai_train.training.generations import Run
    from pai_train.training.learner import Learner

FOLDER = "PAI_TRAIN_RUN"
"""The run folder that whoever started the workers has made for them."""


class Team(Protocol):
    """What a training asks of those it trains with; all make the same calls in the same order."""

    @property
    def rank(self) -> int:
        """This worker's number, from 0; worker 0 is the chief."""
        ...

    @property
    def size(self) -> int:
        """How many workers there are."""
        ...

    @property
    def join(self) -> Callable[[Devices], Any] | None:
        """Meets the others and returns the strategy that spans all; None where there are no others."""
        ...

    def learner(self, *given: Any, **named: Any) -> Learner:
        """Returns a `Learner` for this worker's part, made of what that takes."""
        ...

    def feed(self, engine: Engine, source: Source, plan: FeedPlan) -> Feed:
        """Returns what opens this worker's rows."""
        ...

    def aligned(self, source: Source, plan: FeedPlan) -> Callable[[Iterator[Superbatch], int | None], Any]:
        """Returns what puts superbatches beside those of the others, up to so many batches."""
        ...

    def steps(self, steps: int) -> int:
        """Returns how many steps a call takes, where so many are wanted."""
        ...

    def any(self, flag: bool) -> bool:
        """Returns, on every worker the same, whether any worker gave true."""
        ...

    def agree(self, sources: Mapping[str, Source]) -> None:
        """Checks that all workers read the same.

        Raises:
            DataError: They do not.
        """
        ...

    def begin(self, folder: Path) -> None:
        """Tells the others where the run folder is."""
        ...

    def start(self, run: Run, begins: Mapping[str, Any], restored: Path) -> None:
        """Tells the others which run begins and with what, and brings them the files of that."""
        ...

    def from_chief(self, make: Callable[[], Any]) -> Any:
        """Returns, on every worker the same, what the chief makes, of JSON types; the others make nothing."""
        ...

    def callbacks(self, make: Callable[[], Callbacks], learner: Learner) -> Callbacks:
        """Returns the callbacks of a training, which the chief alone makes and all heed."""
        ...

    def bad_rows(self, name: str, *, limit: float | None, total: int | None, sink: Path | None) -> BadRows:
        """Returns what takes the bad rows of an input, made of what `BadRows` takes."""
        ...

    def pool(self, bad: Mapping[str, BadRows]) -> None:
        """Gives the chief what bad rows the others have found.

        Raises:
            TooManyBadRows: All together more than the limit allows.
        """
        ...


class Alone:
    """The team of one."""

    rank = 0
    size = 1
    join = None

    def learner(self, *given: Any, **named: Any) -> Learner:
        from pai_train.training.learner import Learner

        return Learner(*given, **named)

    def feed(self, engine: Engine, source: Source, plan: FeedPlan) -> Feed:
        return partial(engine.open, source, plan)

    def aligned(self, source: Source, plan: FeedPlan) -> Callable[[Iterator[Superbatch], int | None], Any]:
        return lambda batches, limit: batches

    def steps(self, steps: int) -> int:
        return steps

    def any(self, flag: bool) -> bool:
        return flag

    def agree(self, sources: Mapping[str, Source]) -> None:
        return None

    def begin(self, folder: Path) -> None:
        return None

    def start(self, run: Run, begins: Mapping[str, Any], restored: Path) -> None:
        return None

    def from_chief(self, make: Callable[[], Any]) -> Any:
        return make()

    def callbacks(self, make: Callable[[], Callbacks], learner: Learner) -> Callbacks:
        return make()

    def bad_rows(self, name: str, *, limit: float | None, total: int | None, sink: Path | None) -> BadRows:
        return BadRows(name, limit=limit, total=total, sink=sink)

    def pool(self, bad: Mapping[str, BadRows]) -> None:
        return None


class Crew:
    """One of several workers.

    Args:
        workers: All of them, and which one this is.
        same: What must be the same for all, in JSON types.
        timeout_s: Seconds in which all must come up.
    """

    def __init__(self, workers: Workers, same: Mapping[str, Any], timeout_s: float) -> None:
        self.rank = workers.rank
        self.size = workers.size
        self._workers = workers
        self._same = dict(same)
        self._timeout_s = timeout_s
        self._star: Star | None = None

    def join(self, devices: Devices) -> Any:
        """Meets the others and returns the strategy that spans all.

        Raises:
            LaunchError: A worker did not come, or has another configuration.
        """
        from pai_train.launch.meet import meet
        from pai_train.training.workers import span

        self._star = meet(self._workers, {"same": {**self._same, "replicas": devices.replicas}}, self._timeout_s)
        return span(self._workers, self._timeout_s)

    @property
    def star(self) -> Star:
        """The connections with the others."""
        if self._star is None:
            raise RuntimeError("the workers have not met")
        return self._star

    @contextmanager
    def together(self) -> Iterator[None]:
        """Ends with the others: those who are done wait for the chief, and learn why another one ends before."""
        if RANK in os.environ:
            # Whoever started this worker waits for this line.
            sys.stdout.write(f"{READY}\n")
            sys.stdout.flush()
        with self.star:
            yield
            if self.rank:
                self.star.broadcast()
            else:
                self.star.broadcast("done")

    def learner(self, *given: Any, **named: Any) -> Learner:
        from pai_train.training.workers import WorkerLearner

        return WorkerLearner(*given, **named)

    def feed(self, engine: Engine, source: Source, plan: FeedPlan) -> Feed:
        return partial(engine.open, source, plan, shard=Shard(self.rank, self.size))

    def aligned(self, source: Source, plan: FeedPlan) -> Callable[[Iterator[Superbatch], int | None], Any]:
        nothing = {name: no_rows(source.schema.field(name)) for name in plan.columns}
        return lambda batches, limit: align(batches, self.star.gather, self.rank, nothing, limit)

    def steps(self, steps: int) -> int:
        # Of two batches each worker that has lanes gives rows to one at least.
        return max(2, steps)

    def any(self, flag: bool) -> bool:
        return self.star.any(flag)

    def agree(self, sources: Mapping[str, Source]) -> None:
        found = self.star.gather({name: source.snapshot.id for name, source in sources.items()})
        for rank, ids in enumerate(found):
            for name in ids:
                if ids[name] != found[0][name]:
                    raise DataError(
                        f"the input {name} changed while the workers opened it",
                        where=f"inputs.{name}",
                        got=f"snapshot {ids[name]} on worker {rank}",
                        wanted=f"snapshot {found[0][name]}, as on worker 0",
                        todo="start again when nothing writes there, or put it where all workers see the same",
                    )

    def begin(self, folder: Path) -> None:
        self.star.broadcast(str(folder))

    def start(self, run: Run, begins: Mapping[str, Any], restored: Path) -> None:
        self.star.broadcast({"run": [run.run_id, run.generation, run.url, run.resumed], "begins": dict(begins)})
        self.star.share(restored)

    def from_chief(self, make: Callable[[], Any]) -> Any:
        return self.star.broadcast() if self.rank else self.star.broadcast(make())

    def callbacks(self, make: Callable[[], Callbacks], learner: Learner) -> Callbacks:
        from pai_train.training.heeded import Heeded

        return Heeded(None if self.rank else make, learner, self.star)

    def bad_rows(self, name: str, *, limit: float | None, total: int | None, sink: Path | None) -> BadRows:
        if self.rank:
            return Reported(name, writes=sink is not None)
        return BadRows(name, limit=limit, total=total, sink=sink)

    def pool(self, bad: Mapping[str, BadRows]) -> None:
        if not bad:
            return
        own = {name: one.collect() for name, one in bad.items() if isinstance(one, Reported)}
        found = self.star.gather(own)
        if self.rank:
            return
        for told in found:
            for name, rows in told.items():
                for one in rows:
                    bad[name].take(Found(*one))


def folder_of(job: Job) -> Path:
    """Returns the run folder: a new one, or the one that whoever started the workers has made; the others are told."""
    given = os.environ.get(FOLDER)
    folder = Path(given) if given and RANK in os.environ else run_folder.create(job.run_dir)
    job.team.begin(folder)
    return folder


def opened(feed: Feed, aligned: Callable[[Iterator[Superbatch], int | None], Any]) -> Feed:
    """Returns a feed whose superbatches are put beside those of the others."""

    @contextmanager
    def open_(at: Any = None) -> Iterator[Iterator[Superbatch]]:
        with feed(at) as batches:
            yield aligned(batches, None)

    def call(at: Any = None) -> AbstractContextManager[Iterator[Superbatch]]:
        return open_(at)

    return call
