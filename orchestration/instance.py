"""The Dagster instance of a workspace: where its home is, the settings it is given, and opening it.

Light at import: `build` asks `is_lost` on its unchanged path, before anything has imported Dagster.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg

    from resources.workspace import Workspace

MARK = "# Written by Headwater; remove this line to keep your own settings."
SETTINGS = f"""{MARK}
# All of this folder is derived: delete it, and the next `headwater build` reports everything again from provenance.
telemetry:
  enabled: false
# No invitation to subscribe over every page.
nux:
  enabled: false

# One pooled SQLite file; see orchestration/event_log.py.
event_log_storage:
  module: orchestration.event_log
  class: PooledSqliteEventLogStorage
  config:
    base_dir:
      env: DAGSTER_HOME

# Recipes print nothing, and capturing would swallow the progress display of `headwater build`.
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager

# Step events are recorded either way; on the console of `headwater ui` they would bury what matters.
python_logs:
  python_log_level: WARNING

run_monitoring:
  enabled: true
  start_timeout_seconds: 180
  poll_interval_seconds: 60

retention:
  schedule:
    purge_after_days: 30
  sensor:
    purge_after_days:
      skipped: 2
      failure: 30
      success: 30
  auto_materialize:
    purge_after_days:
      skipped: 2
      failure: 30
      success: 30
"""


def dagster_home(workspace: Workspace) -> Path:
    """DAGSTER_HOME where it is set, else `.headwater/local/dagster` of the workspace."""
    configured = os.environ.get("DAGSTER_HOME")
    return Path(configured).expanduser().absolute() if configured else workspace.local / "dagster"


def is_lost(workspace: Workspace) -> bool:
    """Whether the workspace's Dagster home holds no event log, so that everything has to be reported again."""
    home = dagster_home(workspace)
    settings = home / "dagster.yaml"
    if settings.exists() and not _is_ours(settings):
        return False
    return not (home / "event_log.db").exists()


def prepare_home(workspace: Workspace) -> Path:
    """Make the home with our settings; returns it.

    A `dagster.yaml` that somebody else wrote is left alone.
    """
    home = dagster_home(workspace)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists() or (_is_ours(settings) and settings.read_text("utf-8") != SETTINGS):
        fresh = settings.with_suffix(f".{os.getpid()}.new")
        fresh.write_text(SETTINGS, "utf-8")
        fresh.replace(settings)
    return home


@contextmanager
def open_instance(workspace: Workspace) -> Iterator[dg.DagsterInstance]:
    """The workspace's instance; while it is open, the environment names its home, for our settings and for child processes.

    A damaged database of our own is put aside and begun anew, because nothing in it is authoritative.
    """
    home = prepare_home(workspace)
    with _environment(DAGSTER_HOME=str(home), DAGSTER_DISABLE_TELEMETRY="1"):
        instance = _opened_or_renewed(workspace, home)
        try:
            yield instance
        finally:
            instance.dispose()


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """The environment with these values, as it was before afterwards: the next workspace of this process has a home of its
    own."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _opened_or_renewed(workspace: Workspace, home: Path) -> dg.DagsterInstance:
    from sqlalchemy.exc import DatabaseError, OperationalError

    try:
        return _made(home) if is_lost(workspace) else _opened(home)
    except DatabaseError as error:
        # A database that is locked or out of space is not damaged; one without its tables is.
        busy = isinstance(error, OperationalError) and "no such table" not in str(error)
        if busy or not _is_ours(home / "dagster.yaml"):
            raise
        _put_aside(home)
        return _made(home)


def _made(home: Path) -> dg.DagsterInstance:
    """The instance of a new home; one process at a time makes its databases."""
    from resources.locks import file_lock

    with file_lock(home, "new home"):
        return _opened(home)


def _opened(home: Path) -> dg.DagsterInstance:
    """The instance, after one query to each database: SQLite notices a damaged file only when it reads it."""
    import dagster as dg

    instance = dg.DagsterInstance.from_config(str(home))
    try:
        instance.get_runs_count()
        instance.event_log_storage.get_maximum_record_id()
        instance.get_asset_records([])
    except BaseException:
        instance.dispose()
        raise
    return instance


def _put_aside(home: Path) -> None:
    damaged = home / "damaged"
    damaged.mkdir(exist_ok=True)
    for name in ("event_log.db", "history", "schedules"):
        for path in home.glob(f"{name}*"):
            target = damaged / path.name
            _remove(target)
            path.replace(target)


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_ours(settings: Path) -> bool:
    return settings.read_text("utf-8", errors="replace").startswith(MARK)
