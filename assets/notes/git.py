"""What git needs to know in a clone to merge notes. Light."""

from __future__ import annotations

from assets.engine.recipe import GitConfig

ATTRIBUTES = ("notes/**/*.md merge=headwater-notes", "mocs/**/*.md merge=headwater-notes")
"""The lines of a store's own `.gitattributes` that say where the merge driver applies."""


def git_setup() -> list[GitConfig]:
    """`Kind.git_setup`: the merge driver that the `.gitattributes` of a store names."""
    return [
        GitConfig("merge.headwater-notes.name", "merge notes: tags and links as sets, the text line by line"),
        GitConfig("merge.headwater-notes.driver", "headwater notes merge-driver --marker-size %L %O %A %B %P"),
    ]
