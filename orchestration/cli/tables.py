"""`headwater tables …`: the commands of the tables kind, by what they are for. Light: each loads when it is named."""

from __future__ import annotations

from orchestration.cli.app import group

_STORE = "orchestration.cli.tables_store"
_READ = "orchestration.cli.tables_read"
_WRITE = "orchestration.cli.tables_write"
_HISTORY = "orchestration.cli.tables_history"
_SHARE = "orchestration.cli.tables_share"
_GIT = "orchestration.cli.tables_git"

LAZY = {
    "init": f"{_STORE}:init",
    "import": f"{_STORE}:import_",
    "check": f"{_READ}:check",
    "plan": f"{_READ}:plan",
    "diff": f"{_READ}:diff",
    "erd": f"{_READ}:erd",
    "profile": f"{_READ}:profile",
    "build": f"{_WRITE}:build",
    "export": f"{_WRITE}:export",
    "exec": f"{_WRITE}:execute",
    "shell": "orchestration.cli.tables_shell:shell",
    "history": f"{_HISTORY}:history",
    "replay": f"{_HISTORY}:replay",
    "zip": f"{_SHARE}:zip_",
    "unzip": f"{_SHARE}:unzip",
    "sheet": "orchestration.cli.tables_sheet:sheet",
    "merge-driver": f"{_GIT}:merge_driver",
    "textconv": f"{_GIT}:textconv",
}
"""Command -> where it is. The two for git are called by git, not by people."""

SECTIONS = {
    "Start": ("init", "import"),
    "See": ("check", "plan", "diff", "erd", "profile"),
    "Change": ("build", "export", "exec", "shell"),
    "History": ("history", "replay"),
    "Share": ("zip", "unzip", "sheet"),
    "For git": ("merge-driver", "textconv"),
}


@group("tables", lazy=LAZY, sections=SECTIONS)
def tables() -> None:
    """Databases as text: project.yaml and CSV files, and the SQLite, DuckDB and Parquet files built from them.

    Commands work on the tables store around the current folder, else on the only one of the workspace; name another by its name
    or folder.
    """
