"""What the storage room makes of a store that is far away, beside its own single steps and beside the bare client.

    python benchmarks/storage.py --json storage.json

The store is rclone's S3 server, which checks signatures, behind a proxy that adds 20 ms to each request and lets
40 MB/s through each connection, about what one connection to a real object store gives. Each repetition runs both
sides of a pair, one after the other, so that what else the machine does meets both; what is judged is the median of
the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pai_train.storage import Access, ByteRange, Limits, StorageOptions, Stores  # noqa: E402
from tests.servers.process import HOST, free_port, serving  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pai_train.storage import Store

LIMITS = Limits(parallel=8, part_bytes=4 * 2**20)
KEYS = {"AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench", "AWS_DEFAULT_REGION": "us-east-1"}
BUCKET = "bench"
BIG_BYTES = 64 * 2**20
SMALL, SMALL_BYTES = 1000, 256 * 1000
LISTED = 10_000


@dataclass(frozen=True)
class Result:
    """Ratios of seconds, one per repetition, and the medians that they are made of."""

    case: str
    median: float
    low: float
    high: float
    bound: str
    kept: bool
    seconds: float
    other_seconds: float
    repetitions: int


class Bare:
    """The client below the room, used with as many requests at once and nothing else; opened once, as the room's is."""

    def __init__(self, endpoint: str, stack: ExitStack) -> None:
        from aiobotocore.config import AioConfig
        from aiobotocore.session import get_session

        # The server gives the checksum of the whole object with a range of it.
        config = AioConfig(response_checksum_validation="when_required")
        self._runner = stack.enter_context(asyncio.Runner())
        opened = get_session().create_client("s3", endpoint_url=endpoint, config=config)
        self._client = self._runner.run(opened.__aenter__())
        stack.callback(lambda: self._runner.run(opened.__aexit__(None, None, None)))

    def big(self) -> int:
        """Reads the big object in ranges, and puts them together."""
        part = LIMITS.part_bytes
        ranges = [f"bytes={start}-{min(start + part, BIG_BYTES) - 1}" for start in range(0, BIG_BYTES, part)]
        return len(b"".join(self._runner.run(self._get("big", ranges))))

    def listing(self) -> int:
        """Lists the folder."""
        return self._runner.run(self._list())

    async def _get(self, key: str, ranges: list[str]) -> list[bytes]:
        free = asyncio.Semaphore(LIMITS.parallel)

        async def one(span: str) -> bytes:
            async with free:
                answer = await self._client.get_object(Bucket=BUCKET, Key=key, Range=span)
                return await answer["Body"].read()

        return list(await asyncio.gather(*[one(span) for span in ranges]))

    async def _list(self) -> int:
        found = []
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="listed/")
        async for page in pages:
            found += [(item["Key"], item["Size"], item["ETag"]) for item in page["Contents"]]
        return len(found)


def one_stream(store: Store) -> int:
    """Reads the big object with one request after another on one connection."""
    url, part = f"s3://{BUCKET}/big", LIMITS.part_bytes
    return sum(len(store.read(url, start, start + part)) for start in range(0, BIG_BYTES, part))


def in_parallel(store: Store) -> int:
    """Reads the big object in parallel ranges."""
    return len(store.read(f"s3://{BUCKET}/big", 0, BIG_BYTES))


def one_by_one(store: Store) -> int:
    """Reads the small objects one after another."""
    return sum(len(store.read(f"s3://{BUCKET}/small/{number:05}")) for number in range(SMALL))


def many(store: Store) -> int:
    """Reads the small objects together."""
    wanted = (ByteRange(f"s3://{BUCKET}/small/{number:05}") for number in range(SMALL))
    return sum(len(data) for data in store.read_many(wanted))


def compare(
    case: str, ours: Callable[[], int], other: Callable[[], int], wanted: int, repetitions: int, *, at_most: float
) -> Result:
    """Measures pairs; the ratio is ours over the other's."""

    def seconds(work: Callable[[], int]) -> float:
        begin = time.perf_counter()
        got = work()
        if got != wanted:
            raise RuntimeError(f"{case}: {got} instead of {wanted}")
        return time.perf_counter() - begin

    pairs = [(seconds(ours), seconds(other)) for _ in range(repetitions)]
    ratios = [mine / theirs for mine, theirs in pairs]
    median = statistics.median(ratios)
    return Result(
        case=case,
        median=median,
        low=min(ratios),
        high=max(ratios),
        bound=f"at most {at_most:.2f}",
        kept=median <= at_most,
        seconds=statistics.median(mine for mine, _ in pairs),
        other_seconds=statistics.median(theirs for _, theirs in pairs),
        repetitions=repetitions,
    )


