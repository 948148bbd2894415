"""The proxy that makes faults: what it leaves alone passes byte for byte, and each fault is what its name says."""

from __future__ import annotations

import hashlib
import json
import random
import socket
import struct
import threading
from collections import Counter
from contextlib import closing
from dataclasses import replace
from http.client import IncompleteRead, RemoteDisconnected
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pai_train.errors import StorageError
from tests.servers.echo import Client, Upstream, content
from tests.servers.faults import faulty
from tests.servers.faults_plan import (
    CUT,
    DELAY,
    ERROR,
    KINDS,
    LOST,
    RESET,
    SCHEMES,
    Fault,
    Plan,
    Settings,
    error_answer,
)
from tests.servers.served import Served

SECRETS = {"oss": "OSS_ACCESS_KEY_SECRET", "s3": "AWS_SECRET_ACCESS_KEY"}


@pytest.fixture
def upstream():
    with Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def served(upstream):
    return Served("s3", "s3", f"http://127.0.0.1:{upstream.server_port}", "bucket", {})


@pytest.fixture
def straight(served):
    """A proxy that spoils nothing, unless a test asks for it."""
    with faulty(served) as (proxied, control), closing(Client(proxied)) as client:
        yield proxied, control, client


# What is left alone


def test_requests_pass_unchanged_over_one_connection(straight, upstream):
    proxied, control, client = straight
    assert client("GET", "/bytes/300000")[:2] == (200, content(300000))
    assert client("GET", "/chunked/5500")[:2] == (200, content(5500))
    assert client("HEAD", "/bytes/12")[:2] == (200, b"")
    assert client("HEAD", "/bytes/12")[2]["Content-Length"] == "12"
    assert [client("GET", f"/status/{status}")[:2] for status in (204, 304, 404)] == [
        (204, b""),
        (304, b""),
        (404, b""),
    ]
    body = content(2_000_000)
    told = hashlib.sha256(body).hexdigest()
    assert client("PUT", "/a%2Fb%20c?x=1&y=%2B", body, X_Signed="a,  b")[1].decode() == told
    assert client("POST", "/p", iter([body[:70_000], body[70_000:]]), Transfer_Encoding="chunked")[1].decode() == told
    assert client("POST", "/empty", b"")[0] == 200
    method, path, headers, received = upstream.got[-3]
    assert (method, path, received) == ("PUT", "/a%2Fb%20c?x=1&y=%2B", (2_000_000, told))
    assert (headers["Host"], headers["X-Signed"]) == (urlsplit(proxied.endpoint).netloc, "a,  b")
    assert client.connection.sock is not None, "the connection was kept"
    assert (control.requests(), control.injected()) == (10, {})
    assert [seen["path"] for seen in control.journal()][-3:] == ["/a%2Fb%20c", "/p", "/empty"]


def test_an_answer_without_length_ends_with_its_connection(straight):
    *_, client = straight
    assert client("GET", "/until-close/100000")[1] == b"x" * 100_000
    assert client("GET", "/bytes/3")[1] == content(3)


def test_a_client_that_waits_to_be_asked_is_asked(straight, upstream):
    proxied, *_ = straight
    address = urlsplit(proxied.endpoint)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"12345")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK")
    assert upstream.got[0][3] == (5, hashlib.sha256(b"12345").hexdigest())


def test_an_early_answer_comes_through(straight):
    *_, client = straight
    assert client("PUT", "/early", content(3_000_000))[:2] == (403, b"no")


def test_a_client_that_goes_in_mid_body_has_gone_for_the_server(straight, upstream):
    proxied, _, client = straight
    address = urlsplit(proxied.endpoint)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(b"PUT /half HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n" + b"x" * 50)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for _ in range(5000):
        if upstream.torn:
            break
        assert client("GET", "/bytes/1")[0] == 200
    assert (upstream.torn, [path for _, path, *_ in upstream.got if path == "/half"]) == (["/half"], [])


def test_addresses_to_go_to_next_are_the_proxys(straight):
    proxied, _, client = straight
    assert client("GET", "/moved")[2]["Location"] == f"{proxied.endpoint}/session?x=1"


def test_bodies_are_streamed(straight):
    _, control, client = straight
    size = 150 * 2**20
    piece = bytes(2**20)
    assert client("PUT", "/large", (piece for _ in range(150)), Content_Length=str(size))[0] == 200
    client.connection.request("GET", f"/until-close/{size}")
    answer = client.connection.getresponse()
    assert sum(iter(lambda: len(answer.read(2**20)), 0)) == size
    status = Path(f"/proc/{control.process}/status").read_text()
    peak_kib = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
    assert peak_kib < 64 * 1024


