"""How the MaxCompute server of the tests answers: XML and JSON documents, refusals in both, ids."""

from __future__ import annotations

import secrets
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import Any

from aiohttp import web


class Refused(Exception):
    """A request that is answered with an error.

    Args:
        status: Of HTTP.
        code: The name of the error.
        message: What a person reads.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message

    def answer(self, request_id: str, host: str, *, as_json: bool) -> web.Response:
        """Returns the answer: JSON as the tunnel and the Storage API give it, or XML as the rest of the service."""
        fields = {"Code": self.code, "Message": self.message, "RequestId": request_id}
        if as_json:
            return web.json_response(fields, status=self.status)
        body = document("Error", {**fields, "HostId": host})
        return web.Response(status=self.status, body=body, content_type="application/xml")


class Gone(Exception):
    """A request whose connection is cut instead of being answered."""


def xml(name: str, fields: Mapping[str, Any], status: int = 200) -> web.Response:
    """Returns an answer that is an XML document."""
    return web.Response(status=status, body=document(name, fields), content_type="application/xml")


def document(name: str, fields: Mapping[str, Any]) -> bytes:
    """Returns an XML document.

    Args:
        name: Of its root.
        fields: Elements by name; a list stands for an element that is repeated. `@` begins the name of an attribute,
            and `#` alone is the text.
    """
    root = ET.Element(name)
    _fill(root, fields)
    return bytes(ET.tostring(root, encoding="UTF-8", xml_declaration=True))


def _fill(parent: ET.Element, fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if name == "#":
            parent.text = str(value)
        elif name.startswith("@"):
            parent.set(name[1:], str(value))
        else:
            for one in value if isinstance(value, list) else [value]:
                _fill(ET.SubElement(parent, name), one if isinstance(one, Mapping) else {"#": one})


def no_table(project: str, table: str) -> Refused:
    """Returns the refusal of a table that is not there, as the metadata service words it."""
    return Refused(404, "NoSuchObject", f"ODPS-0130131:Table not found - '{project}.{table}'")


def no_project(project: str) -> Refused:
    """Returns the refusal of a project that is not there."""
    return Refused(404, "NoSuchObject", f"ODPS-0420111: Project not found - '{project}'")


def no_partition(spec: str) -> Refused:
    """Returns the refusal of a partition that is not there."""
    return Refused(404, "NoSuchPartition", f"The specified partition does not exist. '{spec}'")


def corrupted(what: str) -> Refused:
    """Returns the refusal of a body."""
    return Refused(400, "CorruptedDataStream", f"The data stream was corrupted, please try again later. ({what})")


def new_id() -> str:
    """Returns an id that no other request or session has."""
    return secrets.token_hex(16).upper()
