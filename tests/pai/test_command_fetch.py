"""Scripts are brought from files, stores and resources; archives cannot write outside of their folder."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pai_train.errors import PaiTrainError, StorageError
from pai_train.pai.archive import UnpackLimits, unpack
from pai_train.pai.command import Options, read_command
from pai_train.pai.contracts import ScriptJob
from pai_train.pai.parse import parse_words
from pai_train.pai.prepare import free_ports, prepare
from tests.servers.maxcompute_fixture import MaxComputeDoor, MaxComputeServed
from tests.servers.oss_fixture import ROLE, OssDoor
from tests.servers.served import Served

FILES = {"main.py": b"import helper\n", "helper.py": b"x = 1\n", "conf/a.txt": b"a"}


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for info, content in members:
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def zip_of(*members: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members:
            archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def zipped_link() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("a")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


GOOD = {
    "x.tar.gz": tar_of(*((member(name), content) for name, content in FILES.items())),
    "x.zip": zip_of(*FILES.items()),
}
_SLASH = "the archive holds a path that leaves its folder"
_LINK = "the archive holds a link out of itself"
BAD = {
    "tar-up": ("x.tar.gz", tar_of((member("a/../../b"), b"")), _SLASH),
    "tar-root": ("x.tar.gz", tar_of((member("/etc/b"), b"")), _SLASH),
    "tar-link": ("x.tar.gz", tar_of((member("a", tarfile.SYMTYPE, "../../b"), b"")), _LINK),
    "tar-absolute-link": ("x.tar.gz", tar_of((member("a", tarfile.SYMTYPE, "/etc/passwd"), b"")), _LINK),
    "tar-hard-link": ("x.tar.gz", tar_of((member("a", tarfile.LNKTYPE, "../b"), b"")), _LINK),
    "tar-through": (
        "x.tar.gz",
        tar_of((member("a", tarfile.SYMTYPE, "."), b""), (member("a/b", tarfile.SYMTYPE, "../../c"), b"")),
        _LINK,
    ),
    "tar-device": ("x.tar.gz", tar_of((member("a", tarfile.CHRTYPE), b"")), "the archive holds a device"),
    "tar-pipe": ("x.tar.gz", tar_of((member("a", tarfile.FIFOTYPE), b"")), "the archive holds a device"),
    "tar-many": ("x.tar.gz", tar_of(*((member(f"f{at}"), b"") for at in range(11))), "too many files"),
    "tar-large": ("x.tar.gz", tar_of((member("a"), bytes(2001))), "the archive is too large"),
    "tar-cut": ("x.tar.gz", GOOD["x.tar.gz"][:60], "not a .tar.gz archive"),
    "tar-not": ("x.tar.gz", b"print('no archive')", "not a .tar.gz archive"),
    "zip-up": ("x.zip", zip_of(("../b", b"")), _SLASH),
    "zip-root": ("x.zip", zip_of(("/b", b"")), _SLASH),
    "zip-back": ("x.zip", zip_of(("..\\b", b"")), _SLASH),
    "zip-link": ("x.zip", zip_of((zipped_link(), b"/etc/passwd")), "a link or a device"),
    "zip-many": ("x.zip", zip_of(*((f"f{at}", b"") for at in range(11))), "too many files"),
    "zip-large": ("x.zip", zip_of(("a", bytes(2001))), "the archive is too large"),
    "zip-not": ("x.zip", b"print('no archive')", "not a .zip archive"),
}


@pytest.mark.parametrize(("name", "packed", "what"), BAD.values(), ids=BAD.keys())
def test_archives_that_are_refused(name: str, packed: bytes, what: str, tmp_path: Path) -> None:
    archive, folder = tmp_path / name, tmp_path / "in" / "folder"
    archive.write_bytes(packed)
    folder.mkdir(parents=True)
    with pytest.raises(StorageError, match=what):
        unpack(archive, name, folder, UnpackLimits(files=10, bytes=2000))
    assert set(tmp_path.rglob("*")) - set(folder.rglob("*")) == {archive, folder.parent, folder}


def test_links_that_stay_inside_are_kept(tmp_path: Path) -> None:
    archive, folder = tmp_path / "x.tgz", tmp_path / "folder"
    archive.write_bytes(tar_of((member("a/b"), b"1"), (member("c", tarfile.SYMTYPE, "a/b"), b"")))
    folder.mkdir()
    unpack(archive, "x.tgz", folder)
    assert (folder / "c").read_bytes() == b"1"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepared(*words: str, options: Options | None = None) -> ScriptJob:
    parsed = parse_words(["-name", "tensorflow", *words])
    command, faults = read_command(parsed.statements[0], options or Options(environ=os.environ))
    assert faults == []
    assert command is not None
    return prepare(command)


def test_a_file_runs_where_it_is(desk: Path) -> None:
    (desk / "a.py").write_bytes(b"")
    job = prepared("-Dscript=a.py", "-DjobName=../my job")
    assert (job.entry, job.folder) == (desk / "a.py", desk)
    assert job.run_dir.parent == desk / "runs" / "my-job"
    assert job.run_dir.is_dir()


@pytest.mark.parametrize("name", GOOD)
def test_an_archive_is_unpacked(name: str, desk: Path) -> None:
    (desk / name).write_bytes(GOOD[name])
    job = prepared(f"-Dscript=file://{desk / name}", "-DentryFile=./main.py")
    assert job.folder == job.run_dir / "code"
    assert job.entry == job.folder / "main.py"
    assert {
        str(path.relative_to(job.folder)): path.read_bytes() for path in job.folder.rglob("*") if path.is_file()
    } == FILES


def test_an_archive_without_the_file(desk: Path) -> None:
    (desk / "x.zip").write_bytes(zip_of(("src/main.py", b""), ("src/other.py", b"")))
    with pytest.raises(StorageError) as raised:
        prepared("-Dscript=x.zip", "-DentryFile=main.py")
    assert raised.value.fault.todo == "-DentryFile=src/main.py"
    assert not list(desk.glob("runs/*/*/code"))


def put(served: Served, name: str, content: bytes) -> str:
    url = f"{served.root()}/{name}"
    served.stores().open(url).put(url, content)
    return url


@pytest.fixture(params=["oss", "s3", "gcs"])
def served(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Served:
    made: Served = request.getfixturevalue(f"{request.param}_server")
    made.enter(monkeypatch)
    names = {"oss": "OSS_ENDPOINT", "s3": "AWS_ENDPOINT_URL_S3", "gcs": "STORAGE_EMULATOR_HOST"}
    if made.name in names:
        monkeypatch.setenv(names[made.name], made.endpoint)
    return made


def test_scripts_come_from_any_store(served: Served, desk: Path) -> None:
    url = put(served, "x.tar.gz", GOOD["x.tar.gz"])
    hyper = put(served, "hyper.txt", b"# of the model\nlr = 0.1\n\n--depth=3\nname=a=b\n")
    job = prepared(f"-Dscript={url}", "-DentryFile=main.py", f"-DhyperParameters={hyper}", "-DuserDefinedParameters=-v")
    assert job.entry.read_bytes() == FILES["main.py"]
    assert job.processes[0].flags == ("--lr=0.1", "--depth=3", "--name=a=b", "-v")


def test_a_script_that_is_not_there(oss_server: Served, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    oss_server.enter(monkeypatch)
    monkeypatch.setenv("OSS_ENDPOINT", oss_server.endpoint)
    with pytest.raises(PaiTrainError, match="no such object"):
        prepared(f"-Dscript={oss_server.root()}/a.py")


@pytest.fixture
def token_service(oss_server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The token service is the test server, which speaks no TLS."""
    from Tea.core import TeaCore

    send = TeaCore.do_action

    def plainly(request: Any, options: Any = None) -> Any:
        request.protocol = "http"
        return send(request, options)

    monkeypatch.setattr(TeaCore, "do_action", staticmethod(plainly))
    monkeypatch.setenv("ALIBABA_CLOUD_STS_ENDPOINT", oss_server.endpoint)


