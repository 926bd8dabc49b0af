"""What the catalog knows, for other programs: JSON, CSV, or the index files of mediastruct. Names of any bytes."""

import base64
import csv
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from io import StringIO
from typing import Any, Literal

from indexer.contents import Entry

Format = Literal["json", "csv", "mediastruct"]


def named(path: bytes) -> dict[str, str]:
    """A path for JSON: "path", readable, and where it is no UTF-8 "path_b64", its bytes in base64, as well."""
    try:
        return {"path": path.decode()}
    except UnicodeDecodeError:
        return {"path": path.decode(errors="replace"), "path_b64": base64.b64encode(path).decode()}


def exported(entries: Iterable[Entry], form: Format) -> Iterator[str]:
    """The lines of an export of `entries`; all of them together are the file."""
    writers = {"json": _json, "csv": _csv, "mediastruct": _mediastruct}
    return writers[form](entries)


def _json(entries: Iterable[Entry]) -> Iterator[str]:
    """An array, one object a line."""
    yield "["
    before = ""
    for entry in entries:
        yield before + json.dumps(_fields(entry))
        before = ","
    yield "]"


def _fields(entry: Entry) -> dict[str, Any]:
    return {
        **named(entry.path),
        "size": entry.size,
        "xxh3_128": entry.hash.hex() if entry.hash else None,
        "mtime_ns": entry.mtime_ns,
        "device": entry.dev,
        "inode": entry.ino % (1 << 64),
        "links": entry.nlink,
    }


def _csv(entries: Iterable[Entry]) -> Iterator[str]:
    columns = ("path", "path_b64", "size", "xxh3_128", "mtime_ns", "device", "inode", "links")
    yield _csv_line(columns)
    for entry in entries:
        fields = _fields(entry)
        yield _csv_line([fields.get(column) for column in columns])


def _csv_line(values: Iterable[object]) -> str:
    line = StringIO()
    # With its own end of line it knows that a line break in a name has to be quoted.
    csv.writer(line).writerow(["" if value is None else value for value in values])
    return line.getvalue().removesuffix("\r\n")


def _mediastruct(entries: Iterable[Entry]) -> Iterator[str]:
    """One object by UUID, with the bytes in all as "du" among them; its hashes are xxh3-128 and not xxh64.

    The UUID follows from the path, so the same file has the same one each time. Only files whose hash is known.
    """
    total = 0
    yield "{"
    for entry in entries:
        if entry.hash is None:
            continue
        total += entry.size
        key = uuid.uuid5(uuid.NAMESPACE_URL, base64.b64encode(entry.path).decode())
        fields = {
            "filehash": entry.hash.hex(),
            "path": os.fsdecode(entry.path),
            "filesize": entry.size,
            "year": f"{datetime.fromtimestamp(entry.mtime_ns / 1e9):%Y}",
        }
        yield f"{json.dumps(str(key))}: {json.dumps(fields)},"
    yield f'"du": {total}}}'
