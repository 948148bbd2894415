r"""The address of objects in OSS: six spellings that scripts and commands use, and the one that file systems take.

    oss://bucket/key                                             the role and the host are given elsewhere
    oss://bucket.host/key                                        the bucket ends at the first dot
    oss://bucket/key?role_arn=acs:ram::1:role/name&host=host     in either order
    oss://bucket?access_key_id=…&access_key_secret=…&host=host
    oss://bucket\x01id=…\x02key=…\x02host=host/key
    oss://bucket/#/id=…/##/key=…/##/host=host/key                the same, for those who cannot type control characters

A path may stand behind each of them, as `os.path.join` puts it there. Everywhere else `?` and `#` are characters of a
key, and `?` matches one character of a glob.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from pai_train.errors import Fault, PaiTrainError, Refused, StorageError, did_you_mean
from pai_train.redact import MASK, hide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pai_train.spec.config import JobConfig
    from pai_train.spec.images import ImageConfig

SCHEME = "oss://"
ROLE = re.compile(r"acs:ram::[^:/?&#%\s]*:role/[^/?&#%\s]+")
HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::\d{1,5})?")

_BUCKET = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]*[A-Za-z0-9])?")
_NAMES = ("role_arn", "host", "access_key_id", "access_key_secret", "security_token")
_QUERY = re.compile(rf"\?(?=(?:{'|'.join(_NAMES)})=)")
_PAIR = re.compile(r"(?P<name>[^=&/?]*)=(?P<value>.*)", re.DOTALL)
# How far a value reaches: only keys of a session and the name of a role hold a slash.
_REACH = {"role_arn": re.compile(r"[^&/]*%2[Ff][^&/]*|[^&/]*(?:/[^&/]*)?"), "security_token": re.compile(r"[^&]*")}
_TO_SLASH = re.compile(r"[^&/]*")
_FIELDS = {"id": "access_key_id", "key": "access_key_secret", "host": "host"}
_SPELT = ((re.compile(r"/##/(?=(?:id|key|host)=)"), "\x02"), (re.compile(r"/#/(?=(?:id|key|host)=)"), "\x01"))
_FORMS = (
    "oss://bucket/folder, or oss://bucket.host/folder, or either with ?role_arn=acs:ram::<uid>:role/<name>&host=host"
)
_NO_KEYS = "set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET in the environment, storage.profile or storage.role_arn"


class OssCredentials:
    """An access key, kept out of every text; it stays in this process, and a pickled one has no keys."""

    __slots__ = ("_keys",)

    def __init__(self, id: str, secret: str, token: str | None = None) -> None:  # noqa: A002 - OSS's word
        self._keys: tuple[str, str, str | None] | None = (id, secret, token)
        for value in (id, secret, token):
            hide(value)

    @property
    def id(self) -> str:
        """The access key's id."""
        return self._known()[0]

    @property
    def secret(self) -> str:
        """The access key's secret."""
        return self._known()[1]

    @property
    def token(self) -> str | None:
        """The token of a session."""
        return self._known()[2]

    def _known(self) -> tuple[str, str, str | None]:
        if self._keys is None:
            raise StorageError("the keys of an address stay in the process that read it", todo=_NO_KEYS)
        return self._keys

    def __repr__(self) -> str:
        return f"OssCredentials({MASK})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OssCredentials) and self._keys == other._keys

    def __hash__(self) -> int:
        return hash(self._keys)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[[], OssCredentials], tuple[()]]:
        return _without_keys, ()


def _without_keys() -> OssCredentials:
    credentials = OssCredentials.__new__(OssCredentials)
    credentials._keys = None
    return credentials


