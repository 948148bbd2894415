"""The token service beside the OSS server: AssumeRole, with its HMAC-SHA1 signature checked."""

from __future__ import annotations

import base64
import calendar
import hashlib
import hmac
import re
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from tests.servers.oss_answers import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.servers.oss_accounts import Accounts, Clock

_MAX_SKEW_S = 15 * 60
_SHORTEST_S, _LONGEST_S, _USUAL_S = 900, 43_200, 3600
_ARN = re.compile(r"acs:ram::\d+:role/[\w.-]+")


class TokenService:
    """Gives temporary keys for roles.

    Args:
        accounts: Who may ask, and which roles there are.
        clock: What time it is.
    """

    def __init__(self, accounts: Accounts, clock: Clock) -> None:
        self._accounts = accounts
        self._clock = clock
        self._nonces: set[str] = set()

    def assume_role(self, method: str, query: Mapping[str, str]) -> dict[str, object]:
        """Answers one request.

        Args:
            method: Of HTTP.
            query: The parameters, of the address or of a form.

        Returns:
            What the answer says, but for its request id.

        Raises:
            Refused: The request is wrong, or its sender may not have the role.
        """
        self._check_signature(method, query)
        arn, session = _wanted(query, "RoleArn"), _wanted(query, "RoleSessionName")
        if not _ARN.fullmatch(arn):
            raise Refused(400, "InvalidParameter.RoleArn", "The parameter RoleArn is wrongly formed.")
        if not re.fullmatch(r"[\w.@-]{2,64}", session):
            raise Refused(400, "InvalidParameter.RoleSessionName", "The parameter RoleSessionName is wrongly formed.")
        duration = query.get("DurationSeconds", str(_USUAL_S))
        if not duration.isdigit() or not _SHORTEST_S <= int(duration) <= _LONGEST_S:
            message = f"The Min/Max value of DurationSeconds is {_SHORTEST_S}/{_LONGEST_S}."
            raise Refused(400, "InvalidParameter.DurationSeconds", message)
        allowed = self._accounts.role(arn)
        if allowed is None:
            raise Refused(404, "EntityNotExist.Role", "The role not exists.")
        sender = self._accounts.identity(query["AccessKeyId"])
        if sender is None or not sender.may("assume", "AssumeRole"):
            raise Refused(403, "NoPermission", "You are not authorized to do this action.")
        given = self._accounts.add_temporary(allowed, int(duration))
        assert given.expires is not None
        return {
            "AssumedRoleUser": {"Arn": f"{arn}/{session}", "AssumedRoleId": f"3000000000000000:{session}"},
            "Credentials": {
                "AccessKeyId": given.key,
                "AccessKeySecret": given.secret,
                "SecurityToken": given.token,
                "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(given.expires)),
            },
        }

    def _check_signature(self, method: str, query: Mapping[str, str]) -> None:
        for name, value in {"Action": "AssumeRole", "Version": "2015-04-01", "SignatureMethod": "HMAC-SHA1"}.items():
            if _wanted(query, name) != value:
                raise Refused(400, f"Invalid{name}", f"The parameter {name} is not {value}.")
        key, nonce, stamp = (_wanted(query, name) for name in ("AccessKeyId", "SignatureNonce", "Timestamp"))
        try:
            sent = calendar.timegm(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ"))
        except ValueError as error:
            raise Refused(400, "InvalidTimeStamp.Format", "The Timestamp is wrongly formed.") from error
        if abs(self._clock.now() - sent) > _MAX_SKEW_S:
            raise Refused(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
        try:
            sender = self._accounts.holder(key, query.get("SecurityToken"))
        except Refused as refused:
            if refused.code == "InvalidAccessKeyId":
                raise Refused(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.") from refused
            raise Refused(400, f"{refused.code}.STS", refused.message) from refused
        text = string_to_sign(method, query)
        digest = hmac.new(f"{sender.secret}&".encode(), text.encode(), hashlib.sha1).digest()
        if not hmac.compare_digest(base64.b64encode(digest), _wanted(query, "Signature").encode()):
            message = f"Specified signature is not matched with our calculation. server string to sign is:{text}"
            raise Refused(400, "SignatureDoesNotMatch", message)
        if nonce in self._nonces:
            raise Refused(400, "SignatureNonceUsed", "Specified signature nonce was used already.")
        self._nonces.add(nonce)


def string_to_sign(method: str, query: Mapping[str, str]) -> str:
    """Returns what the signature of a request is made of."""
    pairs = sorted((name, value) for name, value in query.items() if name != "Signature")
    text = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in pairs)
    return f"{method}&%2F&{quote(text, safe='')}"


def _wanted(query: Mapping[str, str], name: str) -> str:
    if not query.get(name):
        raise Refused(400, f"Missing{name}", f"{name} is mandatory for this action.")
    return query[name]
