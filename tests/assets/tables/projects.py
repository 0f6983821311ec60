"""Small tables projects on disk, and running one recipe's body on them through a real view."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assets.engine.model import Store
from assets.engine.recipe import Recipe, Summary
from assets.engine.view import RoleInput, Scratch, View
from assets.tables.parquet import build as build_parquet
from assets.tables.recipes import DATA, PARQUET
from resources.storage.local import LocalStorage
from schemas.oid import file_oid, json_oid


def write_project(
    folder: Path,
    tables: Mapping[str, Any],
    rows: Mapping[str, str | bytes],
    relationships: Mapping[str, Any] | None = None,
    **top: Any,
) -> Path:
    """A project in `folder`: tables and relationships as in `project.yaml` (JSON is YAML), rows as the text of each CSV file."""
    folder.mkdir(parents=True, exist_ok=True)
    tree = {"version": 1, **top, "tables": tables, "relationships": relationships or {}}
    (folder / "project.yaml").write_text(json.dumps(tree, indent=1, ensure_ascii=False), encoding="utf-8")
    (folder / "data").mkdir(exist_ok=True)
    for name, text in rows.items():
        data = text if isinstance(text, bytes) else text.encode("utf-8")
        (folder / "data" / f"{name}.csv").write_bytes(data)
    return folder


def table(columns: Mapping[str, str | Mapping[str, Any]], key: Sequence[str] = ("id",), **more: Any) -> dict[str, Any]:
    """A table as in `project.yaml`; a column given as text is its type."""
    typed = {name: {"type": column} if isinstance(column, str) else column for name, column in columns.items()}
    return {"columns": typed, **({"primary_key": list(key)} if key else {}), **more}


def link(child: str, columns: str | Sequence[str], parent: str, to: str | Sequence[str] = "id", **more: Any) -> dict[str, Any]:
    """A relationship as in `project.yaml`."""
    down, up = ([names] if isinstance(names, str) else list(names) for names in (columns, to))
    return {"from": {"table": child, "columns": down}, "to": {"table": parent, "columns": up}, **more}


def view_of(folder: Path, fetched: Path, upstream: Mapping[str, Sequence[Path]] | None = None) -> View:
    """The view a build of the project in `folder` would get."""
    fetched.mkdir(parents=True, exist_ok=True)
    files = {"project": [folder / "project.yaml"], "data": sorted(folder.glob(DATA.include[0]))}
    roles = {}
    for role, paths in files.items():
        found = tuple((path.relative_to(folder).as_posix(), file_oid(path), path.stat().st_size) for path in paths)
        roles[role] = RoleInput(json_oid(found), enumerate_files=lambda found=found: found)  # type: ignore[misc]  # bound now
    store = Store("tables", "test", "")
    return View(LocalStorage(folder, state=fetched / "state"), store, roles, fetched, upstream or {})


def build(recipe: Recipe, folder: Path, work: Path) -> tuple[Path, Summary]:
    """Run the recipe's body; returns the first output's path and the summary."""
    scratch = Scratch(work / recipe.name)
    upstream: dict[str, list[Path]] = {}
    if any(declared.artifact == PARQUET.name for declared in recipe.inputs):
        below = Scratch(work / "upstream")
        build_parquet(view_of(folder, work / "fetched"), below, {})
        upstream["rows"] = [below.path("parquet")]
    view = view_of(folder, work / "fetched", upstream)
    summary: Summary = recipe.body.load()(view, scratch, {})
    view.verify()
    return scratch.path(recipe.outputs[0].path), summary
