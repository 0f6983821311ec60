"""The event log Headwater ships: one SQLite file behind a connection that stays open.

Dagster's default keeps a SQLite file per run, opens a connection per event and waits for the disk at each commit; measured on two
cores that is 84 ms per asset of a run against 22 ms here (`benchmarks/dagster_overhead.py`). Nothing is lost by the weaker
`synchronous=NORMAL`: the event log is derived, a power cut at worst takes its last events, and provenance holds them.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as db
from dagster import StringSource
from dagster._core.storage.event_log import ConsolidatedSqliteEventLogStorage
from dagster._core.storage.event_log.polling_event_watcher import SqlPollingEventWatcher
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from dagster._serdes import ConfigurableClassData
from sqlalchemy.pool import QueuePool

from resources.locks import file_lock

FILE = "event_log.db"


class PooledSqliteEventLogStorage(ConsolidatedSqliteEventLogStorage):
    """Dagster's consolidated SQLite event log with a pool of connections, write-ahead log and `synchronous=NORMAL`.

    The database is made under another name and renamed when it is whole, so that a process killed in between leaves nothing that
    a later one would take for it.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engine: db.Engine | None = None
        self._engine_process: int | None = None
        self._engine_lock = threading.Lock()
        self._watcher: SqlPollingEventWatcher | None = None
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"base_dir": StringSource}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PooledSqliteEventLogStorage:
        return cls(inst_data=inst_data, **config_value)

    def _init_db(self) -> None:
        folder = Path(self._base_dir)
        with file_lock(folder, "event log"):
            if self._file.exists():
                return
            unfinished = folder / "event_log_new.db"
            for leftover in folder.glob("event_log_new.db*"):
                leftover.unlink()
            final = self._conn_string
            self._conn_string = create_db_conn_string(self._base_dir, "event_log_new")
            try:
                super()._init_db()  # type: ignore[no-untyped-call]  # Dagster's storages are not annotated
            finally:
                self._close_engine()
                self._conn_string = final
            connection = sqlite3.connect(unfinished)
            try:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                connection.close()
            unfinished.replace(self._file)

    @property
    def _file(self) -> Path:
        return Path(self._base_dir) / FILE

    @property
    def _pool(self) -> db.Engine:
        """The engine of this process: SQLite connections must not cross a fork."""
        with self._engine_lock:
            if self._engine is None or self._engine_process != os.getpid():
                self._engine = db.create_engine(
                    self._conn_string,
                    poolclass=QueuePool,
                    pool_size=4,
                    max_overflow=28,
                    connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
                )
                db.event.listen(self._engine, "connect", _set_up)
                self._engine_process = os.getpid()
            return self._engine

    def _close_engine(self) -> None:
        with self._engine_lock:
            if self._engine is not None and self._engine_process == os.getpid():
                self._engine.dispose()
            self._engine = None

    @contextmanager
    def _connect(self) -> Iterator[db.Connection]:
        with self._pool.connect() as connection, connection.begin():
            yield connection

    def has_table(self, table_name: str) -> bool:
        with self._pool.connect() as connection:
            return bool(connection.dialect.has_table(connection, table_name))

    # The parent watches the database file, but with a write-ahead log it does not change until a checkpoint.
    def watch(self, run_id: str, cursor: str | None, callback: Any) -> None:
        if self._watcher is None:
            self._watcher = SqlPollingEventWatcher(self)
        self._watcher.watch_run(run_id, cursor, callback)

    def end_watch(self, run_id: str, handler: Any) -> None:
        if self._watcher is not None:
            self._watcher.unwatch_run(run_id, handler)

    def dispose(self) -> None:
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        self._close_engine()


def _set_up(connection: sqlite3.Connection, record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
