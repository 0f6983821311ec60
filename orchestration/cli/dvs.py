"""`headwater dvs …`: the commands of versioned data, by what they are for. Light: each loads when it is named."""

from __future__ import annotations

from orchestration.cli.app import group

LAZY: dict[str, str] = {
    "init": "orchestration.cli.dvs_init:init",
    "config": "orchestration.cli.dvs_init:config",
    "local-config": "orchestration.cli.dvs_init:local_config",
    "add": "orchestration.cli.dvs_add:add",
    "rm": "orchestration.cli.dvs_add:rm",
    "mv": "orchestration.cli.dvs_add:mv",
    "rehash": "orchestration.cli.dvs_add:rehash",
    "get": "orchestration.cli.dvs_get:get",
    "materialize": "orchestration.cli.dvs_get:materialize",
    "status": "orchestration.cli.dvs_get:status",
    "push": "orchestration.cli.dvs_sync:push",
    "pull": "orchestration.cli.dvs_sync:pull",
    "sync": "orchestration.cli.dvs_sync:sync",
    "doctor": "orchestration.cli.dvs_doctor:doctor",
    "verify": "orchestration.cli.dvs_keep:verify",
    "audit": "orchestration.cli.dvs_keep:audit",
    "gc": "orchestration.cli.dvs_gc:gc",
    "trash": "orchestration.cli.dvs_gc:trash",
    "repack": "orchestration.cli.dvs_gc:repack",
    "log": "orchestration.cli.dvs_history:log",
    "show": "orchestration.cli.dvs_history:show",
    "rollback": "orchestration.cli.dvs_history:rollback",
    "undo": "orchestration.cli.dvs_history:undo",
    "diff": "orchestration.cli.dvs_explain:diff",
    "why": "orchestration.cli.dvs_explain:why",
    "report": "orchestration.cli.dvs_report:report",
    "import-dvs": "orchestration.cli.dvs_import:import_dvs",
    "import-dvc": "orchestration.cli.dvs_import:import_dvc",
    "import-lfs": "orchestration.cli.dvs_import:import_lfs",
    "import-url": "orchestration.cli.dvs_import:import_url",
    "merge-repo": "orchestration.cli.dvs_import:merge_repo",
    "serve": "orchestration.cli.dvs_serve:serve",
    "token": "orchestration.cli.dvs_serve:token",
    "merge-driver": "orchestration.cli.dvs_git:merge_driver",
}
"""Command -> where it is, as `package.module:object`."""

SECTIONS: dict[str, tuple[str, ...]] = {
    "Start": ("init", "import-dvs", "import-dvc", "import-lfs", "import-url", "merge-repo"),
    "Files": ("add", "get", "materialize", "rm", "mv", "status"),
    "Share": ("push", "pull", "sync", "remote", "serve", "token"),
    "History": ("log", "show", "diff", "rollback", "undo", "why", "report"),
    "Keep": ("doctor", "verify", "gc", "trash", "repack", "rehash", "audit"),
    "Settings": ("config", "local-config"),
    "For git": ("merge-driver",),
}
"""The headings of `--help`; a command that is not there yet is left out."""


@group("dvs", lazy=LAZY, sections={heading: tuple(name for name in names if name in LAZY) for heading, names in SECTIONS.items()})
def dvs() -> None:
    """Large and sensitive files beside git: small text in the repository, bytes in a storage that cannot lose them.

    Commands work on the repository around the current folder; --store names the folder of another. Paths are relative to the
    current folder, or to --root.
    """
