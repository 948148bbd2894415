"""mode=check: what it finds on every store, what it says to do, and that nothing of it stays."""

from __future__ import annotations

import http.server
import io
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from pai_train import compose
from pai_train.check import Plan, check
from pai_train.errors import Interrupted
from pai_train.findings import CheckFailed
from pai_train.preflight import Place, service
from pai_train.storage import Stores, join, open_store, resolve
from pai_train.storage.facts import BucketFacts, ServiceFacts, service_time
from tests.suites.modes import checked, section, tree


def test_a_laptop_is_ready(here, capsys):
    before = tree(here)
    code, out, err = checked(capsys, "+recipe=iris")
    assert (code, err) == (0, "")
    assert list(section(out, "checkpointDir ")) == ["list", "get", "put", "create", "delete"]
    assert list(section(out, "storage.root ")) == ["list", "get", "put", "delete"]
    assert "the sample" in section(out, "inputs.train")["data"][1]
    assert out.splitlines()[-1].startswith("iris on data: ")
    assert "failed" not in out
    assert tree(here) == before


def test_no_tensorflow(here):
    script = "import sys; from pai_train.__main__ import main; code = main(['+recipe=iris', 'mode=check']);"
    script += "assert not {'tensorflow', 'keras'} & set(sys.modules); sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", script], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tree(here) == {}


def test_without_a_recipe_the_stores_alone_are_checked(here, capsys):
    code, out, _ = checked(capsys, "storage=memory", "storage.root=memory://check-alone")
    assert code == 0
    assert "no recipe on memory://check-alone: " in out
    assert "inputs" not in out
    assert not open_store("memory://check-alone").list("memory://check-alone")


def test_all_that_fails_is_told_with_what_to_do(here, capsys):
    (here / "data").mkdir()
    (here / "data" / "checkpoints").write_text("in the way")
    (here / "data" / "csvtest.csv").write_text("north,1,2.0,card\n")
    before = tree(here)
    code, out, err = checked(capsys, "+recipe=csvtest", "+outputs.o={oss: out, write: fail}")
    assert code == 2
    assert section(out, "checkpointDir ")["folder"][0] == "FAIL"
    assert "is a file" in section(out, "checkpointDir ")["folder"][1]
    data = section(out, "inputs.train")["data"]
    assert data[0] == "FAIL"
    assert "4 fields" in data[1]
    assert section(out, "outputs.o ")["put"][0] == "ok"
    assert section(out, "outputs.o")["data"][0] == "-"
    assert err == "nothing was changed\n"
    assert "2 failed, 1 not tried" in out
    assert tree(here) == before


def test_every_fault_is_in_the_error(here):
    import pai_train

    composed = compose("iris", ["mode=check", "inputs.train.table=irsi"])
    with pytest.raises(CheckFailed) as caught:
        pai_train.run(composed)
    assert caught.value.exit_code == 2
    assert [fault.where for fault in caught.value.faults] == ["inputs.train"]
    assert caught.value.report.count("skip") == 1


def test_a_store_that_is_not_served(here, capsys):
    code, out, _ = checked(capsys, "+recipe=iris", "checkpointDir=ftp://host/ck")
    assert code == 2
    assert section(out, "checkpointDir")["address"][0] == "FAIL"


def test_a_cache_wants_room(here, capsys):
    code, out, _ = checked(capsys, "+recipe=iris", f"storage.cache.dir={here}/cache", "storage.cache.max_gb=1e9")
    assert code == 0
    result, words = section(out, "this machine")["cache"]
    assert result == "WARN"
    assert "lower storage.cache.max_gb" in words
    (here / "file").write_text("")
    code, out, _ = checked(capsys, "+recipe=iris", f"storage.cache.dir={here}/file/cache")
    assert (code, section(out, "this machine")["cache"][0]) == (2, "FAIL")


def places(root):
    return [Place("storage.root", root), Place("checkpointDir", join(root, "ck"), creates=True)]


@pytest.mark.parametrize("root", ["memory://stopped", "a folder"])
def test_stopped_anywhere_it_leaves_nothing(root, here):
    root = root if "://" in root else resolve(str(here), "data")
    stores = Stores()
    store = stores.open(root)
    store.put(join(root, "mine"), b"1")
    plan = Plan("test", stores, places(root), [])
    ends = 0  # findings after which it was stopped
    while True:
        left = iter([False] * ends)
        try:
            check(plan, lambda: next(left, True), io.StringIO())  # noqa: B023 - called in this round alone
        except Interrupted:
            ends += 1
            assert [info.url for info in store.list(root)] == [join(root, "mine")]
        else:
            break
        assert ends < 99
    assert tree(here) in ({}, {"data/mine": b"1"})


@contextmanager
def clock(ahead):
    """Serves an answer whose Date is off, as a service does for a request without signature."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response_only(403)
            self.send_header("Date", format_datetime(datetime.now(UTC) + ahead, usegmt=True))
            self.end_headers()

        def log_message(self, *_):
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    ("ahead", "state", "said"),
    [(0, "ok", "within"), (10, "warn", "10 min behind"), (-10, "warn", "10 min ahead"), (-20, "fail", "20 min ahead")],
)
def test_a_clock_that_is_off(ahead, state, said):
    with clock(timedelta(minutes=ahead)) as endpoint:
        (finding,) = [one for one in service(_Telling(endpoint), "oss://b") if one.check == "clock"]
    assert finding.state == state
    assert said in finding.found
    assert (finding.todo is None) is (state == "ok")


def test_who_tells_no_time():
    assert service_time("http://127.0.0.1:1", 1.0) is None
    assert service_time("file:///etc/passwd", 1.0) is None


@pytest.mark.parametrize(
    ("scheme", "facts", "told", "states"),
    [
        ("oss", ServiceFacts(None, "cn-a"), BucketFacts("cn-a", "off"), {"region": "ok", "versioning": "ok"}),
        ("oss", ServiceFacts(None, "cn-a"), BucketFacts("cn-b", "suspended"), {"region": "fail", "versioning": "fail"}),
        ("s3", ServiceFacts(None, None), BucketFacts("us-1", "on"), {"region": "ok", "versioning": "ok"}),
        ("gs", ServiceFacts(), BucketFacts(), {}),
    ],
)
def test_what_a_bucket_tells(scheme, facts, told, states):
    found = list(service(_Telling(facts.endpoint, facts, told, scheme), f"{scheme}://b"))
    assert {one.check: one.state for one in found} == {"bucket": "ok", **states}
    assert all(one.todo for one in found if one.state == "fail")


def test_settings_that_lead_to_no_service():
    class Lost(_Telling):
        def service_facts(self, bucket):
            raise OSError("no such profile")

    (finding,) = service(Lost(None), "oss://b")
    assert (finding.check, finding.state, finding.fatal) == ("address", "fail", True)


class _Telling:
    """A store of which only what its filesystem tells is asked."""

    def __init__(self, endpoint, facts=None, told=None, scheme="oss"):
        self.scheme, self.filesystem = scheme, self
        self._facts, self._told = facts or ServiceFacts(endpoint), told or BucketFacts()
        self.retry = lambda url, ask: ask()

    def service_facts(self, bucket):
        return self._facts

    def bucket_facts(self, bucket):
        return self._told
