"""What git needs to know in a clone to merge the manifests of versioned data. Light."""

from __future__ import annotations

from assets.engine.recipe import GitConfig


def git_setup() -> list[GitConfig]:
    """`Kind.git_setup`: the merge driver that the `.gitattributes` of a repository names."""
    from resources.dvs.init import MERGE_SETTINGS

    return [GitConfig(name, value) for name, value in MERGE_SETTINGS]
