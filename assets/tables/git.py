"""What git needs to know in a clone to merge and compare the CSV files of tables projects. Light."""

from __future__ import annotations

from assets.engine.recipe import GitConfig


def git_setup() -> list[GitConfig]:
    """`Kind.git_setup`: the merge driver and text conversion that the `.gitattributes` of a project name."""
    return [
        GitConfig("merge.headwater-tables.name", "merge rows of CSV tables by primary key"),
        GitConfig("merge.headwater-tables.driver", "headwater tables merge-driver --marker-size %L %O %A %B %P"),
        GitConfig("diff.headwater-tables.textconv", "headwater tables textconv"),
    ]
