"""`headwater query`: SQL over the workspace catalog and the Parquet files that were built, read-only and confined.

Opening and confining DuckDB and running one statement belong here; what the catalog holds is `assets.workspace.catalog`, how rows
are printed `orchestration.cli.rows`.

The query runs in a DuckDB in memory with the catalog attached read-only. Before it starts, access to files is limited to the
workspace's root and the Parquet files of the views, extensions and network are off, and the settings are locked. DuckDB would
still write where it may read (`COPY … TO`), so only a single SELECT, or an EXPLAIN of one, is accepted.
"""

from __future__ import annotations

import contextlib
import math
import re
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from orchestration.cli.app import App, command, counted, pass_app
from schemas.errors import HeadwaterError, UsageError

if TYPE_CHECKING:
    import duckdb

    from resources.workspace import Workspace

FORMATS = ("table", "csv", "json")
MEMORY_LIMIT: Final = "1GiB"
_BATCH = 1000
_WATCH_EVERY = 0.1
"""Seconds between looks at the clock and at signals while a query runs."""
_EXPLAIN = re.compile(r"\s*EXPLAIN\s+(?:ANALYZE\s+)?(?:\([^()]*\)\s*)?", re.IGNORECASE)
_LISTS_VIEWS = re.compile(r"\b(?:show|describe|duckdb_\w+|information_schema|pg_catalog|sqlite_master)\b", re.IGNORECASE)


@command("query")
@click.argument("sql", required=False)
@click.option("--format", "style", type=click.Choice(FORMATS), default="table", show_default=True, help="How rows are printed.")
@click.option("--limit", type=click.IntRange(min=0), default=1000, show_default=True, help="Rows to print at most; 0 prints all.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Give up after this long; 0 never.",
)
@pass_app
def query(app: App, sql: str | None, style: str, limit: int, timeout: float) -> None:
    """Ask the workspace in SQL: lineage, findings, and the rows of every store.

    SQL is one SELECT (`-` reads it from stdin); without it the tables and views are listed. The catalog is brought up to date
    first. Rows of a store are views named store.table, such as shop.customer.
    """
    if sql == "-":
        sql = sys.stdin.read()
    catalog = refreshed_catalog(app)
    with opened(app.workspace(), catalog, sql) as connection:
        if sql is None or not sql.strip():
            _list_relations(app, connection)
            return
        check_statement(sql)
        _run(app, connection, sql, "json" if app.json else style, limit, timeout)


def refreshed_catalog(app: App) -> Path:
    """The catalog file on this machine, built when it is missing or stale; where the workspace cannot be written to, in the
    user's cache folder. Raises the error of a build that failed."""
    from assets.engine.model import Policy, Ref
    from assets.engine.places import WORKSPACE_KIND, WORKSPACE_STORE

    engine, workspace = app.engine(), app.workspace()
    ref = Ref(WORKSPACE_KIND, WORKSPACE_STORE, "catalog")
    if str(engine.status([str(ref)])[0].freshness) != "fresh":
        outcome = engine.build_one(ref, Policy(), None)
        if isinstance(outcome.error, HeadwaterError) and outcome.error.rule == "workspace-read-only":
            app.note("the workspace cannot be written to; this asks a catalog that was built beside it")
            return engine.readable(ref).paths[0]
        if outcome.error is not None:
            raise outcome.error
    if workspace.state.local_root is not None:
        return workspace.state.local_root / "catalog.duckdb"
    record = engine.provenance(ref)
    if record is None:
        raise HeadwaterError("the catalog has no provenance", fix="run `headwater build` first", rule="catalog-missing")
    return _fetched(workspace, record.outputs[0].oid, ".duckdb")


def _fetched(workspace: Workspace, oid: str, suffix: str) -> Path:
    """An object as a local file of this machine, kept by its oid for as long as it is used now and then."""
    from assets.engine.scratch import scratch_path, trim_copies, used_copy

    target = workspace.local / "query" / (oid.replace(":", "-") + suffix)
    if not target.exists():
        partial = scratch_path(target.parent, target.name)
        workspace.objects.fetch(oid, partial)
        partial.replace(target)
        trim_copies(target.parent)
    used_copy(target)
    return target