@dataclass(frozen=True)
class OssAddress:
    """Where objects are, and how they are reached.

    Attributes:
        bucket: The bucket.
        key: What follows `bucket/`, verbatim; empty for the bucket.
        host: The host of the service, without the bucket; with a port where it has one.
        role_arn: The RAM role to take on, `acs:ram::<uid>:role/<name>`.
        credentials: The access key that the address carried; in no text, and not in `str`.

    Raises:
        StorageError: A part that no address can have.
    """

    bucket: str
    key: str = ""
    host: str | None = None
    role_arn: str | None = None
    credentials: OssCredentials | None = None

    def __post_init__(self) -> None:
        if _BUCKET.fullmatch(self.bucket) is None:
            what = "an address names no bucket" if not self.bucket else "not the name of a bucket"
            raise StorageError(what, got=repr(self.bucket), wanted=_FORMS)
        if self.host is not None and HOST.fullmatch(self.host) is None:
            wanted = "a host without a scheme, such as oss-cn-beijing-internal.aliyuncs.com"
            raise StorageError("not a host", got=repr(self.host), wanted=wanted)
        if self.role_arn is not None and ROLE.fullmatch(self.role_arn) is None:
            raise StorageError("not a RAM role", got=repr(self.role_arn), wanted="acs:ram::<uid>:role/<name>")
        if _parts(self.url) != (self.url.removeprefix(SCHEME), None):
            raise StorageError("not a key: it would be read as a part of the address", got=repr(self.key))

    @property
    def url(self) -> str:
        """`oss://bucket/key`, or `oss://bucket.host/key`: an ordinary URL, for `os.path.join` too."""
        return f"{SCHEME}{self.bucket}{'' if self.host is None else f'.{self.host}'}/{self.key}"

    def __str__(self) -> str:
        return self.url if self.role_arn is None else f"{self.url}?role_arn={self.role_arn}"


def is_oss(text: str) -> bool:
    """Tells whether a text is an address of OSS, in any of its spellings."""
    return text[: len(SCHEME)].lower() == SCHEME


def parse(text: str, *, allow_keys: bool = False) -> OssAddress:
    """Reads an address in any of the six spellings.

    Args:
        text: The address.
        allow_keys: Whether it may carry an access key, for one that is kept in memory and written nowhere.

    Raises:
        StorageError: No such spelling, a part that no address can have, or keys that are not allowed.
    """
    if not is_oss(text):
        raise StorageError("not an address of OSS", got=_shown(text), wanted=_FORMS)
    path, given = _parts(text)
    authority, _, key = path.partition("/")
    bucket, dot, host = authority.partition(".")
    if "@" in authority:
        raise StorageError("an address has no name or key in front of the bucket", wanted=_FORMS, todo=_NO_KEYS)
    found = dict(given or {})
    if dot and found.setdefault("host", host) != host:
        raise StorageError("an address names two hosts", got=f"{host} and {found['host']}", wanted="one of them")
    credentials = _credentials(found)
    if credentials is not None and not allow_keys:
        raise StorageError("an address holds no keys", wanted=_FORMS, todo=_NO_KEYS)
    return OssAddress(bucket, key, found.get("host"), found.get("role_arn"), credentials)


