"""How the OSS server of the tests answers: XML documents, refusals, times."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any
from urllib.parse import quote

OWNER = {"ID": "1234567890123456", "DisplayName": "1234567890123456"}


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        status: Of HTTP.
        code: The name of the error.
        message: What a person reads.
        ec: The service's number of the cause, where it is known.
        headers: More headers of the answer.
        details: More elements of the document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        ec: str = "",
        headers: Mapping[str, str] | None = None,
        **details: str,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.ec = ec
        self.headers = dict(headers or {})
        self.details = details

    def document(self, request_id: str, host: str) -> bytes:
        """Returns the body."""
        fields = {"Code": self.code, "Message": self.message, "RequestId": request_id, "HostId": host}
        return document("Error", {**fields, **self.details, **({"EC": self.ec} if self.ec else {})})


def invalid(message: str, **details: str) -> Refused:
    """Returns the refusal of an argument."""
    return Refused(400, "InvalidArgument", message, **details)


def document(name: str, fields: Mapping[str, Any]) -> bytes:
    """Returns an XML document; a list stands for an element that is repeated, None for one that is left out."""
    root = ET.Element(name)
    _fill(root, fields)
    return bytes(ET.tostring(root, encoding="UTF-8", xml_declaration=True))


def _fill(parent: ET.Element, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            if one is None:
                continue
            element = ET.SubElement(parent, name)
            if isinstance(one, Mapping):
                _fill(element, one)
            else:
                element.text = str(one).lower() if isinstance(one, bool) else str(one)


def parsed(body: bytes) -> ET.Element:
    """Returns the XML that a client sent."""
    try:
        return ET.fromstring(body)  # noqa: S314 - from the test itself
    except ET.ParseError as error:
        raise malformed() from error


def malformed() -> Refused:
    """Returns the refusal of a body."""
    return Refused(400, "MalformedXML", "The XML you provided was not well-formed or did not validate.")


def named(name: str, encoding: str | None) -> str:
    """Returns a key as a listing writes it."""
    return quote(name, safe="") if encoding == "url" else name


def listed_time(at: float) -> str:
    """Returns a time as documents write it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at))


def header_time(at: float) -> str:
    """Returns a time as headers write it."""
    return formatdate(at, usegmt=True)
