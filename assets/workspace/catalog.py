"""The workspace catalog: lineage and the records of every kind as tables of one DuckDB file.

What is in it is a function of the text and of what provenance says was built from it; how current that is (fresh, stale) changes
without either and is asked of `headwater status`. Building, dumping and comparing belong here.

Views over Parquet files are rows of the table `views`, made into real ones by `headwater query`: DuckDB binds a view when it is
created, so a stored one would need every file present while the catalog is built, and would hold this machine's paths.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from blake3 import blake3

from assets.engine.recipe import Place, Summary
from resources.duckdb_writing import saying_what_failed
from resources.storage.base import Storage
from schemas.errors import HeadwaterError, InputChanged
from schemas.findings import Finding
from schemas.ids import escape_name
from schemas.oid import bytes_oid
from schemas.sql_quoting import quote, text_literal

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from assets.engine.view import Member, Scratch, View

Columns = Sequence[tuple[str, str]]
TABLES: Final[dict[str, tuple[Columns, str]]] = {
    "stores": (
        (("kind", "VARCHAR"), ("store", "VARCHAR"), ("root", "VARCHAR")),
        "Stores of the workspace and the folder of each.",
    ),
    "sources": (
        (
            ("kind", "VARCHAR"),
            ("store", "VARCHAR"),
            ("source", "VARCHAR"),
            ("root", "VARCHAR"),
            ("files", "BIGINT"),
            ("bytes", "BIGINT"),
        ),
        "Sources with their Merkle root.",
    ),
    "files": (
        (
            ("kind", "VARCHAR"),
            ("store", "VARCHAR"),
            ("source", "VARCHAR"),
            ("path", "VARCHAR"),
            ("oid", "VARCHAR"),
            ("size", "BIGINT"),
        ),
        "Authoritative files, by workspace-relative path.",
    ),
    "artifacts": (
        (
            ("kind", "VARCHAR"),
            ("store", "VARCHAR"),
            ("artifact", "VARCHAR"),
            ("output_digest", "VARCHAR"),
            ("fingerprint", "VARCHAR"),
            ("recipe_version", "BIGINT"),
            ("code_version", "VARCHAR"),
            ("files", "BIGINT"),
            ("bytes", "BIGINT"),
        ),
        "Artifacts that have been built, as provenance records them.",
    ),
    "outputs": (
        (
            ("kind", "VARCHAR"),
            ("store", "VARCHAR"),
            ("artifact", "VARCHAR"),
            ("place", "VARCHAR"),
            ("path", "VARCHAR"),
            ("oid", "VARCHAR"),
            ("size", "BIGINT"),
        ),
        "Files of artifacts; `path` starts at `place` (the store's folder or the artifacts folder).",
    ),
    "provenance": (
        (
            ("kind", "VARCHAR"),
            ("store", "VARCHAR"),
            ("artifact", "VARCHAR"),
            ("role", "VARCHAR"),
            ("input", "VARCHAR"),
            ("digest", "VARCHAR"),
        ),
        "Edges: which source or artifact, at which digest, an artifact was built from.",
    ),
    "counts": (
        (("kind", "VARCHAR"), ("store", "VARCHAR"), ("artifact", "VARCHAR"), ("name", "VARCHAR"), ("value", "BIGINT")),
        "What each artifact's build counted, such as tables and rows.",
    ),
    "findings": (
        (
            ("kind", "VARCHAR"),
            ("store", "VARCHAR"),
            ("rule", "VARCHAR"),
            ("severity", "VARCHAR"),
            ("path", "VARCHAR"),
            ("line", "BIGINT"),
            ("column", "BIGINT"),
            ("message", "VARCHAR"),
            ("fix", "VARCHAR"),
            ("value", "VARCHAR"),
        ),
        "Problems in the text, as `headwater check` lists them.",
    ),
    "views": (
        (
            ("schema", "VARCHAR"),
            ("view", "VARCHAR"),
            ("kind", "VARCHAR"),
            ("store", "VARCHAR"),
            ("artifact", "VARCHAR"),
            ("path", "VARCHAR"),
            ("oid", "VARCHAR"),
        ),
        "The views that `headwater query` offers over Parquet files, and the file behind each, relative to `.headwater/`.",
    ),
}
"""The catalog's own tables: columns and one sentence each. Tables of a kind are named `<kind>_<table>`."""