def test_a_role_is_taken_on(
    oss_server: Served, oss_door: OssDoor, token_service: None, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put_with(oss_server, monkeypatch)
    user = oss_door.user(["assume"])
    for name, value in user.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OSS_ENDPOINT", oss_server.endpoint)
    with pytest.raises(PaiTrainError):
        prepared(f"-Dscript={url}")
    job = prepared(f"-Dscript={url}", f"-Darn={ROLE}")
    assert job.settings == {"PAI_TRAIN_OSS_ROLES": ROLE}
    assert "PAI_TRAIN_OSS_ROLES" not in os.environ
    assert prepared(f"-Dscript={url}?role_arn={ROLE}").entry.read_bytes() == b"print(1)"


def test_a_role_that_cannot_be_taken_on_says_how_to_do_without(
    oss_server: Served, token_service: None, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put_with(oss_server, monkeypatch)
    monkeypatch.setenv("OSS_ENDPOINT", oss_server.endpoint)
    arn = "-Darn=acs:ram::1:role/of-pai-alone"
    with pytest.raises(PaiTrainError, match="--no-role"):
        prepared(f"-Dscript={url}", arn)
    assert prepared(f"-Dscript={url}", arn, options=Options(environ=os.environ, take_role=False)).entry.is_file()


def put_with(served: Served, monkeypatch: pytest.MonkeyPatch) -> str:
    served.enter(monkeypatch)
    return put(served, "a.py", b"print(1)")


def test_keys_of_an_address(oss_server: Served, oss_door: OssDoor, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = put_with(oss_server, monkeypatch)
    user = oss_door.user()
    for name in oss_server.env:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OSS_REGION", oss_server.env["OSS_REGION"])
    monkeypatch.setenv("OSS_ENDPOINT", oss_server.endpoint)
    job = prepared(f"-Dscript={url}?access_key_id={user.key}&access_key_secret={user.secret}&host=x.com")
    assert job.entry.read_bytes() == b"print(1)"
    assert (job.settings["OSS_ACCESS_KEY_ID"], "OSS_ACCESS_KEY_ID" in os.environ) == (user.key, False)


BAD_LINES: dict[str, tuple[bytes, str]] = {
    "no-equals": (b"a=1\nlr 0.1\n", ":2"),
    "blank-in-name": (b"my lr=0.1\n", ":1"),
    "no-name": (b"=1\n", ":1"),
}


@pytest.mark.parametrize(("text", "line"), BAD_LINES.values(), ids=BAD_LINES.keys())
def test_hyper_parameters_that_are_none(text: bytes, line: str, desk: Path) -> None:
    (desk / "a.py").write_bytes(b"")
    (desk / "hyper.txt").write_bytes(text)
    with pytest.raises(StorageError, match="not a hyper-parameter") as raised:
        prepared("-Dscript=a.py", "-DhyperParameters=hyper.txt")
    assert str(raised.value.fault.where).endswith(f"hyper.txt{line}")


RESOURCES: dict[str, Callable[[str], str]] = {
    "url": lambda project: f"odps://{project}/resources/x.tar.gz",
    "path": lambda project: f"{project}/resources/x.tar.gz",
    "attached": lambda project: "file://@@x.tar.gz",
}


@pytest.mark.parametrize("form", RESOURCES.values(), ids=RESOURCES.keys())
def test_resources_of_maxcompute(
    form: Callable[[str], str],
    maxcompute_server: MaxComputeServed,
    maxcompute_door: MaxComputeDoor,
    desk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    maxcompute_server.enter(monkeypatch)
    large = os.urandom(5 * 2**20)
    packed = tar_of((member("main.py"), b""), (member("large"), large))
    maxcompute_door.resource(maxcompute_server.project, "x.tar.gz", packed)
    maxcompute_door.fault("GetResource", "error", status=503)
    options = Options(environ=os.environ, tables="maxcompute")
    job = prepared(f"-Dscript={form(maxcompute_server.project)}", "-DentryFile=main.py", options=options)
    assert (job.folder / "large").read_bytes() == large


def test_a_resource_that_is_not_there(
    maxcompute_server: MaxComputeServed, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maxcompute_server.enter(monkeypatch)
    with pytest.raises(PaiTrainError, match="Resource not found"):
        prepared("-Dscript=@@none.py", options=Options(environ=os.environ, tables="maxcompute"))


def test_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20