# Each fault


def test_reset_comes_before_the_server_sees_anything(straight, upstream):
    _, control, client = straight
    control.once(RESET)
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        client("PUT", "/x", content(3_000_000))
    assert (upstream.got, upstream.torn, control.injected()) == ([], [], {RESET: 1})


def test_a_lost_answer_is_of_a_request_that_was_done(straight, upstream):
    _, control, client = straight
    control.once(LOST)
    with pytest.raises(ConnectionResetError):
        client("PUT", "/x", content(300_000))
    assert upstream.got[0][3] == (300_000, hashlib.sha256(content(300_000)).hexdigest())
    assert control.injected() == {LOST: 1}
    assert control.journal() == [{"method": "PUT", "path": "/x", "fault": LOST, "status": 200}]


@pytest.mark.parametrize("target", ["/bytes/100000", "/chunked/100000", "/bytes/1"])
def test_cut_bodies_are_shorter_than_announced(straight, target):
    _, control, client = straight
    ends = Counter()
    for _ in range(12):
        control.once(CUT)
        client.connection.request("GET", target)
        answer = client.connection.getresponse()
        try:
            with pytest.raises((IncompleteRead, ConnectionResetError)) as caught:
                answer.read()
        finally:
            client.close()
        ends[caught.type] += 1
    assert set(ends) == {IncompleteRead, ConnectionResetError}
    assert control.injected() == {CUT: 12}
    assert client("GET", target)[0] == 200


def test_an_answer_without_body_cannot_be_cut(straight):
    _, control, client = straight
    control.set(share=1, kinds=[CUT])
    assert [client("PUT", "/x", b"1")[0], client("HEAD", "/bytes/5")[0], client("GET", "/status/204")[0]] == [
        200,
        200,
        204,
    ]
    assert control.injected() == {}


def test_errors_are_answered_and_the_connection_stays(straight, upstream):
    _, control, client = straight
    control.set(share=1, kinds=[ERROR], retry_after_s=7)
    answers = [client(method, "/x", b"body" if method == "PUT" else None) for method in ("GET", "PUT", "HEAD") * 20]
    assert {status for status, *_ in answers} == {500, 503, 429}
    assert {headers["Retry-After"] for *_, headers in answers} == {None, "7"}
    assert all((b"<Code>" in body) is (at % 3 != 2) for at, (_, body, _) in enumerate(answers))
    assert (upstream.got, control.injected()) == ([], {ERROR: 60})
    control.set(share=0)
    assert client("GET", "/bytes/5")[1] == content(5)


def test_an_error_goes_to_a_client_that_still_waits_to_be_asked(straight, upstream):
    proxied, control, _ = straight
    control.once(ERROR, status=503)
    address = urlsplit(proxied.endpoint)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        text = b"".join(iter(lambda: connection.recv(1000), b""))
    assert text.startswith(b"HTTP/1.1 503 ")
    assert upstream.got == []


def test_a_delayed_request_is_served(straight):
    _, control, client = straight
    control.set(share=1, kinds=[DELAY], delay_s=0.01)
    assert client("GET", "/bytes/5")[1] == content(5)
    assert control.injected() == {DELAY: 1}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("status", [500, 503, 429])
def test_errors_are_told_as_the_provider_does(scheme, status):
    for method in ("GET", "HEAD"):
        given, headers, body = error_answer(scheme, Fault(ERROR, random.Random(1), status), method, 1)
        assert given == status
        if scheme == "gs":
            assert json.loads(body)["error"]["code"] == status
        else:
            assert b"<Error><Code>" in body
        assert ("x-oss-err" in headers) is (scheme == "oss" and method == "HEAD")
        assert ("x-ms-error-code" in headers) is (scheme == "az")


# Which requests


def test_the_plan_follows_from_the_seed():
    def kinds(seed, share, methods=("GET",) * 4000):
        plan = Plan(Settings(seed=seed, share=share))
        return [plan.next(method, "/").kind for method in methods]

    assert kinds(1, 0.2) == kinds(1, 0.2) != kinds(2, 0.2)
    assert kinds(1, 0) == [None] * 4000
    spoiled = Counter(kinds(1, 0.2))
    assert 0.75 < spoiled[None] / 4000 < 0.85
    assert set(spoiled) == {None, *KINDS}
    assert min(spoiled[kind] for kind in KINDS) > 100
    assert CUT not in kinds(1, 1, ("PUT", "HEAD", "DELETE") * 500)


