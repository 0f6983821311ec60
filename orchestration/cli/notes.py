"""`headwater notes …`: the commands of the notes kind, by what they are for. Light: each loads when it is named."""

from __future__ import annotations

from orchestration.cli.app import group

LAZY: dict[str, str] = {
    "init": "orchestration.cli.notes_store:init",
    "new": "orchestration.cli.notes_write:new",
    "capture": "orchestration.cli.notes_write:capture",
    "edit": "orchestration.cli.notes_write:edit",
    "update": "orchestration.cli.notes_write:update",
    "mv": "orchestration.cli.notes_move:mv",
    "rm": "orchestration.cli.notes_move:rm",
    "merge": "orchestration.cli.notes_move:merge",
    "attach": "orchestration.cli.notes_meta:attach",
    "value": "orchestration.cli.notes_meta:value",
    "verify": "orchestration.cli.notes_meta:verify",
    "custom": "orchestration.cli.notes_meta:custom",
    "show": "orchestration.cli.notes_read:show",
    "list": "orchestration.cli.notes_read:list_",
    "search": "orchestration.cli.notes_read:search",
    "inbox": "orchestration.cli.notes_read:inbox",
    "tags": "orchestration.cli.notes_read:tags",
    "stats": "orchestration.cli.notes_read:stats",
    "context": "orchestration.cli.notes_context:context",
    "export": "orchestration.cli.notes_export:export",
    "related": "orchestration.cli.notes_graph:related",
    "links": "orchestration.cli.notes_graph:links",
    "backlinks": "orchestration.cli.notes_graph:backlinks",
    "tree": "orchestration.cli.notes_walk:tree",
    "path": "orchestration.cli.notes_walk:path",
    "link": "orchestration.cli.notes_link:link",
    "doctor": "orchestration.cli.notes_doctor:doctor",
    "journal": "orchestration.cli.notes_journal:journal",
    "index": "orchestration.cli.notes_store:index",
    "relayout": "orchestration.cli.notes_store:relayout",
    "sync": "orchestration.cli.notes_store:sync",
    "pack": "orchestration.cli.notes_share:pack",
    "unpack": "orchestration.cli.notes_share:unpack",
    "merge-driver": "orchestration.cli.notes_git:merge_driver",
}
"""Command -> where it is, as `package.module:object`."""

SECTIONS: dict[str, tuple[str, ...]] = {
    "Start": ("init",),
    "Write": ("new", "capture", "edit", "update", "mv", "rm", "merge", "attach", "value", "verify", "custom"),
    "Read": ("show", "list", "search", "inbox", "tags", "stats", "related", "context", "export"),
    "Links": ("link", "links", "backlinks", "tree", "path"),
    "Keep": ("doctor", "journal", "index", "relayout", "sync", "pack", "unpack"),
    "For git": ("merge-driver",),
}
"""The headings of `--help`; a command that is not there yet is left out."""


@group(
    "notes", lazy=LAZY, sections={heading: tuple(name for name in names if name in LAZY) for heading, names in SECTIONS.items()}
)
def notes() -> None:
    """Notes as linked Markdown: search, follow and mend them; the files are the truth, the index is derived.

    Commands work on the notes store around the current folder, else on the only one of the workspace; --store names another, or
    any folder of Markdown.
    """