def addresses(config: JobConfig) -> tuple[JobConfig, dict[str, str]]:
    """Writes every address of OSS in a configuration as an ordinary URL.

    Returns:
        The configuration, and the RAM role of each bucket whose address names one.

    Raises:
        Refused: Addresses that cannot be read, hold keys, or name two roles for one bucket; `where` is the key.
    """
    roles: dict[str, str] = {}
    faults: list[Fault] = []

    def plain(key: str, text: str | None) -> Any:
        if text is None or not is_oss(text):
            return text
        try:
            address = parse(text)
        except PaiTrainError as error:
            faults.append(replace(error.fault, where=key))
            return text
        role = address.role_arn
        if role is not None and roles.setdefault(address.bucket, role) != role:
            got = f"{roles[address.bucket]} and {role}"
            faults.append(Fault(f"bucket {address.bucket!r} is reached with two roles", key, got, "one of them"))
        return address.url

    def plain_all(key: str, texts: str | list[str] | None) -> Any:
        if not isinstance(texts, list):
            return plain(key, texts)
        return [plain(f"{key}[{at}]", text) for at, text in enumerate(texts)]

    def plain_labels(key: str, image: ImageConfig | None) -> Any:
        return image and replace(image, labels=plain(f"{key}.labels", image.labels))

    inputs = {
        name: replace(
            rows,
            oss=plain_all(f"inputs.{name}.oss", rows.oss),
            image=plain_labels(f"inputs.{name}.image", rows.image),
        )
        for name, rows in config.inputs.items()
    }
    outputs = {name: replace(one, oss=plain(f"outputs.{name}.oss", one.oss)) for name, one in config.outputs.items()}
    stage = config.stage
    changed = replace(
        config,
        storage=replace(config.storage, root=plain("storage.root", config.storage.root)),
        tables=replace(config.tables, root=plain("tables.root", config.tables.root)),
        checkpointDir=plain("checkpointDir", config.checkpointDir),
        inputs=inputs,
        outputs=outputs,
        stage=replace(stage, from_=plain_all("stage.from", stage.from_), to=plain("stage.to", stage.to)),
    )
    if faults:
        raise Refused(faults)
    return changed, roles


def _parts(text: str) -> tuple[str, Mapping[str, str] | None]:
    """Returns `authority/key` and what the address says besides; None where it says nothing."""
    rest = text[len(SCHEME) :].replace("\\x01", "\x01").replace("\\x02", "\x02")
    for spelt, character in _SPELT:
        rest = spelt.sub(character, rest)
    authority, mark, fields = rest.partition("\x01")
    if mark and "/" not in authority:
        written, slash, key = fields.partition("/")
        pairs = dict(_once((_FIELDS.get(name, name), value) for name, value in map(_field, written.split("\x02"))))
        return f"{authority}{slash}{key}", pairs
    rest = text[len(SCHEME) :]
    begin = _QUERY.search(rest)
    if begin is None:
        return rest, None
    path = rest[: begin.start()]
    pairs, tail = _query(rest[begin.end() :])
    return (f"{path.removesuffix('/')}{tail}" if tail else path), pairs


def _query(text: str) -> tuple[dict[str, str], str]:
    """Reads `name=value&…`, up to a path that somebody put behind it."""
    pairs: list[tuple[str, str]] = []
    while text and text[0] != "/":
        name, value = _field(text.removeprefix("&"))
        reach = _REACH.get(name, _TO_SLASH).match(value)
        taken = reach[0] if reach is not None else ""
        pairs.append((name, unquote(taken)))
        text = value[len(taken) :]
    return dict(_once(iter(pairs))), text


def _field(text: str) -> tuple[str, str]:
    pair = _PAIR.match(text)
    if pair is None:
        raise StorageError("an address says what has no name", wanted=_FORMS)
    return pair["name"], pair["value"]


def _once(pairs: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for name, value in pairs:
        if name not in _NAMES:
            raise StorageError(f"an address has no {name!r}", wanted=_FORMS, todo=did_you_mean(name, _NAMES))
        if name in seen:
            raise StorageError(f"an address says {name} twice", wanted=_FORMS)
        if not value:
            raise StorageError(f"{name} of an address is empty", wanted=_FORMS, todo=f"leave {name} out")
        seen.add(name)
        yield name, value


def _credentials(given: Mapping[str, str]) -> OssCredentials | None:
    id_, secret, token = (given.get(name) for name in ("access_key_id", "access_key_secret", "security_token"))
    if id_ is None and secret is None and token is None:
        return None
    if id_ is None or secret is None:
        raise StorageError("an access key is an id and a secret", wanted="both or neither", todo=_NO_KEYS)
    return OssCredentials(id_, secret, token)


def _shown(text: str) -> str:
    """Returns the scheme of what is no address of OSS: whatever follows it may be a key."""
    scheme, slashes, _ = text.partition("://")
    return f"{scheme}://…" if slashes else "a text without a scheme"