def test_the_proxy_follows_its_plan(served):
    methods = ["GET", "PUT", "HEAD"] * 40
    plan = Plan(Settings(seed=7, share=0.3, kinds=(LOST, ERROR)))
    with faulty(served, seed=7, share=0.3, kinds=[LOST, ERROR]) as (proxied, control):
        for method in methods:
            with closing(Client(proxied)) as client:
                try:
                    client(method, "/bytes/9")
                except (ConnectionResetError, RemoteDisconnected):
                    continue
        assert [seen["fault"] for seen in control.journal()] == [plan.next(method, "/").kind for method in methods]
        control.set(seed=7)
        assert control.requests() == len(methods)


def test_single_faults_wait_for_their_request(straight):
    _, control, client = straight
    control.once(ERROR, method="PUT", path="metadata/", status=503)
    control.once(ERROR, path="metadata/", status=500)
    assert client("GET", "/bytes/4")[0] == 200
    assert client("PUT", "/x/metadata/v1.json", b"1")[0] == 503
    assert control.waiting() == 1
    assert client("PUT", "/x/metadata/v1.json", b"1")[0] == 500
    assert client("PUT", "/x/metadata/v1.json", b"1")[0] == 200
    assert (control.waiting(), control.injected()) == (0, {ERROR: 2})


def test_settings_that_do_not_exist_are_refused(straight):
    _, control, _ = straight
    for wrong in ({"kinds": ["burn"]}, {"mode": "away"}, {"shares": 1}):
        with pytest.raises(ValueError, match=r"no such kind or mode|shares"):
            control.set(**wrong)


# Gone, silent, back


def test_down_refuses_and_resets_until_up(straight):
    _, control, client = straight
    assert client("GET", "/bytes/4")[0] == 200
    control.down()
    with pytest.raises((ConnectionResetError, RemoteDisconnected, BrokenPipeError)):
        client("GET", "/bytes/4")
    client.close()
    with pytest.raises(ConnectionRefusedError):
        client("GET", "/bytes/4")
    client.close()
    control.up()
    assert client("GET", "/bytes/4")[0] == 200


def test_hanging_answers_nothing_on_old_and_new_connections_until_up(straight, upstream):
    proxied, control, client = straight
    assert client("GET", "/bytes/4")[0] == 200
    control.hang()
    with closing(Client(proxied)) as another:
        for each in (client, another):
            each.connection.timeout = 0.3
            if each.connection.sock:
                each.connection.sock.settimeout(0.3)
            with pytest.raises(TimeoutError):
                each("GET", "/bytes/4")
    assert len(upstream.got) == 1
    control.up()
    client.close()
    assert client("GET", "/bytes/4")[0] == 200


def test_a_body_under_way_hangs_too(straight):
    _, control, client = straight
    client.connection.request("GET", f"/until-close/{50 * 2**20}")
    answer = client.connection.getresponse()
    assert len(answer.read(1000)) == 1000
    control.hang()
    answer.fp.raw._sock.settimeout(0.3)
    with pytest.raises(TimeoutError):
        answer.read()


# Real servers


@pytest.mark.parametrize("name", ["oss", "s3", "rclone", "gcs", "azure"])
def test_stores_work_through_it(name, request, monkeypatch):
    """Signatures cover the Host header: they are made for the proxy's address and checked by the server behind it."""
    served = request.getfixturevalue(f"{name}_server")
    with faulty(served) as (proxied, control):
        proxied.enter(monkeypatch)
        root = proxied.root()
        store = proxied.stores().open(root)
        large = content(9 * 2**20)
        store.put(f"{root}/small #1%.csv", b"a,b\n")
        with store.open_output(f"{root}/large") as output:
            output.write(large)
        assert store.read(f"{root}/small #1%.csv", 2, 4) == b"b\n"
        assert store.read(f"{root}/large") == large
        assert [info.size for info in store.list(root)] == [len(large), 4]
        store.delete_tree(root)
        assert store.list(root) == []
        assert control.requests() >= 7
        if served.scheme in SECRETS:
            monkeypatch.setenv(SECRETS[served.scheme], "wrong")
            with pytest.raises(StorageError):
                proxied.stores().open(root).read(f"{root}/x")


def test_the_environment_leads_to_the_proxy_too(served):
    with faulty(replace(served, env={"CONNECTION": f"Endpoint={served.endpoint}/account;"})) as (proxied, _):
        assert proxied.env == {"CONNECTION": f"Endpoint={proxied.endpoint}/account;"}
