"""What git needs to know in a clone to merge notes. Light."""

from __future__ import annotations

from assets.engine.recipe import GitConfig
from schemas.notes.gitfiles import MERGE_DRIVER


def git_setup() -> list[GitConfig]:
    """`Kind.git_setup`: the merge driver that the `.gitattributes` of a store names."""
    return [
        GitConfig(f"merge.{MERGE_DRIVER}.name", "merge notes: tags and links as sets, the text line by line"),
        GitConfig(f"merge.{MERGE_DRIVER}.driver", "headwater notes merge-driver --marker-size %L %O %A %B %P"),
    ]