_RESERVED_SCHEMAS = ("main", "temp", "system", "catalog", "information_schema", "pg_catalog")


def recognise(storage: Storage, marker_path: str) -> str | None:
    """No folder is a workspace store: the one there is needs no marker."""
    return None


def check(storage: Storage, root: str) -> list[Finding]:
    """The workspace as such has no text; `headwater.toml` is checked when it is opened."""
    return []


def build(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    """Write `catalog.duckdb`. The summary counts the rows per table; its digest is that of the canonical dump."""
    import duckdb

    sources, artifacts = view.everything("sources"), view.everything("artifacts")
    rows = _rows(sources, artifacts)
    with saying_what_failed(), duckdb.connect(str(scratch.path("catalog.duckdb"))) as connection:
        for name, (columns, comment) in TABLES.items():
            declared = ", ".join(f"{quote(column)} {kind}" for column, kind in columns)
            connection.execute(f"CREATE TABLE {quote(name)} ({declared})")
            connection.execute(f"COMMENT ON TABLE {quote(name)} IS {text_literal(comment)}")
            _insert(connection, name, [column for column, _ in columns], sorted(rows[name], key=_row_key))
        for name, table in _kind_tables(view.storage, sources).items():
            connection.register("incoming", table)
            connection.execute(f"CREATE TABLE {quote(name)} AS SELECT * FROM incoming ORDER BY ALL")
            connection.unregister("incoming")
        counts = {name: _count(connection, name) for name in _tables(connection)}
        digest = _dump_digest(connection)
        connection.execute("CHECKPOINT")
        return Summary(counts=counts, digest=digest)


def content_digest(path: Path) -> str:
    """The digest of the canonical dump of a catalog on disk, equal to the summary's digest of the build that made it."""
    import duckdb

    with duckdb.connect(str(path), read_only=True) as connection:
        return _dump_digest(connection)


def _rows(sources: Sequence[Member], artifacts: Sequence[Member]) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of the catalog's own tables."""
    rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in TABLES}
    stores = {(member.store.kind, member.store.name): member.store for member in (*sources, *artifacts)}
    rows["stores"] = [(kind, name, store.root) for (kind, name), store in stores.items()]
    for member in sources:
        kind, store, source = member.ref.kind, member.ref.store, member.ref.name
        total = sum(file.size for file in member.files)
        rows["sources"].append((kind, store, source, member.digest, len(member.files), total))
        prefix = f"{member.store.root}/" if member.store.root else ""
        rows["files"] += [(kind, store, source, prefix + file.path, file.oid, file.size) for file in member.files]
        rows["findings"] += [(kind, store, *_finding_cells(finding)) for finding in member.findings]
    for member in artifacts:
        _artifact_rows(member, rows)
    rows["views"] = _view_rows(artifacts)
    return rows


def _finding_cells(finding: Finding) -> tuple[Any, ...]:
    return (
        finding.rule,
        str(finding.severity),
        finding.path,
        finding.line,
        finding.column,
        finding.message,
        finding.fix,
        finding.value,
    )


def _artifact_rows(member: Member, rows: dict[str, list[tuple[Any, ...]]]) -> None:
    record = member.provenance
    if record is None:
        return
    key = (member.ref.kind, member.ref.store, member.ref.name)
    total = sum(output.size for output in record.outputs)
    rows["artifacts"].append(
        (*key, record.output_digest, record.fingerprint, record.recipe_version, record.code_version, len(record.outputs), total)
    )
    rows["outputs"] += [(*key, str(output.place), output.path, output.oid, output.size) for output in record.outputs]
    rows["provenance"] += [(*key, role, entry.ref, entry.digest) for role, entry in record.inputs.items()]
    counts = record.summary.get("counts", {})
    rows["counts"] += [(*key, name, value) for name, value in counts.items() if isinstance(value, int)]


