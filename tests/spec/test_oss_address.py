"""Addresses of OSS: six spellings mean the same, the ordinary URL survives, and no text ever holds a key."""

from __future__ import annotations

import copy
import dataclasses
import os
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pai_train
from pai_train.errors import Refused, StorageError
from pai_train.redact import redact
from pai_train.spec.oss_address import OssAddress, OssCredentials, addresses, is_oss, parse

ID, SECRET, TOKEN = "LtId7Zk2Lw9Xr4", "SeCr7Zk2Lw9Xr4", "To/Ke+7Zk2Lw9Xr4="
ROLE = "acs:ram::1234:role/aliyunodpspaidefaultrole"
HOST = "oss-cn-beijing-internal.aliyuncs.com"
KEYS = OssCredentials(ID, SECRET)

FORMS = {
    "plain": ("oss://bucket/path/", OssAddress("bucket", "path/")),
    "host": (f"oss://bucket.{HOST}/path/", OssAddress("bucket", "path/", HOST)),
    "role": (f"oss://bucket/path/?role_arn={ROLE}&host={HOST}", OssAddress("bucket", "path/", HOST, ROLE)),
    "role-last": (f"oss://bucket/path/?host={HOST}&role_arn={ROLE}", OssAddress("bucket", "path/", HOST, ROLE)),
    "role-alone": (f"oss://bucket?role_arn={ROLE}", OssAddress("bucket", "", None, ROLE)),
    "role-encoded": (
        f"oss://bucket/?role_arn={ROLE.replace(':', '%3A').replace('/', '%2F')}",
        OssAddress("bucket", "", None, ROLE),
    ),
    "role-of-stars": ("oss://b/?role_arn=acs:ram::***:role/x", OssAddress("b", "", None, "acs:ram::***:role/x")),
    "keys": (
        f"oss://bucket?access_key_id={ID}&access_key_secret={SECRET}&host={HOST}",
        OssAddress("bucket", "", HOST, None, KEYS),
    ),
    "keys-of-a-session": (
        f"oss://bucket/a?security_token={TOKEN}&access_key_secret={SECRET}&access_key_id={ID}",
        OssAddress("bucket", "a", None, None, OssCredentials(ID, SECRET, TOKEN)),
    ),
    "keys-and-role": (
        f"oss://bucket/a/?role_arn={ROLE}&access_key_id={ID}&access_key_secret={SECRET}",
        OssAddress("bucket", "a/", None, ROLE, KEYS),
    ),
    "control": (
        f"oss://bucket\x01id={ID}\x02key={SECRET}\x02host={HOST}/path/x",
        OssAddress("bucket", "path/x", HOST, None, KEYS),
    ),
    "control-spelt": (
        f"oss://bucket\\x01id={ID}\\x02key={SECRET}\\x02host={HOST}/path/x",
        OssAddress("bucket", "path/x", HOST, None, KEYS),
    ),
    "control-order": (
        f"oss://bucket\x01host={HOST}\x02key={SECRET}\x02id={ID}",
        OssAddress("bucket", "", HOST, None, KEYS),
    ),
    "hashes": (
        f"oss://bucket/#/id={ID}/##/key={SECRET}/##/host={HOST}/path/#/x",
        OssAddress("bucket", "path/#/x", HOST, None, KEYS),
    ),
    "upper-case": ("OSS://bucket/Path", OssAddress("bucket", "Path")),
    "port": ("oss://bucket.127.0.0.1:9000/x", OssAddress("bucket", "x", "127.0.0.1:9000")),
    "glob": ("oss://bucket/part-?.csv", OssAddress("bucket", "part-?.csv")),
    "glob-with-equals": ("oss://bucket/ds=?id=[0-9]*&x", OssAddress("bucket", "ds=?id=[0-9]*&x")),
    "hashes-of-a-key": ("oss://bucket/#/a/##/b", OssAddress("bucket", "#/a/##/b")),
    "verbatim": ("oss://bucket/a b//%41+é", OssAddress("bucket", "a b//%41+é")),
}


@pytest.mark.parametrize(("text", "address"), FORMS.values(), ids=FORMS)
def test_six_spellings(text: str, address: OssAddress) -> None:
    assert is_oss(text)
    assert parse(text, allow_keys=True) == address
    if address.credentials is None:
        assert parse(text) == address
        assert parse(str(address)) == address
    else:
        with pytest.raises(StorageError, match="an address holds no keys") as caught:
            parse(text)
        assert "OSS_ACCESS_KEY_ID" in str(caught.value.fault.todo)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(("text", "address"), FORMS.values(), ids=FORMS)
