"""Ad-hoc stores: a folder that a command names as a store although no marker and no `headwater.toml` says so.

For that one command the workspace is treated as if its configuration named the store. That it was only ever named is kept in
machine state, so that later commands do not miss it. Light.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from assets.engine.discovery import store_name
from resources.config import StoreConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from resources.workspace import Workspace

_FORMAT = 1


def with_store(workspace: Workspace, kind: str, root: str, settings: Mapping[str, Any] | None = None) -> tuple[Workspace, str]:
    """The workspace with one more store of `kind` in the folder `root` ('' for the workspace's own), and the store's name."""
    name = store_name(root)
    number = 1
    while name in workspace.config.stores:  # the name of another store, maybe of another kind
        number += 1
        name = f"{store_name(root)}-{number}"
    stores = {**workspace.config.stores, name: StoreConfig(name, kind, root, dict(settings or {}))}
    _remember(workspace, kind, name)
    return replace(workspace, config=replace(workspace.config, stores=stores)), name


def named_before(workspace: Workspace) -> set[tuple[str, str]]:
    """(kind, name) of the stores that commands have named."""
    try:
        record = json.loads((workspace.local / "named.json").read_bytes())
        return {(str(kind), str(name)) for kind, name in record["stores"]} if record["format"] == _FORMAT else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _remember(workspace: Workspace, kind: str, name: str) -> None:
    known = named_before(workspace)
    if (kind, name) in known:
        return
    with suppress(OSError):  # a workspace that cannot be written to can still be read
        from resources.storage.local import LocalStorage

        record = json.dumps({"format": _FORMAT, "stores": sorted([*known, (kind, name)])}).encode()
        LocalStorage(workspace.local, state=workspace.local).write("named.json", record)
