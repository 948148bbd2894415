"""Names and URLs: every character survives, normal form is unique, nothing leaves its root."""

from __future__ import annotations

import os
import posixpath
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pai_train.errors import StorageError
from pai_train.spec.config import STORAGE_SCHEMES
from pai_train.spec.rules import SPELLINGS
from pai_train.storage import basename, display, is_glob, is_url, join, open_store, resolve
from pai_train.storage.registry import PROVIDERS
from pai_train.storage.urls import ALIASES, parent, split

PARTS = st.text(alphabet="ab .~#%?*[]é日+:&'\"\\\n", min_size=0, max_size=5)
NAMES = st.lists(PARTS | st.sampled_from([".", "..", ""]), max_size=6).map("/".join)
ROOTS = st.sampled_from(["/", "/data", "/data/ä b#%41", "/a/b/c"])


@given(root=ROOTS, name=NAMES)
@example(root="/data", name="a/../../b")
@example(root="/data", name="..a/..")
@example(root="/data", name="a:/b")
@example(root="/", name="/..")
@settings(deadline=None, max_examples=400)
def test_resolve_is_normpath_below_the_root(root: str, name: str) -> None:
    for prefix, base in (("file://", root), ("memory://bucket", root if root != "/" else "")):
        if posixpath.normpath(name.lstrip("/")).split("/")[0] == "..":
            with pytest.raises(StorageError, match="leaves"):
                resolve(prefix + base, name)
        elif name.startswith("/"):
            assert resolve(prefix + base, name) == "file://" + posixpath.normpath("/" + name.lstrip("/"))
        else:
            url = resolve(prefix + base, name)
            assert url == prefix + posixpath.normpath(f"{base.rstrip('/')}/{name}").rstrip("/") or url == "file:///"
            assert resolve("/other", url) == url == join(url)
            assert join(prefix + base, name) == url
            assert basename(url) == url.rsplit("/", 1)[1]


@given(root=ROOTS, names=st.lists(PARTS.filter(lambda part: part not in ("", ".", "..")), min_size=1, max_size=4))
@settings(deadline=None)
def test_join_in_steps_is_join_at_once(root: str, names: list[str]) -> None:
    url = f"file://{root}"
    stepwise = url
    for name in names:
        stepwise = join(stepwise, name)
        assert basename(stepwise) == name
    assert stepwise == join(url, *names) == join(url, "/".join(names))
    assert open_store(stepwise).path(stepwise) == stepwise.removeprefix("file://")


@given(root=st.text(alphabet="ab*?[]!-", min_size=1, max_size=6), name=st.sampled_from(["*.csv", "?", "[ab]"]))
@settings(deadline=None)
def test_a_glob_below_a_root_with_magic_matches_there_only(root: str, name: str) -> None:
    import fnmatch

    pattern = resolve(f"memory://{root}", name)
    assert fnmatch.fnmatchcase(f"memory://{root}/", pattern.removesuffix(name))
    assert not fnmatch.fnmatchcase(f"memory://{root}x/", pattern.removesuffix(name))
    assert resolve(f"memory://{root}", "plain") == f"memory://{root}/plain"


