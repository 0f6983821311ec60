"""What the dvs kind adds to Dagster: what its report shows, the working tree and the remotes as things that are looked at and
never built, checks of the data, jobs that push, pull, collect and read back, and the sensors that tell of changes.

The artifacts themselves come from the shared factory in `assets.engine.definitions`. `external` names and describes what is
looked at, `checks`, `jobs` and `sensors` are called after what they make. Nothing of a working tree is ever an artifact.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assets.engine.definitions.additions import Additions, Setting
    from assets.engine.model import Outcome, Store
    from resources.workspace import Workspace

SAMPLE_FACTS: Mapping[str, Any] = {"working_tree": True, "remotes": {"NAME": ""}}
"""What `facts` may find, for the reference that is generated."""


def present(store: Store, outcome: Outcome) -> Mapping[str, Any]:
    """Extra metadata of a materialization: the row count that Dagster plots over time, the share of bytes that equal files
    save."""
    counts = outcome.summary.get("counts", {})
    shown: dict[str, Any] = {}
    if "files" in counts:
        shown["dagster/row_count"] = counts["files"]
    if counts.get("bytes"):
        shown["saved by equal files (%)"] = round(100 * (1 - counts["object bytes"] / counts["bytes"]), 2)
    return shown


_KNOWN_REMOTES: dict[tuple[str, str], tuple[Hashable, dict[str, str]]] = {}
"""(workspace, folder of the repository) -> what its remotes were looked up from, and the remotes."""


def facts(workspace: Workspace, store: Store) -> dict[str, Any]:
    """What the definitions of a store follow from: whether its working tree is on this machine, and its remotes with where they
    are. A store whose text cannot be read has none; its checks say why."""
    remotes: dict[str, str] = {}
    if store.present:
        prefix = f"{store.root}/" if store.root else ""
        stats = [workspace.root.stat(prefix + name) for name in ("dvs.lock", ".dvs/config.toml")]
        signatures = tuple(None if stat is None else stat.signature for stat in stats)
        key = (workspace.root.url, store.root)
        known = _KNOWN_REMOTES.get(key)
        if known is None or known[0] != signatures:
            # A manifest can be large, and `headwater ui` asks every few seconds.
            known = _KNOWN_REMOTES[key] = (signatures, _remotes(workspace, store.root))
        remotes = known[1]
    return {"working_tree": workspace.root_folder is not None, "remotes": dict(remotes)}


def _remotes(workspace: Workspace, root: str) -> dict[str, str]:
    """Name and place of every remote."""
    from assets.dvs.states import shown_place
    from resources.dvs.opening import open_repo
    from resources.dvs.sync import resolved_remotes
    from schemas.errors import HeadwaterError

    try:
        repo = open_repo(workspace, root)
        try:
            return {one.name: shown_place(one.url) for one in resolved_remotes(repo)}
        finally:
            repo.close()
    except (HeadwaterError, OSError):
        return {}


def additions(setting: Setting) -> Additions:
    """The assets, checks, jobs, schedules and sensors of all stores of versioned data. Reads nothing."""
    from assets.dvs.definitions.checks import data_checks
    from assets.dvs.definitions.external import specs
    from assets.dvs.definitions.jobs import jobs, schedules
    from assets.dvs.definitions.sensors import sensors
    from assets.engine.definitions.additions import Additions

    external = [spec for store in setting.stores for spec in specs(store, setting)]
    made = jobs({spec.key for spec in external})
    return Additions(
        specs=external,
        checks=[data_checks(store, setting.kind) for store in setting.stores],
        jobs=list(made.values()),
        schedules=schedules(made, setting.crons),
        sensors=sensors(),
    )
