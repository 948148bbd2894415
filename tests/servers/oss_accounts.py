"""Who may do what on the OSS server: users, roles, temporary keys that end, and the clock by which they do."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass

from tests.servers.oss_answers import Refused

ACTIONS = frozenset({"list", "get", "put", "delete", "bucket", "assume"})
_UNKNOWN_KEY = "The OSS Access Key Id you provided does not exist in our records."


class Clock:
    """The server's time, which a test may put forward or back."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def now(self) -> float:
        """Returns seconds since 1970."""
        return time.time() + self.offset_s


@dataclass(frozen=True)
class Identity:
    """Somebody with a key.

    Attributes:
        key: The key's public half.
        secret: What requests are signed with.
        allowed: Actions, or names of single operations.
        token: What comes with a temporary key.
        expires: When a temporary key ends, in seconds since 1970.
    """

    key: str
    secret: str
    allowed: frozenset[str]
    token: str | None = None
    expires: float | None = None

    def may(self, action: str, operation: str) -> bool:
        """Returns whether an operation is permitted, by its action or by its own name."""
        return bool(self.allowed & {action, operation})


class Accounts:
    """All keys and roles.

    Attributes:
        life_s: How long temporary keys live, whatever is asked for; None for as long as is asked.
    """

    def __init__(self, clock: Clock) -> None:
        self.life_s: float | None = None
        self._clock = clock
        self._identities: dict[str, Identity] = {}
        self._roles: dict[str, frozenset[str]] = {}

    def add_user(self, key: str, secret: str, allowed: frozenset[str]) -> None:
        """Makes a user, or changes one."""
        self._identities[key] = Identity(key, secret, allowed)

    def add_role(self, arn: str, allowed: frozenset[str]) -> None:
        """Makes a role, or changes one."""
        self._roles[arn] = allowed

    def role(self, arn: str) -> frozenset[str] | None:
        """Returns what a role may do; None when there is no such role."""
        return self._roles.get(arn)

    def add_temporary(self, allowed: frozenset[str], life_s: float) -> Identity:
        """Makes a temporary key."""
        identity = Identity(
            f"STS.{secrets.token_hex(12)}",
            secrets.token_urlsafe(30),
            allowed,
            secrets.token_urlsafe(90),
            self._clock.now() + (life_s if self.life_s is None else self.life_s),
        )
        self._identities[identity.key] = identity
        return identity

    def identity(self, key: str) -> Identity | None:
        """Returns who has a key."""
        return self._identities.get(key)

    def holder(self, key: str, token: str | None) -> Identity:
        """Returns who has a key, and whose token is right and has not ended.

        Raises:
            Refused: Anything else.
        """
        found = self._identities.get(key)
        # A lasting key with a token is looked for among the temporary ones, and the other way round.
        if found is None or (found.token is None) != (not token):
            raise Refused(403, "InvalidAccessKeyId", _UNKNOWN_KEY, ec="0002-00000902", OSSAccessKeyId=key)
        if found.token is not None and not secrets.compare_digest(found.token.encode(), (token or "").encode()):
            raise Refused(
                403, "InvalidSecurityToken", "The security token you provided is invalid.", ec="0002-00000006"
            )
        if found.expires is not None and self._clock.now() >= found.expires:
            raise Refused(
                403, "SecurityTokenExpired", "The security token you provided has expired.", ec="0002-00000007"
            )
        return found
