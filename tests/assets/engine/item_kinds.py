"""A kind whose artifacts are sets of items and folds, for the engine's tests: cards and pages of words, and two indexes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from assets.engine.folded import Delta
from assets.engine.recipe import Input, Item, Kind, Lazy, Output, Recipe, Source, Summary
from assets.engine.view import Scratch, View
from resources.storage.base import Storage
from schemas.findings import Finding

HERE = "tests.assets.engine.item_kinds"
RUNS: list[str] = []
"""What ran, in order: `card one`, `page one`, `index folded`, `index whole`, …"""
FAIL: set[str] = set()
"""Keys whose body fails."""
HOOKS: dict[str, Any] = {}
_LOCK = threading.Lock()


def recognise(_storage: Storage, marker: str) -> str | None:
    return marker.rpartition("/")[0]


def check(_storage: Storage, _root: str) -> list[Finding]:
    return []


def items(view: View, parameters: Mapping[str, Any]) -> Iterable[Item]:
    for file in view.files("words"):
        key = file.path.removeprefix("words/").removesuffix(".txt")
        yield Item(key, file.oid, {"path": file.path})


def _ran(what: str) -> None:
    with _LOCK:
        RUNS.append(what)
    if what in HOOKS:
        HOOKS[what]()


def card(view: View, scratch: Scratch, parameters: Mapping[str, Any], item: Item) -> bytes:
    _ran(f"card {item.key}")
    if item.key in FAIL:
        raise RuntimeError(f"{item.key} cannot be made")
    return view.read("words", item.payload["path"])[::-1]


def page(view: View, scratch: Scratch, parameters: Mapping[str, Any], item: Item) -> bytes:
    _ran(f"page {item.key}")
    if item.key in FAIL:
        raise RuntimeError(f"{item.key} cannot be made")
    return b"<p>" + view.local("words", item.payload["path"]).read_bytes() + b"</p>"


def _write_index(scratch: Scratch, name: str, entries: Mapping[str, str]) -> Summary:
    scratch.path(name).write_text(json.dumps(entries, sort_keys=True), encoding="utf-8")
    return Summary(counts={"entries": len(entries)})


def index(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    _ran("index whole")
    reader = view.items("cards")
    return _write_index(scratch, "index.json", {key: reader.read(key).decode() for key in reader.keys()})  # noqa: SIM118


def index_fold(
    view: View, scratch: Scratch, parameters: Mapping[str, Any], previous: Path, delta: Mapping[str, Delta]
) -> Summary:
    _ran("index folded")
    entries = json.loads((previous / "index.json").read_text(encoding="utf-8"))
    reader, changed = view.items("cards"), delta["cards"]
    for gone in changed.removed:
        del entries[gone.path]
    for new in (*changed.added, *(file for _, file in changed.edited)):
        entries[new.path] = reader.read(new.path).decode()
    return _write_index(scratch, "index.json", entries)


def sizes(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    _ran("sizes whole")
    return _write_index(scratch, "sizes.json", {file.path: str(file.size) for file in view.files("words")})


def sizes_fold(
    view: View, scratch: Scratch, parameters: Mapping[str, Any], previous: Path, delta: Mapping[str, Delta]
) -> Summary:
    _ran("sizes folded")
    entries = json.loads((previous / "sizes.json").read_text(encoding="utf-8"))
    for gone in delta["words"].removed:
        del entries[gone.path]
    for new in (*delta["words"].added, *(file for _, file in delta["words"].edited)):
        entries[new.path] = str(new.size)
    return _write_index(scratch, "sizes.json", entries)


SHELF = Kind(
    name="shelf",
    title="Sets of words",
    sources=(Source("words", ("words/**/*.txt",), "The words."),),
    recipes=(
        Recipe(
            "cards",
            1,
            "Small results.",
            (Input("words", source="words"),),
            (Output("cards", folder=True),),
            Lazy(f"{HERE}:card"),
            items=Lazy(f"{HERE}:items"),
        ),
        Recipe(
            "pages",
            1,
            "Large results.",
            (Input("words", source="words"),),
            (Output("pages", folder=True),),
            Lazy(f"{HERE}:page"),
            items=Lazy(f"{HERE}:items"),
            item_files=True,
        ),
        Recipe(
            "index",
            1,
            "Folded over items.",
            (Input("cards", artifact="cards"),),
            (Output("index.json"),),
            Lazy(f"{HERE}:index"),
            fold=Lazy(f"{HERE}:index_fold"),
        ),
        Recipe(
            "sizes",
            1,
            "Folded over files.",
            (Input("words", source="words"),),
            (Output("sizes.json"),),
            Lazy(f"{HERE}:sizes"),
            fold=Lazy(f"{HERE}:sizes_fold"),
        ),
    ),
    markers=("shelf.txt",),
    recognise=Lazy(f"{HERE}:recognise"),
    check=Lazy(f"{HERE}:check"),
)

KINDS = {"shelf": SHELF}
