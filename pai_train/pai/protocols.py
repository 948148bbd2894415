"""Names of the protocols between the servers of a cluster: PAI's own stand for TensorFlow's."""

from __future__ import annotations

_OF_PAI = {"grpc++", "seastar", "star", "star_server"}


def plain(protocol: str | None) -> str | None:
    """Returns `grpc` for a faster protocol that PAI's TensorFlow has besides, and any other name as it is."""
    return "grpc" if protocol in _OF_PAI else protocol