def _view_rows(artifacts: Sequence[Member]) -> list[tuple[Any, ...]]:
    """One view per Parquet file that provenance lists: its schema is the store, its name the file or the artifact.

    DuckDB compares names without regard to case, so a name that is taken gets a number; the order is that of the artifacts.
    """
    schemas: dict[str, tuple[str, str]] = {}
    taken: dict[str, set[str]] = {}
    rows: list[tuple[Any, ...]] = []
    for member in sorted(artifacts, key=lambda member: member.ref):
        record = member.provenance
        if record is None:
            continue
        files = [output for output in record.outputs if output.place is Place.ARTIFACTS and output.path.endswith(".parquet")]
        owner = (member.ref.kind, member.ref.store)
        for output in sorted(files):
            schema = next((name for name, holder in schemas.items() if holder == owner), None)
            if schema is None:
                schema = _free(member.ref.store, {*map(str.lower, schemas), *_RESERVED_SCHEMAS})
                schemas[schema] = owner
            views = taken.setdefault(schema, set())
            name = _free(PurePosixPath(output.path).stem, views)
            views.add(name.lower())
            path = f"artifacts/{member.ref.kind}/{escape_name(member.ref.store)}/{output.path}"
            rows.append((schema, name, *owner, member.ref.name, path, output.oid))
    return rows


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 2
    while name.lower() in taken:
        name, number = f"{wanted}_{number}", number + 1
    return name


def _kind_tables(storage: Storage, sources: Sequence[Member]) -> dict[str, pa.Table]:
    """The small records of every store, joined per kind and table, with the store's name as first column.

    A store whose text cannot be read has none; why is in `findings`.
    """
    import pyarrow as pa

    stores: dict[tuple[str, str], dict[str, str]] = {}
    first: dict[tuple[str, str], Member] = {}
    for member in sources:
        owner = (member.ref.kind, member.ref.store)
        prefix = f"{member.store.root}/" if member.store.root else ""
        stores.setdefault(owner, {}).update((prefix + file.path, file.oid) for file in member.files)
        first.setdefault(owner, member)
    collected: dict[str, list[pa.Table]] = {}
    for (kind, store), oids in sorted(stores.items()):
        member = first[kind, store]
        if member.catalog is None:
            continue
        try:
            tables = member.catalog.load()(_Verified(storage, oids), member.store.root)
        except InputChanged:
            raise
        except HeadwaterError:
            continue
        for name, table in tables.items():
            named = table.add_column(0, "store", pa.array([store] * table.num_rows, pa.string()))
            collected.setdefault(f"{kind}_{name}", []).append(named)
    return {name: pa.concat_tables(parts, promote_options="default") for name, parts in sorted(collected.items())}


class _Verified:
    """A storage that hands out only bytes whose oid the fingerprint names, so that a text edited during the build is noticed."""

    def __init__(self, storage: Storage, oids: Mapping[str, str]) -> None:
        self._storage = storage
        self._oids = oids

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def read(self, path: str, *, limit: int | None = None) -> bytes:
        data = self._storage.read(path, limit=limit)
        if self._oids.get(path, bytes_oid(data)) != bytes_oid(data):
            raise InputChanged("was changed while it was being read", path=path, rule="input-changed", fix="build again")
        return data


def _insert(connection: duckdb.DuckDBPyConnection, table: str, columns: list[str], rows: list[tuple[Any, ...]]) -> None:
    """Insert through Arrow: row-wise inserts of a large `files` table take minutes."""
    import pyarrow as pa

    if not rows:
        return
    arrays = [pa.array(column) for column in zip(*rows, strict=True)]
    connection.register("incoming", pa.table(arrays, names=columns))
    connection.execute(f"INSERT INTO {quote(table)} SELECT * FROM incoming")
    connection.unregister("incoming")


def _row_key(row: tuple[Any, ...]) -> tuple[tuple[bool, Any], ...]:
    return tuple((cell is not None, cell) for cell in row)


def _tables(connection: duckdb.DuckDBPyConnection) -> list[str]:
    found = connection.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal ORDER BY table_name").fetchall()
    return [str(name) for (name,) in found]


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    row = connection.execute(f"SELECT count(*) FROM {quote(table)}").fetchone()
    return int(row[0]) if row else 0


def _dump(connection: duckdb.DuckDBPyConnection) -> Iterator[bytes]:
    """The canonical dump: every table by name, its columns with types, then its rows in order, one JSON array per line."""
    for table in _tables(connection):
        columns = connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE {quote(table)})").fetchall()
        yield _line([table, [list(column) for column in columns]])
        cursor = connection.execute(f"SELECT * FROM {quote(table)} ORDER BY ALL")
        while batch := cursor.fetchmany(10_000):
            for row in batch:
                yield _line(list(row))


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass") + b"\n"


def _dump_digest(connection: duckdb.DuckDBPyConnection) -> str:
    hasher = blake3()
    for line in _dump(connection):
        hasher.update(line)
    return "blake3:" + hasher.hexdigest()
