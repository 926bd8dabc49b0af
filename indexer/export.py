"""What the catalog knows, for other programs: JSON, CSV, or the index files of mediastruct. Names of any bytes."""

import base64
import csv
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from datetime import datetime
from io import StringIO
from typing import Any, Literal, NamedTuple

from indexer.contents import Entry
from indexer.mediatable import Media, RemoteContent

Format = Literal["json", "csv", "mediastruct"]


def named(path: bytes) -> dict[str, str]:
    """A path for JSON: "path", readable, and where it is no UTF-8 "path_b64", its bytes in base64, as well."""
    try:
        return {"path": path.decode()}
    except UnicodeDecodeError:
        return {"path": path.decode(errors="replace"), "path_b64": base64.b64encode(path).decode()}


class Row(NamedTuple):
    """A local file, and what is known of its content."""

    entry: Entry
    media: Media


def exported(rows: Iterable[Row], form: Format, remotes: Iterable[RemoteContent] = ()) -> Iterator[str]:
    """The lines of an export of local and then of remote files; all of them together are the file.

    Programs that read the index of mediastruct expect paths, so remote files are not in that.
    """
    if form == "mediastruct":
        return _mediastruct(row.entry for row in rows)
    fields = _all_fields(rows, remotes)
    return _json(fields) if form == "json" else _csv(fields)


def _all_fields(rows: Iterable[Row], remotes: Iterable[RemoteContent]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield _fields(row)
    for remote in remotes:
        yield _remote_fields(remote)


def _json(fields: Iterable[dict[str, Any]]) -> Iterator[str]:
    """An array, one object a line."""
    yield "["
    before = ""
    for one in fields:
        media = one["media"]
        yield before + json.dumps({**one, "media": None if media is None else json.loads(media)})
        before = ","
    yield "]"


def _fields(row: Row) -> dict[str, Any]:
    entry, media = row
    return {
        **named(entry.path),
        "size": entry.size,
        "xxh3_128": entry.hash.hex() if entry.hash else None,
        "mtime_ns": entry.mtime_ns,
        "ctime_ns": entry.ctime_ns,
        "device": entry.dev,
        "inode": entry.ino % (1 << 64),
        "links": entry.nlink,
        "taken": media.taken,
        "taken_by": media.source,
        "media": media.facts,
        "media_problem": media.problem,
    }


def _remote_fields(remote: RemoteContent) -> dict[str, Any]:
    provider, kind, ident, part = remote.key
    return {
        "provider": provider,
        "kind": kind,
        "id": ident,
        "part": part,
        "size": remote.size,
        "osdb": remote.osdb.hex() if remote.osdb else None,
        "media": remote.facts,
        "media_problem": remote.problem,
    }


def _csv(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """One line for each; media facts are JSON in their column. What does not apply is empty."""
    columns = ("path", "path_b64", "size", "xxh3_128", "mtime_ns", "ctime_ns", "device", "inode", "links", "taken",
               "taken_by", "provider", "kind", "id", "part", "osdb", "media", "media_problem")  # fmt: skip
    yield _csv_line(columns)
    for fields in rows:
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
