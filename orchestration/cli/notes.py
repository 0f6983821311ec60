"""`headwater notes …`: the commands of the notes kind, by what they are for. Light: each loads when it is named."""

from __future__ import annotations

from orchestration.cli.app import group

LAZY: dict[str, str] = {}
"""Command -> where it is, as `package.module:object`."""

SECTIONS: dict[str, tuple[str, ...]] = {
    "Start": ("init",),
    "Write": ("new", "capture", "edit", "update", "mv", "rm", "merge", "attach", "value", "verify", "custom"),
    "Read": ("show", "list", "search", "inbox", "tags", "related", "context", "export"),
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
