"""The workspace as a Dagster resource: typed configuration that returns the plain object, so that nothing below knows Dagster.

The engine is made from it in `assets.engine.definitions`; no other resource belongs here until a kind needs one that has settings
of its own.
"""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from resources.workspace import Workspace, open_workspace


class WorkspaceResource(dg.ConfigurableResource[Workspace]):
    """The workspace that a run works on."""

    root: str | None = Field(
        default=None,
        description="A folder or URL; HEADWATER_ROOT where unset, else the workspace around the current folder.",
    )

    def create_resource(self, context: dg.InitResourceContext) -> Workspace:
        """The workspace itself. Raises UsageError when there is no such folder."""
        return open_workspace(self.root)
