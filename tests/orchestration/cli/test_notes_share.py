"""`notes pack|unpack`: a store as one file, byte for byte."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.cli.notes_work import (
    ALPHA,
    A,
    B,
    C,
    Pipe,
    Run,
    checkout,
    pipe,
    store,
    tree,
    vault,
    write_files,
)

__all__ = ["checkout", "pipe", "store", "vault"]


def packed(path: Path) -> dict[str, bytes]:
    """The files of a pack."""
    records = [json.loads(line) for line in path.read_text().splitlines()][1:-1]
    return {
        record["path"]: record["text"].encode() if "text" in record else base64.b64decode(record["base64"]) for record in records
    }


def write_pack(path: Path, files: list[dict[str, Any]], head: dict[str, Any] | None = None, *, end: bool = True) -> None:
    """A pack of our own making, right in everything but what a test gets wrong."""
    from schemas.oid import bytes_oid, json_oid

    lines: list[dict[str, Any]] = [{"format": "headwater-notes-pack", "version": 1, **(head or {})}]
    oids = []
    for file in files:
        oid = bytes_oid(file["text"].encode())
        oids.append([file["path"], oid])
        lines.append({"path": file["path"], "oid": oid, "text": file["text"]})
    if end:
        lines.append({"end": True, "files": len(files), "digest": json_oid(oids)})
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


@pytest.fixture
def other(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A second, empty project."""
    from tests.orchestration.cli.notes_work import git

    root = tmp_path / "other"
    root.mkdir()
    git(root, "init", "-q")
    return root


def test_case_51_and_83_a_store_comes_back_byte_for_byte(
    store: Path, other: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write_files(
        store,
        {".qipu/notes/deep/er/crlf.md": "\ufeff---\r\nid: x-1\r\n---\r\n\r\n[[qp-aaaa]]\r\n", ".qipu/templates/t.md": "T\n"},
    )
    (store / ".qipu/attachments").mkdir()
    (store / ".qipu/attachments/pic.png").write_bytes(b"\x89\0\xff")
    (store / ".qipu/notes/latin.md").write_bytes(b"caf\xe9\n")
    ran = run("notes", "pack", "-o", tmp_path / "p.jsonl")
    assert (ran.code, ran.out.startswith(f"wrote {tmp_path / 'p.jsonl'}: 8 files")) == (0, True), ran
    assert run("notes", "pack", "-o", tmp_path / "again.jsonl").code == 0
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "p.jsonl").read_bytes()
    monkeypatch.chdir(other)
    ran = run("notes", "unpack", tmp_path / "p.jsonl", "--settings")
    assert ran.code == 0, ran
    there, here = tree(other), tree(store)
    ours = {path: data for path, data in here.items() if path != ".qipu/.gitignore"}
    assert {path: there[path] for path in ours} == ours


def test_a_pack_is_never_written_over_a_file(store: Path, run: Run) -> None:
    assert run("notes", "pack").code == 0
    made = next(store.glob("*.notes.jsonl"))
    made.write_text("mine")
    ran = run("notes", "pack", "--json")
    assert (ran.code, ran.records[-1]["error"]["rule"]) == (1, "output-exists")
    assert made.read_text() == "mine"
    assert run("notes", "pack", "--force", "--json").records[-1]["files"] == 4
    assert run("notes", "pack", "-o", "no/such/folder/x").code == 2
    assert not list(store.rglob("*.tmp"))


def test_case_55_a_tag_brings_its_notes_and_follows_links_only_when_asked(store: Path, run: Run, tmp_path: Path) -> None:
    def notes(*options: str) -> set[str]:
        assert run("notes", "pack", *options, "-o", tmp_path / "p", "--force").code == 0
        return set(packed(tmp_path / "p"))

    a, b, c = (path.removeprefix(".qipu/") for path in (A, B, C))
    assert notes("--tag", "x") == {a}
    assert notes("--tag", "none-such") == set()
    assert notes("qp-cccc") == {c}
    assert notes("qp-cccc", "--hops", "1") == {a, b, c}
    assert notes("qp-bbbb", "--hops", "1", "--typed-only", "--type", "refines") == {b}
    assert notes("qp-bbbb", "--hops", "1", "--typed-only") == {a, b}
    assert notes("qp-aaaa", "--hops", "1", "--typed-only") == {a}
    assert notes("qp-aaaa", "--hops", "9", "--inline-only") == {a, b}
    assert run("notes", "pack", "--typed-only", "--inline-only").code == 2


def test_chosen_notes_bring_their_attachments(store: Path, run: Run, tmp_path: Path) -> None:
    files = {".qipu/attachments/a.png": "A", ".qipu/attachments/b.png": "B", ".qipu/notes/p.md": "![a](../attachments/a.png)\n"}
    write_files(store, files)
    assert run("notes", "pack", "notes/p.md", "-o", tmp_path / "p").code == 0
    assert set(packed(tmp_path / "p")) == {"notes/p.md", "attachments/a.png"}
    assert run("notes", "pack", "notes/p.md", "--no-attachments", "-o", tmp_path / "q").code == 0
    assert set(packed(tmp_path / "q")) == {"notes/p.md"}