def test_the_ordinary_url_survives_what_scripts_do(text: str, address: OssAddress) -> None:
    url = parse(text, allow_keys=True).url
    assert url.startswith(f"oss://{address.bucket}")
    joined = os.path.join(url, "csvtest.csv")
    below = parse(joined)
    assert (below.bucket, below.host) == (address.bucket, address.host)
    assert below.key == (f"{address.key.rstrip('/')}/csvtest.csv" if address.key else "csvtest.csv")
    assert below.url == joined


# The token of a session may hold a slash, so that nothing can follow it.
@pytest.mark.parametrize("text", [text for text, _ in FORMS.values() if "?security_token" not in text])
def test_a_path_put_behind_any_spelling_is_part_of_the_key(text: str) -> None:
    address = parse(text, allow_keys=True)
    below = parse(f"{text.rstrip('/')}/tables", allow_keys=True)
    assert below == dataclasses.replace(address, key=f"{address.key.rstrip('/')}/tables".removeprefix("/"))


REFUSED = {
    "other scheme": ("s3://bucket", "not an address of OSS"),
    "no scheme": ("bucket/x", "not an address of OSS"),
    "no bucket": ("oss://", "names no bucket"),
    "no bucket, a key": ("oss:///key", "names no bucket"),
    "a glob for a bucket": ("oss://b*/key", "not the name of a bucket"),
    "userinfo": (f"oss://{ID}:{SECRET}@bucket/x", "in front of the bucket"),
    "no host": ("oss://bucket?host=", "host of an address is empty"),
    "a url for a host": ("oss://bucket?host=http://h", "not a host"),
    "a host with a name": ("oss://bucket?host=me@h", "not a host"),
    "no dot behind": ("oss://bucket./x", "not a host"),
    "two hosts": (f"oss://bucket.{HOST}/?host=other", "names two hosts"),
    "one twice": ("oss://bucket?host=a&host=b", "says host twice"),
    "unknown name": ("oss://bucket?host=a&region=b", "has no 'region'"),
    "unknown field": (f"oss://bucket\x01id={ID}\x02pass={SECRET}/x", "has no 'pass'"),
    "no name": ("oss://bucket?host=a&", "says what has no name"),
    "an id alone": (f"oss://bucket?access_key_id={ID}", "an id and a secret"),
    "a secret alone": (f"oss://bucket/#/key={SECRET}/##/host=h/x", "an id and a secret"),
    "a role of no form": ("oss://bucket?role_arn=admin", "not a RAM role"),
    "a user, no role": ("oss://bucket?role_arn=acs:ram::1:user/x", "not a RAM role"),
}


