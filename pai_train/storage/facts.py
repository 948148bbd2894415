"""What a service tells of itself and of a bucket: region, versioning, its clock. Asked by checks, not by runs."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True)
class ServiceFacts:
    """How a service is reached.

    Attributes:
        endpoint: Its address, `https://host`; None where it is not known before a request.
        region: The region that requests are signed for, or that the address names; None where none is.
    """

    endpoint: str | None = None
    region: str | None = None


@dataclass(frozen=True)
class BucketFacts:
    """What a service tells of a bucket.

    Attributes:
        region: Where it lies, spelt as `storage.region`.
        versioning: Whether replaced and deleted objects are kept as versions; None where it does not tell.
    """

    region: str | None = None
    versioning: Literal["off", "on", "suspended"] | None = None


@runtime_checkable
class TellsFacts(Protocol):
    """A filesystem of a service that can be asked for more than objects."""

    def service_facts(self, bucket: str) -> ServiceFacts:
        """Returns how the service is reached for a bucket; sends no request to it."""
        ...

    def bucket_facts(self, bucket: str) -> BucketFacts:
        """Asks for what is known of a bucket.

        Raises:
            FileNotFoundError: There is no such bucket.
            PermissionError: It may be used, but not be asked about.
        """
        ...


def service_time(endpoint: str, timeout_s: float) -> datetime | None:
    """Returns the time that a service's answer carries, whatever it answers; None without one.

    The request is not signed: a clock that is far off would have every signed one refused.
    """
    url = endpoint if "://" in endpoint else f"https://{endpoint}"
    if not url.lower().startswith(("http://", "https://")):
        return None
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - http and https alone
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            text = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        text = error.headers.get("Date")
    except (OSError, HTTPException, ValueError):  # no answer, none of HTTP, or no address
        return None
    return None if text is None else _parsed(text)


def _parsed(text: str) -> datetime | None:
    try:
        told = parsedate_to_datetime(text)
    except ValueError:
        return None
    # Services tell it in UTC, whether they say so or not.
    return told if told.tzinfo is not None else told.replace(tzinfo=UTC)
