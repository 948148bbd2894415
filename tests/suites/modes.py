"""The check and stage modes in this process: what they print, what they refuse, and what lies where afterwards."""

from __future__ import annotations

import itertools

import pytest

from pai_train import compose, run
from pai_train.__main__ import main
from pai_train.errors import Refused
from pai_train.findings import PLAIN_WIDTH
from pai_train.spec.address import TableRef
from pai_train.tables.iceberg import IcebergTables


def command(served, root, *more):
    """Returns the words that name a store and a root on it."""
    return [*served.overrides, f"storage.root={root}", *more]


def put(where, files):
    """Writes files, by name below a folder."""
    for name, content in files.items():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def tree(where):
    """Returns the content of every file below a folder, by name; folders that are empty as None."""
    found = {str(path.relative_to(where)): path for path in sorted(where.rglob("*"))}
    return {
        name: path.read_bytes() if path.is_file() else None
        for name, path in found.items()
        if path.is_file() or not any(path.iterdir())
    }


def below(where, folder):
    """Returns the content of every file below a folder of a tree, by name below that folder."""
    return {name[len(folder) + 1 :]: text for name, text in tree(where).items() if name.startswith(f"{folder}/")}


def rows(table, root="data/tables", stores=None):
    """Returns the rows of a table."""
    source = IcebergTables(root, "pai_train", stores).source(TableRef("pai_train", table))
    names = source.schema.names
    batches = (batch for chunk in source.chunks() for batch in source.read(chunk, names))
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def staged(*words):
    """Runs a stage and returns what it did."""
    return run(compose(None, ["mode=stage", *words]))


def refused(*words):
    """Returns all faults of a stage that is refused."""
    with pytest.raises(Refused) as caught:
        staged(*words)
    return "\n".join(map(str, caught.value.faults))


def checked(capsys, *words):
    """Runs a check by its command and returns its exit code, the table, and what was said besides."""
    code = main(["mode=check", *words])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    assert all(len(line) <= PLAIN_WIDTH and line == line.rstrip() for line in out.splitlines()), out
    assert "\x1b" not in out
    return code, out, err


def section(out, start):
    """Returns the lines below a place, as {check: (result, words)}; a start that ends in a space is the key alone."""
    lines = out.splitlines()
    begin = next(at for at, line in enumerate(lines) if line == start or (start[-1] == " " and line.startswith(start)))
    found = {}
    name = ""
    for line in itertools.takewhile(lambda line: line.startswith("  "), lines[begin + 1 :]):
        if line[2] != " ":
            name = line[2:14].strip()
            found[name] = (line[14:20].strip(), line[20:])
        else:
            found[name] = (found[name][0], f"{found[name][1]} {line.strip()}")
    return found