def test_roots(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ann b")
    assert resolve("data", "iris.csv") == f"file://{tmp_path}/data/iris.csv"
    assert resolve("./data/", "a//b/") == f"file://{tmp_path}/data/a/b"
    assert resolve("../x", "") == f"file://{tmp_path.parent}/x"
    assert resolve("~/data", "x") == "file:///home/ann b/data/x"
    assert resolve("~", "~/x") == "file:///home/ann b/~/x"
    assert resolve("memory://bucket/", ".") == "memory://bucket"
    assert resolve("memory://", "bucket/x") == "memory://bucket/x"
    assert resolve("data", "/abs/./x") == "file:///abs/x"
    assert resolve("data", "S3://Bucket/Key") == "s3://Bucket/Key"


@pytest.mark.parametrize(
    ("root", "name"),
    [("data", ".."), ("data", "a/../../data/x"), ("memory://b", "../c"), ("", "x"), ("data", "file://host/x"),
     ("data", "memory://b/../../c"), ("data", "file:///../x"), ("data", "a\0b")],
)  # fmt: skip
def test_refused_names(root: str, name: str) -> None:
    with pytest.raises(StorageError) as caught:
        resolve(root, name)
    assert caught.value.fault.where
    assert "\0" not in str(caught.value.fault.where)


def test_join_refuses_absolute_names() -> None:
    with pytest.raises(StorageError, match="absolute"):
        join("file:///a", "/b")


def test_display(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert display(f"file://{tmp_path}/a b/#") == "a b/#"
    assert display(f"file://{tmp_path}") == "."
    assert display(f"file://{tmp_path}2/x") == f"{tmp_path}2/x"
    assert display("memory://b/x") == "memory://b/x"
    assert Path(display(resolve("data", "é?.csv"))) == Path("data/é?.csv")
    monkeypatch.chdir("/")
    assert display("file:///usr/x") == "usr/x"
    assert display("file:///") == "."
    assert os.getcwd() == "/"


def test_what_is_a_url_and_what_is_a_glob() -> None:
    assert is_url("oss://bucket/key")
    assert not any(is_url(name) for name in ("C:/x", "a/b://c d"[2:3], "://x", "1a://x", "plain"))
    assert [name for name in ("a*", "a?", "[a]", "a]", "a{b}") if is_glob(name)] == ["a*", "a?", "[a]"]


@pytest.mark.parametrize(("alias", "scheme"), [*ALIASES.items(), *((scheme, scheme) for scheme in ("oss", "s3"))])
def test_other_spellings_of_a_scheme_are_one_store(alias: str, scheme: str) -> None:
    for written in (alias, alias.upper()):
        url = f"{written}://Bucket/a//b/./c d#%41/"
        assert resolve("data", url) == f"{scheme}://Bucket/a/b/c d#%41"
        assert resolve(url, "x?") == join(url, "x?") == f"{scheme}://Bucket/a/b/c d#%41/x?"
        assert split(url)[0] == scheme
        assert parent(f"{written}://Bucket/a") == f"{scheme}://Bucket"
    assert scheme in PROVIDERS


def test_the_rules_know_the_same_spellings() -> None:
    for provider, scheme in STORAGE_SCHEMES.items():
        assert set(SPELLINGS[provider]) == {scheme, *(alias for alias, of in ALIASES.items() if of == scheme)}


@given(scheme=st.sampled_from(["oss", "s3", "gs", "az", *ALIASES]), name=NAMES)
@settings(deadline=None, max_examples=300)
def test_nothing_leaves_its_bucket(scheme: str, name: str) -> None:
    try:
        url = resolve("data", f"{scheme}://bucket/{name}")
    except StorageError as error:
        assert "leaves" in error.fault.what  # noqa: PT017
        assert posixpath.normpath(name.lstrip("/")).split("/")[0] == ".."
    else:
        served = ALIASES.get(scheme, scheme)
        assert url == f"{served}://bucket" or url.startswith(f"{served}://bucket/")
        assert resolve("data", url) == url


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://", "names no bucket"), ("s3:///key", "names no bucket"), ("oss://./x", "names no bucket"),
        ("gcs://../x", "names no bucket"), ("az://", "names no container"), ("abfss:///x", "names no container"),
        ("s3://b/../c/x", "leaves its root"), ("s3://b*/x", "not the name of a bucket"),
        ("s3://b?x=1/y", "not the name of a bucket"),
        ("abfss://box@account.dfs.core.windows.net/x", "not the name of a container"),
    ],
)  # fmt: skip
def test_an_object_store_needs_a_bucket(url: str, said: str) -> None:
    for root, name in ((url, "x"), ("data", url)):
        with pytest.raises(StorageError, match=said) as caught:
            resolve(root, name)
        assert caught.value.fault.where == url
        assert "://" in str(caught.value.fault.wanted) or "without leading" in str(caught.value.fault.wanted)


def test_a_bucket_has_no_keys_in_front_of_it() -> None:
    with pytest.raises(StorageError, match="not the name of a bucket") as caught:
        resolve("data", "s3://me:Qv7Zk2Lw9Xr4@bucket/x")
    assert "Qv7Zk2Lw9Xr4" not in str(caught.value)
    with pytest.raises(StorageError) as caught:
        resolve("data", "abfs://box@account/x")
    assert "AZURE_STORAGE_ACCOUNT_NAME" in str(caught.value)
