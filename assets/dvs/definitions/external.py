"""The working tree and the remotes of a repository as external assets: how they are named, what they show, and telling Dagster
of them.

They are looked at and never built. What they are now is found in `assets.dvs.states`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.engine.definitions.additions import Observed, Setting, news
from assets.engine.definitions.keys import group_of, owners_of, source_key
from assets.engine.model import Ref, Store
from resources.dvs.sync import age_text
from schemas.ids import escape_name
from schemas.paths import escaped

if TYPE_CHECKING:
    from assets.dvs.states import RemoteState, States, TreeState
    from assets.engine.definitions.session import BuildSession
    from resources.dvs.repo import DvsRepo

_TREE = (
    "The files as they lie in the working tree, compared with their sidecars: data version is a digest over the status of every "
    "file. Looked at, never built; `headwater dvs status` prints it."
)
_REMOTE = (
    "What the remote `{name}` is proved to hold of the objects that the manifest names, as this machine remembers it from "
    "pushes, pulls and questions. Looked at, never built; `headwater dvs push` brings what it lacks."
)


def working_tree_key(store: Store) -> dg.AssetKey:
    """`[dvs, store, 'working_tree']`."""
    return dg.AssetKey([store.kind, escape_name(store.name), "working_tree"])


def remote_key(store: Store, name: str) -> dg.AssetKey:
    """`[dvs, store, 'remote', name]`."""
    return dg.AssetKey([store.kind, escape_name(store.name), "remote", escape_name(name)])


def specs(store: Store, setting: Setting) -> list[dg.AssetSpec]:
    """The external assets of a store: its working tree where that is on this machine, and each remote that was known when the
    code location was loaded."""
    known = setting.facts.get(store.name, {})
    common: dict[str, Any] = {"group_name": group_of(store), "owners": owners_of(setting.owner)}
    tags = {"headwater/kind": store.kind}
    made = []
    if known.get("working_tree", True):
        made.append(
            dg.AssetSpec(
                working_tree_key(store),
                deps=[source_key(Ref(store.kind, store.name, "sidecars"))],
                description=_TREE,
                kinds={store.kind, "file"},
                tags=tags,
                metadata={"store": store.name, "folder": store.root or "."},
                **common,
            )
        )
    for name, place in sorted(known.get("remotes", {}).items()):
        made.append(
            dg.AssetSpec(
                remote_key(store, name),
                deps=[source_key(Ref(store.kind, store.name, "manifest"))],
                description=_REMOTE.format(name=name),
                kinds={store.kind, "remote"},
                tags=tags,
                metadata={"store": store.name, "remote": name, "place": place},
                **common,
            )
        )
    return made


@contextmanager
def opened(session: BuildSession, store: Store, *, complete: bool = False) -> Iterator[DvsRepo]:
    """The repository of a store while the block runs; with `complete` what a killed command left is finished first. Raises
    NotInitialized, InvalidText."""
    from resources.dvs.opening import open_repo
    from resources.dvs.operation import complete as finish

    workspace = session.engine.workspace
    if complete:
        workspace.recover()
    repo = open_repo(workspace, store.root)
    try:
        if complete:
            finish(repo)
        yield repo
    finally:
        repo.close()


def observed(store: Store, states: States) -> list[Observed]:
    """The working tree and the remotes of a store as Dagster takes them."""
    made = []
    if states.tree is not None:
        tree = states.tree
        made.append(Observed(working_tree_key(store), tree.version, partial(_tree_metadata, tree)))
    for remote in states.remotes:
        made.append(Observed(remote_key(store, remote.name), remote.version, partial(_remote_metadata, remote)))
    return made


def report(
    session: BuildSession,
    instance: dg.DagsterInstance,
    store: Store,
    states: States,
    defined: Collection[dg.AssetKey] | None = None,
) -> list[dg.AssetKey]:
    """Tell Dagster what has changed, by runless events; returns the assets that were reported."""
    reported = []
    for event in news(session, instance, observed(store, states), defined):
        instance.report_runless_asset_event(event)
        session.versions[event.asset_key] = (event.tags or {})["dagster/data_version"]
        reported.append(event.asset_key)
    return reported


def _tree_metadata(tree: TreeState) -> Mapping[str, Any]:
    columns = [
        dg.TableColumn("file"),
        dg.TableColumn("status"),
        dg.TableColumn("bytes", "int"),
        dg.TableColumn("kept here", "bool"),
        dg.TableColumn("oid"),
        dg.TableColumn("problem"),
    ]
    records = [
        dg.TableRecord(
            {
                "file": escaped(row.path),
                "status": str(row.status),
                "bytes": row.size,
                "kept here": row.local,
                "oid": row.oid or "",
                "problem": row.error.rule if row.error is not None else "",
            }
        )
        for row in tree.rows
    ]
    return {
        "dagster/row_count": tree.files,
        "bytes": tree.bytes,
        **tree.counts,
        "files": dg.MetadataValue.table(records, schema=dg.TableSchema(columns)),
    }


def _remote_metadata(remote: RemoteState) -> Mapping[str, Any]:
    columns = [dg.TableColumn("file"), dg.TableColumn("bytes", "int"), dg.TableColumn("oid")]
    lacking = [dg.TableRecord({"file": escaped(entry.path), "bytes": entry.bytes, "oid": entry.oid}) for entry in remote.lacking]
    metadata: dict[str, Any] = {
        "place": remote.place,
        "objects": remote.objects,
        "bytes": remote.bytes,
        "proved": remote.proved,
        "proved bytes": remote.proved_bytes,
        "not proved": remote.objects - remote.proved,
        "files not proved": dg.MetadataValue.table(lacking, schema=dg.TableSchema(columns)),
    }
    if remote.oldest is not None and remote.newest is not None:
        metadata["oldest proof"] = dg.MetadataValue.timestamp(float(remote.oldest))
        metadata["newest proof"] = dg.MetadataValue.timestamp(float(remote.newest))
        metadata["age of the oldest proof when this was reported"] = age_text(time.time() - remote.oldest)
    return metadata
