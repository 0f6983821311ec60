"""A small kind of store for the engine's tests: `letters.txt` marks a store, its words are made upper case, counted, listed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from assets.engine.model import Difference
from assets.engine.recipe import Confirm, Input, Kind, Lazy, Output, Place, Recipe, Setting, Source, Summary
from assets.engine.view import Scratch, View
from resources.storage.base import Storage
from schemas.errors import Refused
from schemas.findings import Finding, Severity, found, rule
from schemas.oid import bytes_oid

HERE = "tests.assets.engine.kinds"
BAD_WORD = rule("letters-bad-word", Severity.ERROR, "A word of the tests that blocks a build.")

RUNS: list[str] = []
"""The names of the bodies that ran, in order."""
HOOKS: dict[str, Any] = {}
"""Functions a test puts into a body: name of the recipe -> called with the view before anything is written."""


def recognise(storage: Storage, marker: str) -> str | None:
    data = storage.read(marker)
    return marker.rpartition("/")[0] if data.startswith(b"letters") else None


def check(storage: Storage, root: str) -> list[Finding]:
    RUNS.append("check")
    prefix = f"{root}/" if root else ""
    findings = []
    for stat in storage.scan(f"{prefix}words".rstrip("/")):
        if b"bad" in storage.read(stat.path):
            findings.append(found(BAD_WORD, stat.path, "holds a bad word", line=1))
    return findings


def _start(name: str, view: View) -> None:
    RUNS.append(name)
    if name in HOOKS:
        HOOKS[name](view)


def upper(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    _start("upper", view)
    texts = [view.read("words", file.path).decode() for file in view.files("words")]
    made = parameters["separator"].join(texts).upper()
    scratch.path("upper.txt").write_text(made, encoding="utf-8")
    return Summary(counts={"characters": len(made)})


def pair(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    _start("pair", view)
    text = view.artifact("upper").read_text(encoding="utf-8")
    scratch.path("pair/first.txt").write_text(text[:3], encoding="utf-8")
    scratch.path("pair/rest.txt").write_text(text[3:], encoding="utf-8")
    return Summary(counts={"files": 2})


def length(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    _start("length", view)
    total = sum(len(view.local("words", file.path).read_bytes()) for file in view.files("words"))
    scratch.path("length.json").write_text(json.dumps(total), encoding="utf-8")
    return Summary()


def double(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    _start("double", view)
    scratch.path("double.json").write_text(str(2 * int(view.artifact("length").read_text())), encoding="utf-8")
    return Summary()


def database(view: View, scratch: Scratch, parameters: Mapping[str, Any]) -> Summary:
    _start("database", view)
    with closing(sqlite3.connect(scratch.path("words.db"))) as connection, connection:
        connection.execute("CREATE TABLE word (path TEXT PRIMARY KEY, text TEXT)")
        for file in view.files("words"):
            connection.execute("INSERT INTO word VALUES (?, ?)", (file.path, view.read("words", file.path).decode()))
    return Summary()


def database_content(path: Path) -> str:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return bytes_oid("\n".join(connection.iterdump()).encode())


def database_preview(view: View, paths: list[Path]) -> Difference:
    texts = {file.path: view.read("words", file.path).decode() for file in view.files("words")}
    try:
        with closing(sqlite3.connect(f"file:{paths[0]}?mode=ro", uri=True)) as connection:
            equal = dict(connection.execute("SELECT path, text FROM word").fetchall()) == texts
    except sqlite3.Error:
        equal = False
    return Difference(f"{len(texts)} rows will be recreated", [path.name for path in paths], equal=equal)


def database_free(path: Path) -> None:
    if path.with_name("in-use").exists():
        raise Refused("is in use", path=path.name, rule="output-in-use", fix="close it")
    for suffix in ("-wal", "-journal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


LETTERS = Kind(
    name="letters",
    title="Words made upper case",
    sources=(
        Source("words", ("words/**/*.txt",), "The words.", exclude=("words/**/draft-*.txt",)),
        Source("notes", ("notes.md",), "Notes nothing is built from."),
    ),
    recipes=(
        Recipe(
            "pair", 1, "Two files.", (Input("upper", artifact="upper"),), (Output("pair", folder=True),), Lazy(f"{HERE}:pair")
        ),
        Recipe(
            "upper",
            1,
            "Upper case.",
            (Input("words", source="words"),),
            (Output("upper.txt", Place.STORE),),
            Lazy(f"{HERE}:upper"),
            libraries=("blake3",),
            parameters=("separator",),
        ),
        Recipe("length", 1, "Total length.", (Input("words", source="words"),), (Output("length.json"),), Lazy(f"{HERE}:length")),
        Recipe("double", 1, "Twice.", (Input("length", artifact="length"),), (Output("double.json"),), Lazy(f"{HERE}:double")),
        Recipe(
            "database",
            1,
            "A database.",
            (Input("words", source="words"),),
            (Output("words.db", Place.STORE),),
            Lazy(f"{HERE}:database"),
            confirm=Confirm.ALWAYS,
            content=Lazy(f"{HERE}:database_content"),
            preview=Lazy(f"{HERE}:database_preview"),
            before_replace=Lazy(f"{HERE}:database_free"),
        ),
    ),
    markers=("letters.txt",),
    recognise=Lazy(f"{HERE}:recognise"),
    check=Lazy(f"{HERE}:check"),
    settings=(Setting("separator", "|", "What stands between two words."),),
)

KINDS = {"letters": LETTERS}
