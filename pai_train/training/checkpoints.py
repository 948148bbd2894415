"""The checkpoints of one run: published in the background, complete or invisible, verified on restore."""

from __future__ import annotations

import errno
import logging
import re
import shutil
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pai_train import storage
from pai_train.errors import CheckpointError, StorageError
from pai_train.storage import AccessRefused, Manifest, Store, StoreUnavailable, basename, display, join
from pai_train.storage.publish import MANIFEST_NAME
from pai_train.training.contracts import TrainState
from pai_train.training.lease import Lease
from pai_train.training.published import STATE, check_sizes, fetch_state
from pai_train.training.retention import Retention, Saved, measured_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

logger = logging.getLogger(__name__)

SAVED_AT = "saved_at"
FOLDER = re.compile(r"step-(\d{9,})(?:-(\d+))?")


@dataclass(frozen=True, order=True)
class _Folder:
    """One checkpoint's folder; the order is that of saving."""

    step: int
    again: int
    complete: bool
    url: str


class Checkpoints:
    """A CheckpointStore over one run's folder: `step-000000120/` holds the files of step 120 and their manifest.

    A complete checkpoint is never replaced: a step that is saved again gets a folder beside it (`step-000000120-1`),
    and retention removes the older one once the new one is complete. Only the holder of the run's lease may save.

    Args:
        store: The run's store.
        url: The run's folder.
        keep: Which checkpoints stay.
        scratch: Local folder for what is being written; None for the system's.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        url: str,
        *,
        keep: Retention,
        scratch: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._url = url
        self._retention = keep
        self._known: dict[str, Saved] = {}
        self._restored: str | None = None
        self._scratch = scratch
        self._clock = clock
        self._lease: Lease | None = None
        self._pending: Future[Manifest] | None = None
        self._publisher = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")

    def lease(self, run_id: str) -> Lease:
        """Returns the right to write into this run, to be entered; once it is lost nothing is published any more."""
        self._lease = Lease(self._store, join(self._url, "lease"), what=f"run {run_id}")
        return self._lease

    def save(self, state: TrainState, write: Callable[[Path], None]) -> Future[Manifest]:
        """Saves a checkpoint.

        `write` runs here and now, so the values belong together; the upload runs in the background. A save waits for
        the upload before it, and raises that one's error if it failed.

        Args:
            state: Kept in the manifest.
            write: Writes the variables' files into an empty local folder.

        Returns:
            The upload's outcome. An error is raised by the next `save`, `wait` or `close` too.

        Raises:
            CheckpointError: The lease is lost, or was when the checkpoint before this one was published; or `write`
                found no room.
            StorageError: The checkpoint before this one could not be stored.
        """
        self.wait()
        self._refuse_if_lost()
        with storage.mapped(str(self._scratch or tempfile.gettempdir())):
            folder = Path(tempfile.mkdtemp(prefix="pai-checkpoint-", dir=self._scratch))
        try:
            write(folder)
            self._pending = self._publisher.submit(self._publish, state, folder)
        except BaseException:
            shutil.rmtree(folder)
            raise
        return self._pending

    def wait(self) -> None:
        """Waits until the last save is published.

        Raises:
            CheckpointError: The lease is lost.
            StorageError: It could not be stored; said once.
        """
        pending = self._pending
        if pending is None:
            return
        try:
            pending.result()
        finally:
            if pending.done():
                self._pending = None

    def close(self) -> None:
        """Waits for the last save and ends the background thread.

        Raises:
            CheckpointError: The lease is lost.
            StorageError: The last save could not be stored.
        """
        try:
            self.wait()
        finally:
            self._publisher.shutdown()

    def latest(self) -> Manifest | None:
        """Returns the newest checkpoint whose manifest and file sizes are in order, or None when there is none.

        Newer ones that are not are reported as warnings. Contents are verified by `fetch`.

        Raises:
            CheckpointError: There are checkpoints, and none is in order.
        """
        return next(self._candidates(), None)

    def fetch(self, manifest: Manifest, to: Path) -> TrainState:
        """Brings a checkpoint's files into a local folder, verified by size and SHA-256, and returns its state.

        Raises:
            CheckpointError: The state cannot be read.
            StorageError: A file is missing or is not what the manifest says.
        """
        return fetch_state(self._store, manifest, to)

    def restore(self, to: Path) -> TrainState | None:
        """Brings the newest sound checkpoint into an empty local folder; None when there is no checkpoint.

        Raises:
            CheckpointError: There are checkpoints, and none is sound.
        """
        if to.exists() and any(to.iterdir()):
            raise ValueError(f"not an empty folder: {to}")
        for manifest in self._candidates():
            try:
                state = self.fetch(manifest, to)
            except (AccessRefused, StoreUnavailable):
                raise
            except (CheckpointError, StorageError) as error:
                shutil.rmtree(to)
                if _is_full(error.__cause__):
                    raise
                _warn(manifest.url, error)
            else:
                self._restored = manifest.url
                return state
        return None

    def tidy(self) -> None:
        """Takes away what a start that ended behind a save, and before its retention, has left.

        For a run that goes on from what `restore` brought: that one counts as the newest, and what is newer and not
        sound stays for people to look at.

        Raises:
            CheckpointError: The lease is lost.
            StorageError: The store failed.
        """
        self._refuse_if_lost()
        folders = self._folders(self._sizes())
        for folder in folders:
            if folder.url == self._restored:
                self._retain(folders, folder)

    def _candidates(self) -> Iterator[Manifest]:
        """Yields the manifests that are in order, newest first; raises when none is left and there were any."""
        sizes = self._sizes()
        complete = [folder for folder in self._folders(sizes) if folder.complete]
        for folder in reversed(complete):
            try:
                manifest = storage.read_manifest(self._store, folder.url)
                if manifest is not None:
                    check_sizes(manifest, sizes)
                    yield manifest
            except (AccessRefused, StoreUnavailable):
                # That it cannot be looked at just now is no reason to go back to an older one.
                raise
            except StorageError as error:
                _warn(folder.url, error)
        if complete:
            raise CheckpointError(
                "there are checkpoints, and none of them is sound",
                where=display(self._url),
                got=", ".join(basename(folder.url) for folder in complete),
                todo="restore these folders from a copy, or start anew with train.resume=never",
            )

    def _publish(self, state: TrainState, folder: Path) -> Manifest:
        try:
            self._refuse_if_lost()
            files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
            before = self._folders(self._sizes())
            again = max((old.again + 1 for old in before if old.step == state.step and old.complete), default=0)
            name = f"step-{state.step:09d}" + (f"-{again}" if again else "")
            new = _Folder(state.step, again, True, join(self._url, name))
            if any(old.url == new.url for old in before):
                self._store.delete_tree(new.url)
            now = self._clock()
            manifest = storage.publish(self._store, new.url, files, {STATE: state.to_json(), SAVED_AT: now})
            self._known[new.url] = Saved(new.step, new.again, new.url, now, measured_at(state))
            self._retain(before, new)
            return manifest
        finally:
            shutil.rmtree(folder)

    def _retain(self, before: Sequence[_Folder], new: _Folder) -> None:
        older = [folder for folder in before if (folder.step, folder.again) < (new.step, new.again)]
        try:
            complete = [self._saved(folder) for folder in [*older, new] if folder.complete]
        except StoreUnavailable as error:
            # Which ones may go depends on all of them.
            logger.warning("No checkpoint is taken away before the next save: %s", error)
            complete = []
        doomed = self._retention.doomed([saved for saved in complete if saved is not None])
        # Folders without a manifest are what an upload left that was cut off; this run has no other writer.
        for url in [*(saved.url for saved in doomed), *(folder.url for folder in older if not folder.complete)]:
            storage.withdraw(self._store, url)
            self._known.pop(url, None)

    def _saved(self, folder: _Folder) -> Saved | None:
        """Returns what retention asks of a checkpoint; None, which is left alone, where it is damaged.

        Raises:
            StoreUnavailable: It cannot be looked at just now.
        """
        if not self._retention.asks_content:
            return Saved(folder.step, folder.again, folder.url)
        known = self._known.get(folder.url) or self._look_at(folder)
        if known is not None:
            self._known[folder.url] = known
        return known

    def _look_at(self, folder: _Folder) -> Saved | None:
        try:
            manifest = storage.read_manifest(self._store, folder.url)
            if manifest is None:
                return None
            state = TrainState.from_json(manifest.extra.get(STATE, {}))
        except (AccessRefused, StoreUnavailable):
            raise
        except (CheckpointError, StorageError) as error:
            logger.warning("Checkpoint %s cannot be read, and is left alone: %s", display(folder.url), error)
            return None
        at = manifest.extra.get(SAVED_AT)
        return Saved(folder.step, folder.again, folder.url, at, measured_at(state))

    def _refuse_if_lost(self) -> None:
        if self._lease is not None and self._lease.lost:
            raise CheckpointError(
                "another process has taken over this run",
                where=display(self._url),
                todo="this process was cut off from the store too long; the other one goes on",
            )

    def _sizes(self) -> dict[str, int]:
        return {info.url: info.size for info in self._store.list(self._url)}

    def _folders(self, sizes: Mapping[str, int]) -> list[_Folder]:
        """Lists the checkpoints' folders in the order of saving."""
        below = join(self._url) + "/"
        names = {url.removeprefix(below).partition("/")[0] for url in sizes}
        matches = [match for name in names if (match := FOLDER.fullmatch(name))]
        return sorted(
            _Folder(int(match[1]), int(match[2] or 0), join(url, MANIFEST_NAME) in sizes, url)
            for match in matches
            for url in [join(self._url, match[0])]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()
            return
        try:
            self.close()
        except (CheckpointError, StorageError) as second:
            # The first error is the one to show; the caller sees both.
            error.add_note(f"The last checkpoint was not saved: {second}")


def _is_full(error: BaseException | None) -> bool:
    """Tells whether this machine has no room for a checkpoint, which says nothing of the checkpoint."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _warn(url: str, error: Exception) -> None:
    logger.warning("Checkpoint %s is damaged, going on from the one before it: %s", display(url), error)
