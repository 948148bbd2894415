"""Pages of a listing on the OSS server: keys after a mark, those with a common beginning folded into one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.servers.oss_answers import invalid

if TYPE_CHECKING:
    from tests.servers.oss_state import Bucket

MOST = 1000


@dataclass
class Page:
    """A page.

    Attributes:
        keys: The objects on it.
        prefixes: The common beginnings on it.
        next: The last of both, when more follows.
    """

    keys: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    next: str | None = None


def page(bucket: Bucket, prefix: str, delimiter: str, after: str, limit: int) -> Page:
    """Lists the objects of a bucket.

    Args:
        bucket: Where they are.
        prefix: How their keys begin.
        delimiter: What ends a common beginning behind the prefix; empty for none.
        after: Only what comes after this.
        limit: How much a page holds.
    """
    found = Page()
    last = ""
    start, strictly = (after, True) if after >= prefix else (prefix, False)
    while True:
        for key in bucket.keys_from(start, after=strictly):
            if not key.startswith(prefix):
                return found
            if not bucket.holds(key):
                continue
            cut = key.find(delimiter, len(prefix)) if delimiter else -1
            name = key if cut < 0 else key[: cut + len(delimiter)]
            if cut >= 0 and name <= after:
                start, strictly = _behind(name), False
                break
            if len(found.keys) + len(found.prefixes) == limit:
                found.next = last
                return found
            last = name
            if cut < 0:
                found.keys.append(key)
            else:
                found.prefixes.append(name)
                start, strictly = _behind(name), False
                break
        else:
            return found


def _behind(prefix: str) -> str:
    """Returns the first possible key that does not begin with a prefix and follows all that do."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def limit_of(given: str | None, usual: int, name: str = "max-keys", most: int = MOST) -> int:
    """Returns how much a page holds.

    Raises:
        Refused: It is no number, or out of bounds.
    """
    if given is None:
        return usual
    if not given.isdigit() or not 1 <= int(given) <= most:
        raise invalid(
            f"Argument {name} must be an integer between 1 and {most}.", ArgumentName=name, ArgumentValue=given
        )
    return int(given)
