"""Brings what a command names to this machine: its script, whose archive is unpacked, and its hyper-parameters."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pai_train.errors import PaiTrainError, StorageError
from pai_train.pai.archive import clear, root_of, unpack
from pai_train.pai.place import local_path
from pai_train.preflight import knows_us
from pai_train.storage import AccessRefused, Limits, StorageOptions, Stores, StoreUnavailable, join

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pai_train.pai.place import Script

MAX_SCRIPT_BYTES = 4 * 2**30
MAX_HYPER_BYTES = 2**20

RUNS = "runs"
"""Where the records of runs go, below the working folder."""

_BLOCK = 4 * 2**20
_PROBE = ".pai_train-probe"
_PATIENCE_S = 10.0


@contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Has a command's settings in this process's environment meanwhile, where the stores read them."""
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def fetch_script(script: Script, project: str | None, folder: Path) -> tuple[Path, Path]:
    """Brings the script to this machine; one that is a file here already stays where it is.

    Args:
        script: The script.
        project: The project of a resource that names none.
        folder: Where it is put; must not be there yet.

    Returns:
        The file that runs, and the folder it runs in.

    Raises:
        PaiTrainError: It is not there, cannot be read, or is no archive that may be unpacked.
    """
    if script.kind == "file" and not script.entry:
        entry = Path(script.address).resolve()
        return entry, entry.parent
    folder.mkdir(parents=True)
    if not script.entry:
        entry = folder / script.name
        with entry.open("wb") as file:
            _copy(script, project, file)
        return entry, folder
    try:
        with tempfile.NamedTemporaryFile(dir=folder.parent, suffix=".download") as file:
            source = Path(script.address)
            if script.kind != "file":
                _copy(script, project, file)
                file.flush()
                source = Path(file.name)
            unpack(source, script.name, folder)
        return root_of(folder, script.entry, str(script)), folder
    except PaiTrainError:
        clear(folder)
        raise


def read_hyper_parameters(url: str) -> tuple[str, ...]:
    """Returns the lines `k=v` of a file as flags `--k=v`; blank lines and those of `#` are left out.

    Raises:
        PaiTrainError: It is not there, cannot be read, or a line is no such line.
    """
    path = local_path(url)
    if path is not None:
        url = f"file://{path}"
    with _with_role_advice():
        text = Stores().open(url).read(url, 0, MAX_HYPER_BYTES + 1)
    if len(text) > MAX_HYPER_BYTES:
        raise StorageError("not a file of hyper-parameters: too large", where=url, wanted=f"{MAX_HYPER_BYTES:,} bytes")
    flags = []
    for number, line in enumerate(text.decode("utf-8-sig", errors="replace").splitlines(), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        key, equals, value = stripped.partition("=")
        key = key.strip().removeprefix("--")
        if not equals or not key or any(char.isspace() for char in key):
            raise StorageError("not a hyper-parameter", where=f"{url}:{number}", got=stripped, wanted="name=value")
        flags.append(f"--{key}={value.strip()}")
    return tuple(flags)


def look_at(places: Iterable[str]) -> None:
    """Asks the stores of buckets and folders, once, whether they know us; asks for no more than that.

    A store that does not answer just now is the script's to wait for.

    Raises:
        PaiTrainError: A store is not configured, has no such bucket, or does not know us.
    """
    stores = Stores(StorageOptions(limits=Limits(timeout_s=_PATIENCE_S, deadline_s=0)))
    for url in places:
        if local_path(url) is not None:
            continue
        # Whoever may write there need not be allowed to look.
        probe = join(url, _PROBE)
        with _with_role_advice(), suppress(StoreUnavailable):
            try:
                stores.open(probe).info(probe)
            except AccessRefused as error:
                if not knows_us(error):
                    raise


def _copy(script: Script, project: str | None, file: IO[bytes]) -> None:
    if script.kind == "resource":
        from pai_train.tables.maxcompute import open_tables

        owner, _, name = script.address.partition("/")
        written = 0
        for block in open_tables(RUNS, owner or project or "").resource(owner, name):
            written += len(block)
            _refuse_large(written, str(script))
            file.write(block)
        return
    url = script.address
    with _with_role_advice():
        store = Stores().open(url)
        info = store.info(url)
        _refuse_large(0 if info is None else info.size, url)
        with store.open_input(url) as stream:
            while block := stream.read(_BLOCK):
                file.write(block)


def _refuse_large(size: int, where: str) -> None:
    if size > MAX_SCRIPT_BYTES:
        raise StorageError("the script is too large", where=where, wanted=f"{MAX_SCRIPT_BYTES:,} bytes")


@contextmanager
def _with_role_advice() -> Iterator[None]:
    """Says of a role that cannot be taken on how to do without it: PAI's own roles trust PAI alone."""
    try:
        yield
    except AccessRefused as error:
        fault = error.fault
        if fault.where is None or not fault.where.startswith("acs:ram::"):
            raise
        todo = f"{fault.todo}; or add --no-role, to use the environment's keys as they are"
        raise AccessRefused(fault.what, where=fault.where, got=fault.got, wanted=fault.wanted, todo=todo) from None
