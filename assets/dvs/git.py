"""What git needs to know in a clone to merge the manifests of versioned data. Light."""

from __future__ import annotations

from assets.engine.recipe import GitConfig


def git_setup() -> list[GitConfig]:
    """`Kind.git_setup`: the merge driver that the `.gitattributes` of a repository names."""
    return [
        GitConfig("merge.dvs-lock.name", "merge manifests of versioned data file by file"),
        GitConfig("merge.dvs-lock.driver", "headwater dvs merge-driver %O %A %B %P"),
    ]