@pytest.mark.parametrize(("text", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_address(text: str, said: str) -> None:
    with pytest.raises(StorageError, match=said) as caught:
        parse(text, allow_keys=True)
    assert caught.value.fault.wanted
    for shown in (str(caught.value), repr(caught.value.fault)):
        assert SECRET not in shown


def test_a_key_that_would_be_read_as_something_else_is_none() -> None:
    for key in ("a?host=b", f"a/?role_arn={ROLE}", "#/id=1/##/key=2"):
        with pytest.raises(StorageError):
            OssAddress("bucket", key)


CHARACTERS = st.text(alphabet="ab/?#%&=.*[]é \x01\\", max_size=12)
HOSTS = st.sampled_from([HOST, "h", "127.0.0.1:9000", "cn-hangzhou.oss-internal.aliyun-inc.com"])


@given(
    bucket=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True),
    key=CHARACTERS,
    host=st.none() | HOSTS,
    role=st.none() | st.from_regex(r"acs:ram::[0-9]{0,6}:role/[A-Za-z0-9._-]{1,9}", fullmatch=True),
)
@settings(deadline=None, max_examples=400)
def test_what_is_written_is_read_back(bucket: str, key: str, host: str | None, role: str | None) -> None:
    try:
        address = OssAddress(bucket, key, host, role)
    except StorageError as error:
        assert "not a key" in error.fault.what  # noqa: PT017
        return
    assert parse(str(address)) == address
    assert parse(address.url) == dataclasses.replace(address, role_arn=None)
    assert os.path.join(address.url, "x").startswith(address.url)


@given(
    bucket=st.sampled_from(["b", "my-bucket"]),
    path=st.sampled_from(["", "/", "/a/b", "/a/#/b?c/"]),
    id_=st.from_regex(r"[A-Za-z0-9]{8,24}", fullmatch=True),
    secret=st.from_regex(r"[A-Za-z0-9]{12,30}", fullmatch=True),
    host=HOSTS,
    form=st.integers(0, 3),
)
@settings(deadline=None, max_examples=300)
def test_no_text_holds_a_key(bucket: str, path: str, id_: str, secret: str, host: str, form: int) -> None:
    text = (
        f"oss://{bucket}{path}?access_key_id={id_}&access_key_secret={secret}&host={host}",
        f"oss://{bucket}\x01id={id_}\x02key={secret}\x02host={host}{path}",
        f"oss://{bucket}\\x01id={id_}\\x02key={secret}\\x02host={host}{path}",
        f"oss://{bucket}/#/id={id_}/##/key={secret}/##/host={host}{path}",
    )[form]
    address = parse(text, allow_keys=True)
    assert (address.credentials.id, address.credentials.secret) == (id_, secret)  # type: ignore[union-attr]
    assert (address.bucket, address.key, address.host) == (bucket, path.removeprefix("/"), host)
    held = [str(address), repr(address), f"{address}", address.url, repr(dataclasses.asdict(address)), redact(text)]
    held += [repr(address.credentials), str(vars(address)), repr(copy.copy(address.credentials))]
    with pytest.raises(StorageError) as caught:
        parse(text)
    held += [str(caught.value), repr(caught.value), repr(caught.value.fault)]
    for shown in held:
        assert secret not in shown
        assert id_ not in shown
    pickled = pickle.dumps(address)
    assert secret.encode() not in pickled
    assert id_.encode() not in pickled


def test_credentials_stay_in_their_process() -> None:
    address = OssAddress("bucket", credentials=OssCredentials(ID, SECRET, TOKEN))
    assert address.credentials is not None
    assert address.credentials.token == TOKEN
    assert copy.deepcopy(address) == address
    assert hash(address) == hash(copy.deepcopy(address))
    assert address != OssAddress("bucket", credentials=OssCredentials(ID, SECRET))
    sent = pickle.loads(pickle.dumps(address)).credentials
    assert repr(sent) == "OssCredentials(***)"
    for name in ("id", "secret", "token"):
        with pytest.raises(StorageError, match="stay in the process"):
            getattr(sent, name)


def config(*overrides: str):
    return pai_train.compose("csvtest", ["storage=oss", *overrides]).config


def test_addresses_of_a_configuration() -> None:
    given = config(
        f"storage.root=oss://b1/x/?role_arn={ROLE}&host={HOST}",
        "checkpointDir=oss://b2.h.com/ck",
        f"inputs.train.oss=['oss://b3/?role_arn={ROLE}3','part-?.csv','oss://b4/part-?.csv']",
        f"+outputs.a.oss=oss://b5/?host=h&role_arn={ROLE}5",
    )
    assert given.tables.root.endswith("/tables")
    made, roles = addresses(given)
    assert made.storage.root == f"oss://b1.{HOST}/x/"
    assert made.tables.root == f"oss://b1.{HOST}/x/tables"
    assert made.checkpointDir == "oss://b2.h.com/ck"
    assert made.inputs["train"].oss == ["oss://b3/", "part-?.csv", "oss://b4/part-?.csv"]
    assert made.outputs["a"].oss == "oss://b5.h/"
    assert roles == {"b1": ROLE, "b3": f"{ROLE}3", "b5": f"{ROLE}5"}
    again, none = addresses(made)
    assert (again, none) == (made, {})


def test_other_stores_stay_as_they_are() -> None:
    given = pai_train.compose("csvtest", ["inputs.train.oss='s3://b/x?role_arn=y'", "checkpointDir='a?host=b'"]).config
    assert addresses(given) == (given, {})


def test_all_faults_of_addresses_at_once() -> None:
    good = config("storage.root=oss://b/x")
    bad = dataclasses.replace(
        good,
        checkpointDir=f"oss://b?access_key_id={ID}&access_key_secret={SECRET}",
        inputs={"train": dataclasses.replace(good.inputs["train"], oss=["a", "oss:///x"])},
        storage=dataclasses.replace(good.storage, root=f"oss://b/?role_arn={ROLE}"),
        tables=dataclasses.replace(good.tables, root=f"oss://b/?role_arn={ROLE}other"),
    )
    with pytest.raises(Refused) as caught:
        addresses(bad)
    assert {fault.where: fault.what for fault in caught.value.faults} == {
        "checkpointDir": "an address holds no keys",
        "inputs.train.oss[1]": "an address names no bucket",
        "tables.root": "bucket 'b' is reached with two roles",
    }
    assert SECRET not in str(caught.value)
