"""The places that a command names, as its script can join names to them, and what the stores need to know besides.

Roles, hosts and keys of an address go into the environment of the processes: what a script gets is an ordinary URL.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from pai_train.errors import Fault, PaiTrainError, did_you_mean
from pai_train.redact import hide, secret_shape
from pai_train.spec.oss_address import HOST, ROLE, OssAddress, is_oss
from pai_train.spec.oss_address import parse as parse_oss

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pai_train.pai.statement import Argument
    from pai_train.spec.oss_address import OssCredentials

ROLES_VARIABLE = "PAI_TRAIN_OSS_ROLES"
ENDPOINT_VARIABLE = "OSS_ENDPOINT"

_SCHEMES = ("oss", "s3", "gs", "az", "file")
_NO_COLON = re.compile(r"(?P<scheme>oss|s3|gs|az|file|odps)(?::/(?!/)|//)", re.IGNORECASE)
_KEY_NAMES = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN")


@dataclass(frozen=True)
class Place:
    """An address as somebody gave it.

    Attributes:
        text: The address.
        where: Where it stands, for people.
    """

    text: str
    where: str


@dataclass
class Settled:
    """What became of the addresses of a command.

    Attributes:
        urls: The address of each place as a script can use it, in their order; '' for one that has a fault.
        settings: What the processes need in their environment; it may hold keys.
        notes: What is to be known of it.
        faults: What is wrong with them.
    """

    urls: list[str] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def settle(
    places: Sequence[Place],
    environ: Mapping[str, str],
    *,
    arn: Argument | None = None,
    host: Argument | None = None,
    take_role: bool = True,
) -> Settled:
    """Reads the addresses of a command; nothing is opened.

    Args:
        places: The addresses, of any store, those of OSS in any of their spellings.
        environ: The environment; its OSS_ENDPOINT goes before every host.
        arn: The role of -Darn.
        host: The host of -DossHost.
        take_role: Whether roles are taken on; else the environment's own keys are used.
    """
    settled = Settled()
    read = [_read(place, settled.faults) for place in places]
    on_oss = [address for address in read if isinstance(address, OssAddress)]
    role = _checked_role(arn, settled)
    given = _checked_host(host, settled)
    if on_oss:
        _roles(on_oss, role, settled, take_role=take_role)
        _keys(on_oss, environ, settled)
    else:
        for argument in (arn, host):
            if argument is not None and argument.value:
                settled.notes.append(f"{argument.written} has no effect: nothing lies on OSS")
    near = _endpoint(on_oss, given, environ, settled)
    for one in read:
        settled.urls.append(_rendered(one, near) if isinstance(one, OssAddress) else one)
    return settled


def split_list(text: str) -> list[str]:
    """Returns the elements of a list with commas, each with or without quotes of its own."""
    elements = [one.strip() for one in re.findall(r"(?:'[^']*'|\"[^\"]*\"|[^,'\"]|['\"])+", text)]
    return [bare for one in elements if (bare := _bare(one))]


def _bare(text: str) -> str:
    return text[1:-1].strip() if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _read(place: Place, faults: list[Fault]) -> OssAddress | str:
    text = place.text
    try:
        if is_oss(text):
            return parse_oss(text, allow_keys=True)
        return _other(text)
    except PaiTrainError as error:
        shown = None if secret_shape(text) else error.fault.got or text
        faults.append(replace(error.fault, where=place.where, got=shown))
        return ""


def _other(text: str) -> str:
    from pai_train.errors import StorageError
    from pai_train.storage.urls import ALIASES, is_glob, is_url, resolve, split

    slip = _NO_COLON.match(text)
    if slip is not None and not is_url(text):
        scheme = slip["scheme"].lower()
        raise StorageError("not an address", got=text, todo=f"did you mean {scheme}://{text[slip.end() :]}?")
    if secret_shape(text) is not None:
        raise StorageError("an address holds no keys", todo="leave the key out; the environment gives it")
    if not is_url(text):
        return os.path.join(os.getcwd(), os.path.expanduser(text))
    scheme, path = split(text)
    if scheme not in _SCHEMES:
        known = [f"{name}://" for name in _SCHEMES]
        todo = did_you_mean(f"{scheme}://", [*known, *(f"{name}://" for name in ALIASES)])
        raise StorageError(f"{scheme}:// is not served here", got=text, wanted=" or ".join(known), todo=todo)
    if is_glob(path):
        raise StorageError("a place has no wildcards", got=text)
    url = resolve("/", text)
    return f"{url}/" if text.endswith("/") and not url.endswith("/") else url


def _checked_role(arn: Argument | None, settled: Settled) -> str | None:
    if arn is None or not arn.value:
        return None
    if ROLE.fullmatch(arn.value) is None:
        settled.faults.append(Fault("not a RAM role", arn.where, arn.value, "acs:ram::<uid>:role/<name>"))
        return None
    return arn.value


def _checked_host(host: Argument | None, settled: Settled) -> str | None:
    if host is None or not host.value:
        return None
    scheme, slashes, rest = host.value.rpartition("://")
    rest = rest.rstrip("/")
    if HOST.fullmatch(rest) is None or scheme.lower() not in ("", "http", "https"):
        wanted = "a host without a bucket, such as oss-cn-beijing-internal.aliyuncs.com"
        settled.faults.append(Fault("not a host", host.where, host.value, wanted))
        return None
    return f"{scheme.lower()}{slashes}{rest}"


def _roles(on_oss: Sequence[OssAddress], role: str | None, settled: Settled, *, take_role: bool) -> None:
    named: dict[str, str] = {}
    for address in on_oss:
        own = address.role_arn
        if own is not None and named.setdefault(address.bucket, own) != own:
            what = f"bucket {address.bucket!r} is reached with two roles"
            settled.faults.append(Fault(what, got=f"{named[address.bucket]} and {own}", wanted="one of them"))
    if not take_role:
        if named or role:
            settled.notes.append("roles are not taken on: OSS is used with the environment's own keys")
        return
    parts = [*([role] if role else []), *(f"{bucket}={own}" for bucket, own in named.items() if own != role)]
    if parts:
        settled.settings[ROLES_VARIABLE] = ",".join(parts)


def _keys(on_oss: Sequence[OssAddress], environ: Mapping[str, str], settled: Settled) -> None:
    found: list[OssCredentials] = []
    for address in on_oss:
        if address.credentials is not None and address.credentials not in found:
            found.append(address.credentials)
    if len(found) > 1:
        settled.faults.append(Fault("the addresses hold several keys", wanted="one key for all of OSS"))
    if len(found) != 1:
        return
    for secret in (found[0].id, found[0].secret, found[0].token):
        hide(secret)
    values = found[0].id, found[0].secret, found[0].token or ""
    settled.settings.update(zip(_KEY_NAMES, values, strict=True))
    before = environ.get(_KEY_NAMES[0])
    instead = ", and not the environment's" if before and before != found[0].id else ""
    settled.notes.append(f"all of OSS is used with the key in an address{instead}; the script's flags do not hold it")


def _endpoint(
    on_oss: Sequence[OssAddress], given: str | None, environ: Mapping[str, str], settled: Settled
) -> tuple[str | None, bool]:
    """Settles where OSS is reached.

    Returns:
        The host that addresses need not name, and whether no address keeps its own.
    """
    hosts = {address.host for address in on_oss if address.host}
    here = environ.get(ENDPOINT_VARIABLE, "").rstrip("/")
    if here:
        reached = here.rpartition("://")[2]
        others = sorted((hosts | ({given.rpartition("://")[2]} if given and on_oss else set())) - {reached})
        if others:
            settled.notes.append(f"OSS is reached at {here}, as OSS_ENDPOINT says, not at {' or '.join(others)}")
        return reached, True
    if not on_oss:
        return None, False
    endpoint = given or (next(iter(hosts)) if len(hosts) == 1 else None)
    if endpoint is None:
        return None, False
    settled.settings[ENDPOINT_VARIABLE] = endpoint if "://" in endpoint else f"https://{endpoint}"
    return endpoint.rpartition("://")[2], False


def _rendered(address: OssAddress, near: tuple[str | None, bool]) -> str:
    reached, only = near
    host = None if only or address.host == reached else address.host
    return replace(address, host=host, role_arn=None, credentials=None).url