@contextlib.contextmanager
def opened(workspace: Workspace, catalog: Path, sql: str | None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A confined connection with the catalog's tables and those of its views that `sql` may mean (all for None).

    The current folder is the workspace's root meanwhile, so that relative paths in SQL start there.
    """
    import duckdb

    from schemas.sql_quoting import quote, text_literal

    root = workspace.root.local_root
    with contextlib.ExitStack() as stack:
        if root is not None:
            stack.enter_context(contextlib.chdir(root))
        connection = stack.enter_context(duckdb.connect(":memory:"))
        connection.execute(f"ATTACH {text_literal(str(catalog))} AS workspace_catalog (READ_ONLY)")
        for (name,) in connection.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = 'workspace_catalog' ORDER BY table_name"
        ).fetchall():
            connection.execute(f"CREATE VIEW main.{quote(name)} AS FROM workspace_catalog.main.{quote(name)}")
        files = _create_views(connection, workspace, sql)
        for statement in (
            f"SET memory_limit = '{MEMORY_LIMIT}'",
            "SET temp_directory = ''",
            f"SET allowed_paths = [{', '.join(text_literal(str(path)) for path in files)}]",
            f"SET allowed_directories = [{text_literal(f'{root}/') if root is not None else ''}]",
            "SET enable_external_access = false",
            "SET lock_configuration = true",
        ):
            connection.execute(statement)
        yield connection


def _create_views(connection: duckdb.DuckDBPyConnection, workspace: Workspace, sql: str | None) -> list[Path]:
    """Make the views over Parquet files that lie here; returns their files. Reading a footer costs a millisecond: hence `sql`."""
    from schemas.sql_quoting import quote, text_literal

    everything = sql is None or _LISTS_VIEWS.search(sql) is not None
    mentioned = "" if sql is None else sql.lower().replace('""', '"')
    files = []
    for schema, view, path, oid in connection.execute('SELECT "schema", "view", path, oid FROM views ORDER BY ALL').fetchall():
        if not everything and (schema.lower() not in mentioned or view.lower() not in mentioned):
            continue
        file = _present(workspace, path, oid)
        if file is None:
            continue
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}")
        connection.execute(f"CREATE VIEW {quote(schema)}.{quote(view)} AS FROM read_parquet({text_literal(str(file))})")
        files.append(file)
    return files


def _present(workspace: Workspace, path: str, oid: str) -> Path | None:
    """The Parquet file of a view on this machine, None when it was deleted since it was built."""
    folder = workspace.state.local_root
    if folder is not None:
        return folder / path if (folder / path).is_file() else None
    return _fetched(workspace, oid, ".parquet") if workspace.objects.has(oid) else None


def check_statement(sql: str) -> None:
    """Raise UsageError unless `sql` is one SELECT or an EXPLAIN of one."""
    import duckdb

    try:
        statements = duckdb.extract_statements(sql)
        if len(statements) == 1 and statements[0].type == duckdb.StatementType.EXPLAIN:
            explain = _EXPLAIN.match(sql)
            statements = duckdb.extract_statements(sql[explain.end() :]) if explain else []
    except duckdb.Error as error:
        raise _sql_error(error) from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise UsageError(
            "only a single SELECT is run: the catalog is read-only",
            fix="change text and build again; DuckDB itself can open .headwater/catalog.duckdb for anything else",
            rule="query-select-only",
        )


def _run(app: App, connection: duckdb.DuckDBPyConnection, sql: str, style: str, limit: int, timeout: float) -> None:
    import duckdb

    from orchestration.cli.rows import printer

    finished = threading.Event()
    deadline = time.monotonic() + (timeout or math.inf)

    def watch() -> None:
        # A signal that arrives while DuckDB is busy may be lost in it, so being stopped is looked for as well as lateness.
        while not finished.wait(_WATCH_EVERY):
            if app.stopped or time.monotonic() > deadline:
                connection.interrupt()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        connection.execute(sql)
        columns = [str(column[0]) for column in connection.description or []]
        show = printer(app, style, columns)
        printed, more = 0, False
        while batch := connection.fetchmany(_BATCH):
            room = len(batch) if not limit else max(limit - printed, 0)
            show.rows(batch[:room])
            printed += min(room, len(batch))
            more = room < len(batch)
            if more:
                break
        show.end()
    except (duckdb.InterruptException, RuntimeError):
        app.raise_if_stopped()
        if time.monotonic() <= deadline:
            raise
        raise HeadwaterError(
            f"the query took longer than {timeout:g} s",
            fix="narrow it, or pass --timeout SECONDS (0 for no limit)",
            rule="query-timeout",
        ) from None
    except duckdb.Error as error:
        raise _sql_error(error) from None
    finally:
        finished.set()
        watcher.join()
    if more:
        app.note(f"only the first {counted(printed, 'row')}; --limit 0 prints all")


def _sql_error(error: Exception) -> HeadwaterError:
    text = str(error).strip()
    if "disabled by configuration" in text or type(error).__name__ == "PermissionException":
        return HeadwaterError(text.splitlines()[0], fix="read files inside the workspace only", rule="query-confined")
    fix = "`headwater query` without SQL lists what there is"
    if type(error).__name__ == "CatalogException":
        fix += "; the rows of a store are there once it has been built: `headwater build`"
        if re.search(r"name (notes|nodes|edges) does not exist", text):
            fix = 'notes are the tables nodes and edges of their store, such as "fieldnotes".nodes; ' + fix
    return HeadwaterError(text, fix=fix, rule="query-sql")


def _list_relations(app: App, connection: Any) -> None:
    """Every table and view with its columns."""
    found = connection.execute(
        "SELECT table_schema, table_name, list(column_name ORDER BY ordinal_position) FROM information_schema.columns "
        "WHERE table_catalog = 'memory' GROUP BY table_schema, table_name "
        "ORDER BY table_schema <> 'main', table_schema, table_name"
    ).fetchall()
    rows = []
    for schema, name, columns in found:
        full = name if schema == "main" else f"{schema}.{name}"
        app.emit({"schema": schema, "name": name, "columns": columns})
        rows.append([app.style(full, "bold"), ", ".join(columns)])
    app.table(rows)
