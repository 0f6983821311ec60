"""A kind of store for the engine's tests that is found by a folder, keeps its index in itself and its findings in that index."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assets.engine.folded import Delta
from assets.engine.recipe import Input, Kind, Lazy, Output, Place, Recipe, Reproducibility, Setting, Source, Summary
from assets.engine.view import Scratch, View
from resources.storage.base import Storage
from schemas.findings import Finding, Severity, found, rule
from schemas.oid import json_oid

HERE = "tests.assets.engine.page_kinds"
BAD_PAGE = rule("pages-bad-page", Severity.ERROR, "A page of the tests that is wrong and yet indexed.")

RUNS: list[str] = []
"""`build`, `fold` or `findings`, in the order they ran."""


def recognise(storage: Storage, marker: str) -> str | None:
    assert storage.local_root is not None
    RUNS.append("recognise")
    return marker if (storage.local_root / marker / "on").is_dir() else None


def place(storage: Storage, root: str, settings: Mapping[str, Any]) -> Place:
    return Place.STORE if root.endswith(".pages") and not settings.get("apart") else Place.ARTIFACTS


def _finish(scratch: Scratch, pages: dict[str, str], note: str) -> Summary:
    # `note` differs between a fold and a build from nothing: equal content, other bytes.
    scratch.path("index.json").write_text(json.dumps({"pages": pages, "note": note}), "utf-8")
    return Summary(counts={"pages": len(pages)}, digest=json_oid(pages))


def build(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    RUNS.append("build")
    return _finish(scratch, {file.path: view.read("pages", file.path).decode() for file in view.files("pages")}, "built")


def fold(view: View, scratch: Scratch, parameters: Mapping[str, Any], previous: Path, delta: Mapping[str, Delta]) -> Summary:
    RUNS.append("fold")
    pages = json.loads((previous / "index.json").read_text("utf-8"))["pages"]
    changed = delta["pages"]
    for file in changed.removed:
        del pages[file.path]
    for file in [*changed.added, *(now for _, now in changed.edited)]:
        pages[file.path] = view.read("pages", file.path).decode()
    return _finish(scratch, dict(sorted(pages.items())), "folded")


def content(path: Path) -> str:
    return json_oid(json.loads(path.read_text("utf-8"))["pages"])


def findings(paths: Sequence[Path], storage: Storage, root: str, settings: Mapping[str, Any]) -> list[Finding]:
    RUNS.append("findings")
    pages = json.loads(paths[0].read_text("utf-8"))["pages"]
    prefix = f"{root}/" if root else ""
    return [found(BAD_PAGE, prefix + path, "is bad") for path, text in pages.items() if "bad" in text]


PAGES = Kind(
    name="pages",
    title="Pages found by a folder",
    sources=(Source("pages", ("**/*.page",), "The pages.", exclude=("**/.*/**",)),),
    recipes=(
        Recipe(
            "index",
            1,
            "All pages.",
            (Input("pages", source="pages"),),
            (Output("index.json", Place.STORE),),
            Lazy(f"{HERE}:build"),
            fold=Lazy(f"{HERE}:fold"),
            content=Lazy(f"{HERE}:content"),
            reproducibility=Reproducibility.DUMP_EQUAL,
            derived_by_format=True,
        ),
        Recipe("copy", 1, "The index again.", (Input("index", artifact="index"),), (Output("copy.json"),), Lazy(f"{HERE}:copy")),
    ),
    markers=(".pages",),
    folders=(".pages",),
    derived=("index.json*", ".kept/**"),
    recognise=Lazy(f"{HERE}:recognise"),
    place=Lazy(f"{HERE}:place"),
    findings_of="index",
    findings=Lazy(f"{HERE}:findings"),
    quarantines=True,
    settings=(Setting("apart", False, "Whether the index lies apart from the pages."),),
)

KINDS = {"pages": PAGES}


def copy(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    RUNS.append("copy")
    scratch.path("copy.json").write_bytes(content(view.artifact("index")).encode())
    return Summary()