def fill(folder: Path) -> None:
    """Puts one big object, many small ones and a folder to list, as the files that the server shows."""
    (folder / "small").mkdir(parents=True)
    (folder / "listed").mkdir()
    (folder / "big").write_bytes(os.urandom(BIG_BYTES))
    block = os.urandom(SMALL_BYTES)
    for number in range(SMALL):
        (folder / "small" / f"{number:05}").write_bytes(number.to_bytes(4) + block[4:])
    for number in range(LISTED):
        (folder / "listed" / f"{number:05}").write_bytes(b"1")


@contextmanager
def far_away(delay_ms: float, rate_mb: float) -> Iterator[str]:
    """Starts the store and the proxy before it, and yields the proxy's address."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder, server, proxy = Path(name), free_port(), free_port()
        fill(folder / "objects" / BUCKET)
        rclone = [str(Path(sys.prefix) / "bin" / "rclone"), "serve", "s3", "--addr", f"{HOST}:{server}"]
        rclone += ["--auth-key", ",".join(list(KEYS.values())[:2]), "--vfs-cache-mode", "off", "--config", ""]
        stack.enter_context(serving([*rclone, str(folder / "objects")], server, folder / "rclone.log"))
        delay = [sys.executable, "-m", "benchmarks.delay", "--port", str(proxy), "--to", str(server)]
        delay += ["--delay-ms", str(delay_ms), "--rate-mb", str(rate_mb)]
        stack.enter_context(serving(delay, proxy, folder / "proxy.log", env={"PYTHONPATH": str(ROOT)}))
        yield f"http://{HOST}:{proxy}"


def measured(endpoint: str, times: int, stack: ExitStack) -> Iterator[Result]:
    """Measures one case after another."""
    store = Stores(StorageOptions({"s3": Access(endpoint=endpoint)}, LIMITS)).open("s3://")
    bare, small_bytes = Bare(endpoint, stack), SMALL * SMALL_BYTES
    in_parallel(store), bare.big()  # connections and byte code
    yield compare(
        "64 MiB in parallel / in one stream",
        lambda: in_parallel(store),
        lambda: one_stream(store),
        BIG_BYTES,
        times,
        at_most=1 / 2.5,
    )
    yield compare(
        "64 MiB in parallel / by aiobotocore alone", lambda: in_parallel(store), bare.big, BIG_BYTES, times, at_most=1.3
    )
    yield compare(
        "10,000 objects listed / by aiobotocore alone",
        lambda: len(store.list(f"s3://{BUCKET}/listed")),
        bare.listing,
        LISTED,
        times,
        at_most=1.2,
    )
    yield compare(
        "1,000 objects of 256 KB together / one by one",
        lambda: many(store),
        lambda: one_by_one(store),
        small_bytes,
        times,
        at_most=1 / 5,
    )


def main() -> int:
    """Measures, prints and checks every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the results there")
    parser.add_argument("--repetitions", type=int, default=5, help="at least 5")
    parser.add_argument("--delay-ms", type=float, default=20)
    parser.add_argument("--rate-mb", type=float, default=40, help="MB per second and connection; 0 for no bound")
    options = parser.parse_args()
    if options.repetitions < 5:
        parser.error("at least 5 repetitions")
    os.environ.update(KEYS)
    results = []
    with far_away(options.delay_ms, options.rate_mb) as endpoint, ExitStack() as stack:
        for result in measured(endpoint, options.repetitions, stack):
            print(
                f"{result.case:<46} {result.median:.2f} ({result.low:.2f} to {result.high:.2f}, "
                f"{result.repetitions} pairs, {result.seconds:.2f} s beside {result.other_seconds:.2f} s), "
                f"wanted {result.bound}: {'kept' if result.kept else 'MISSED'}",
                flush=True,
            )
            results.append(result)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