@pytest.mark.parametrize("strategy", ["skip", "overwrite", "merge-links"])
def test_case_52_what_happens_to_a_note_that_is_here(store: Path, run: Run, tmp_path: Path, strategy: str) -> None:
    theirs = ALPHA.replace("title: Alpha", "title: Theirs").replace("extra:", "links: [{type: refines, id: qp-cccc}]\nextra:")
    write_pack(tmp_path / "p", [{"path": "notes/elsewhere.md", "text": theirs}, {"path": "notes/new.md", "text": "new\n"}])
    ran = run("notes", "unpack", tmp_path / "p", "--strategy", strategy)
    assert ran.code == 0, ran
    assert (store / ".qipu/notes/new.md").read_text() == "new\n"
    assert not (store / ".qipu/notes/elsewhere.md").exists(), "the note keeps its place"
    text = (store / A).read_text()
    if strategy == "skip":
        assert text == ALPHA
    elif strategy == "overwrite":
        assert text == theirs
    else:
        assert "title: Alpha   # the first" in text
        assert "tags: [x, 'y']" in text
        assert "refines" in text


def test_overwriting_keeps_a_copy_of_what_git_does_not_have(store: Path, run: Run, tmp_path: Path) -> None:
    (store / A).write_text(ALPHA + "unsaved thoughts\n")
    write_pack(tmp_path / "p", [{"path": A.removeprefix(".qipu/"), "text": ALPHA.replace("Alpha", "Omega")}])
    assert run("notes", "unpack", tmp_path / "p", "--strategy", "overwrite").code == 0
    assert [path.read_text() for path in (store / "headwater-rescue").glob("*.md")] == [ALPHA + "unsaved thoughts\n"]


@pytest.mark.parametrize(
    "path",
    [
        "../out.md",
        "/etc/out.md",
        "notes/../../out.md",
        "a\0b.md",
        "C:/x.md",
        "notes/a\\b.md",
        ".git/hooks/x",
        ".qipu/x.md",
        "CON.md",
    ],
)
def test_case_53_nothing_leaves_the_store(store: Path, run: Run, tmp_path: Path, path: str) -> None:
    write_pack(tmp_path / "p", [{"path": "notes/fine.md", "text": "x"}, {"path": path, "text": "x"}])
    before = tree(tmp_path)
    ran = run("notes", "unpack", tmp_path / "p", "--json")
    assert ran.code in (1, 2, 3), ran
    assert ran.records[-1]["error"]["rule"] != "internal"
    assert {name: data for name, data in tree(tmp_path).items() if ".headwater" not in name} == {
        name: data for name, data in before.items() if ".headwater" not in name
    }


def test_case_54_a_newer_pack_is_refused(store: Path, run: Run, tmp_path: Path) -> None:
    write_pack(tmp_path / "p", [], {"version": 2})
    assert run("notes", "unpack", tmp_path / "p").code == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "other", "binary"])
def test_a_damaged_pack_writes_nothing(store: Path, run: Run, tmp_path: Path, damage: str) -> None:
    write_pack(tmp_path / "p", [{"path": "notes/fine.md", "text": "x"}], end=damage != "cut")
    texts = {"empty": b"", "garbage": b"no pack\n", "other": b'{"format": "something"}\n', "binary": b"\0\xff" * 100}
    if damage in texts:
        (tmp_path / "p").write_bytes(texts[damage])
    before = tree(store)
    ran = run("notes", "unpack", tmp_path / "p", "--json")
    assert ran.code in (1, 3), ran
    assert ran.records[-1]["error"]["rule"] != "internal"
    assert tree(store) == before


def test_a_pack_goes_through_a_pipe(store: Path, other: Path, run: Run, pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.orchestration.cli.conftest import program

    made = program("notes", "pack", "-o", "-", cwd=store)
    assert made.returncode == 0
    monkeypatch.chdir(other)
    pipe(made.stdout)
    ran = run("notes", "unpack", "-", "--json")
    assert ran.code == 0, ran
    assert {record["path"] for record in ran.records if record.get("change")} >= {A, B, C}
    assert (other / A).read_bytes() == (store / A).read_bytes()


def test_a_dry_run_unpacks_nothing(store: Path, run: Run, tmp_path: Path) -> None:
    write_pack(tmp_path / "p", [{"path": "notes/new.md", "text": "new\n"}])
    before = tree(store)
    ran = run("notes", "unpack", tmp_path / "p", "--dry-run")
    assert (ran.code, "+new" in ran.out) == (0, True)
    assert tree(store) == before


def test_unpacking_needs_a_file(store: Path, run: Run) -> None:
    assert run("notes", "unpack").code == 2
    assert run("notes", "unpack", "no-such-file").code == 2
    assert run("notes", "unpack", ".qipu").code == 2
