"""The runs of one checkpointDir, one generation each: which one a start goes on with, and where a new one begins."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pai_train.errors import CheckpointError
from pai_train.storage import ObjectExists, ObjectMissing, Store, basename, display, join

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Resume = Literal["auto", "never"]
FROM = "from"
_CLAIM = re.compile(r"g(\d{4,})\.json")
RUN = "run.json"
FINISHED = "finished.json"


@dataclass(frozen=True)
class Run:
    """One run's place.

    Attributes:
        run_id: Minted once; the same in every start that goes on with it.
        generation: From 1.
        url: Its folder, which holds the checkpoints.
        resumed: Whether it was begun by an earlier start.
        notice: Which run this start uses and why, in one sentence; None where there was nothing to choose.
        begun_from: The checkpoint of another run that it begins from; None for a run that begins anew.
    """

    run_id: str
    generation: int
    url: str
    resumed: bool
    notice: str | None = None
    begun_from: str | None = None


@dataclass(frozen=True)
class RunInfo:
    """What is known of a run that was begun.

    Attributes:
        run_id: Its name.
        generation: From 1.
        url: Its folder.
        config_hash: Hash of its resolved configuration.
        result: What `Runs.finish` was given; None for an unfinished run.
        begun_from: The checkpoint of another run that it begins from.
    """

    run_id: str
    generation: int
    url: str
    config_hash: str
    result: Mapping[str, Any] | None = None
    begun_from: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.result is not None


class Runs:
    """The generations below a checkpointDir.

    `g0001.json` claims the first generation and names its folder `g0001-<run_id>/`, which holds `run.json`, the
    checkpoints and, at the end, `finished.json`. A claim is created exclusively, so no two runs share a generation.

    Args:
        store: Must have exclusive create.
        url: The checkpointDir.
        mint: Gives the id of a new run.
    """

    def __init__(self, store: Store, url: str, *, mint: Callable[[], str] = lambda: uuid.uuid4().hex[:12]) -> None:
        self._store = store
        self._url = url
        self._mint = mint

    def open(self, config_hash: str, resume: Resume = "auto", begin_from: str | None = None) -> Run:
        """Returns the run to go on with, or a new one.

        'auto' goes on with the newest run of this configuration, unless that one is finished or does not begin from
        the checkpoint that is named; all else begins a new generation beside the others. Of two starts at once each
        begins its own, or both return the same one, of which the lease lets one write.

        Raises:
            CheckpointError: A claim cannot be read.
            StorageError: The store failed, or has no exclusive create.
        """
        run_id = self._mint()
        while True:
            known = self._claims()
            run = self._choose(known, config_hash, resume, run_id, begin_from)
            claim = _dump(_claim(run.run_id, config_hash, run.begun_from))
            if run.generation not in known:
                try:
                    self._store.create(self._claim_url(run.generation), claim)
                except ObjectExists:
                    continue
            # The claim says it all; this copy is for whoever looks into the folder or moves it.
            self._store.put(join(run.url, RUN), claim)
            return run

    def unfinished(self, config_hash: str, begin_from: str | None = None) -> RunInfo | None:
        """Returns the run that `open` goes on with by 'auto': the newest of this configuration, when it has no end.

        Where a checkpoint to begin from is named, it is that one's or none.

        Raises:
            CheckpointError: A claim cannot be read.
        """
        last = self._last(self._claims(), config_hash)
        if last is None or last.finished or begin_from not in (None, last.begun_from):
            return None
        return last

    def finish(self, run: Run, result: Mapping[str, Any]) -> None:
        """Marks a run as finished, with its result of JSON types; doing it again replaces the result."""
        self._store.put(join(run.url, FINISHED), _dump(result))

    def listing(self) -> list[RunInfo]:
        """Lists all runs, oldest first."""
        claims = self._claims()
        return [self._info(generation, claims[generation]) for generation in sorted(claims)]

    def _choose(
        self,
        known: Mapping[int, Mapping[str, Any]],
        config_hash: str,
        resume: Resume,
        run_id: str,
        begin_from: str | None,
    ) -> Run:
        for generation, claim in known.items():
            # A store's client may have repeated a create whose answer was lost.
            if claim["run_id"] == run_id:
                folder = self._folder(generation, run_id)
                return Run(run_id, generation, folder, resumed=False, begun_from=claim.get(FROM))
        last = self._last(known, config_hash)
        going_on = resume == "auto" and last is not None and not last.finished
        if going_on and last is not None and begin_from in (None, last.begun_from):
            notice = f"Going on with generation {last.generation} in {display(self._url)}, which is not finished."
            return Run(last.run_id, last.generation, last.url, True, notice, last.begun_from)
        generation = max(known, default=0) + 1
        folder = self._folder(generation, run_id)
        if begin_from is not None:
            notice = f"Starting generation {generation} in {display(self._url)} from {display(begin_from)}."
            return Run(run_id, generation, folder, False, notice, begin_from)
        if not known:
            return Run(run_id, generation, folder, resumed=False)
        if resume == "never":
            why = "train.resume is never"
        elif last is None:
            why = f"generation {max(known)} there has another configuration"
        else:
            why = f"generation {last.generation} there, of the same configuration, is finished"
        notice = f"Starting generation {generation} in {display(self._url)}, because {why}."
        return Run(run_id, generation, folder, resumed=False, notice=notice)

    def _last(self, known: Mapping[int, Mapping[str, Any]], config_hash: str) -> RunInfo | None:
        same = [number for number in known if known[number]["config_hash"] == config_hash]
        return self._info(max(same), known[max(same)]) if same else None

    def _info(self, generation: int, claim: Mapping[str, Any]) -> RunInfo:
        folder = self._folder(generation, claim["run_id"])
        try:
            result = self._read(join(folder, FINISHED), ())
        except ObjectMissing:
            result = None
        return RunInfo(claim["run_id"], generation, folder, claim["config_hash"], result, claim.get(FROM))

    def _claims(self) -> dict[int, Mapping[str, Any]]:
        listed = {info.url for info in self._store.list(self._url)}
        numbers = [int(match[1]) for url in listed if (match := _CLAIM.fullmatch(basename(url)))]
        urls = {number: self._claim_url(number) for number in sorted(numbers)}
        return {number: self._read(url, ("run_id", "config_hash")) for number, url in urls.items() if url in listed}

    def _read(self, url: str, keys: Sequence[str]) -> Mapping[str, Any]:
        content = self._store.read(url)
        try:
            value: dict[str, Any] = json.loads(content)
            missing = [key for key in keys if not isinstance(value[key], str)]
        except (ValueError, KeyError, TypeError) as error:
            missing = [repr(error)]
        if missing:
            raise CheckpointError(
                "the record of a run cannot be read",
                where=display(url),
                got=", ".join(missing),
                todo="restore it, or use another checkpointDir",
            )
        return value

    def _claim_url(self, generation: int) -> str:
        return join(self._url, f"g{generation:04d}.json")

    def _folder(self, generation: int, run_id: str) -> str:
        return join(self._url, f"g{generation:04d}-{run_id}")


def _claim(run_id: str, config_hash: str, begun_from: str | None) -> dict[str, Any]:
    claim = {"run_id": run_id, "config_hash": config_hash}
    return claim if begun_from is None else {**claim, FROM: begun_from}


def _dump(value: Mapping[str, Any]) -> bytes:
    return json.dumps(dict(value), indent=1).encode()
