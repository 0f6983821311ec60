"""Packing and unpacking stores: byte for byte, three strategies, nothing outside of the store; dumps of qipu's are read."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest

from resources.notes.packing import STRATEGIES, Strategy, pack_store, unpack
from resources.notes.stealth import hide
from resources.storage.local import LocalStorage
from schemas.errors import HeadwaterError, NewerFormat, Refused
from schemas.notes import edit, pack
from tests.resources.notes.stores import FilesLinker, carry_out, contents, links_of, store_of

FILES: dict[str, str | bytes] = {
    "config.toml": "version = 1\nmine = true\n",
    "templates/fleeting.md": "## Mine\n",
    "notes/qp-1-a.md": b"\xef\xbb\xbf---\r\nid: qp-1 # c\r\nvalue: 7\r\nx: {y: 1}\r\nlinks:\r\n- {type: supports, id: qp-2}\r\n"
    b"---\r\n[[qp-2]]\r\n",
    "notes/deep/er/qp-2.md": b"---\nid: qp-2\n---\n![p](../../../attachments/qp-2/p.png) \xe9",
    "mocs/qp-3.md": "---\nid: qp-3\ntype: moc\n---\n",
    "attachments/qp-2/p.png": b"\x89PNG\x00",
    "qipu.db": b"derived",
    ".cache/tags.json": b"{}",
}


def packed(*words: object, **options: object) -> bytes:
    return b"".join(pack_store(*words, **options))  # type: ignore[arg-type]  # handed on as they are


def test_case_51_and_83_store_comes_back_byte_for_byte(tmp_path: Path) -> None:
    store = store_of(tmp_path, FILES)
    data = packed(store)
    other = store_of(tmp_path, {}, root="other/.qipu")
    carry_out(other, unpack(other, io.BytesIO(data), settings=True))
    expected = {path: text for path, text in contents(store).items() if not path.startswith((".cache", "qipu.db"))}
    assert contents(other) == expected
    assert packed(other) == data
    assert unpack(other, io.BytesIO(data), settings=True).changes == []
    without = store_of(tmp_path, {}, root="third/.qipu")
    assert "config.toml" not in carry_out(without, unpack(without, io.BytesIO(data)))
    assert links_of(without)["notes/qp-1-a.md"] == links_of(store)["notes/qp-1-a.md"]


def test_case_55_some_notes_go_with_their_attachments_only(tmp_path: Path) -> None:
    store = store_of(tmp_path, {**FILES, "notes/qp-2.md": "---\nid: qp-2\n---\n![p](../attachments/qp-2/p.png)\n"})
    for linker in (None, FilesLinker(store)):
        names = list(pack.read(io.BytesIO(packed(store, ["notes/qp-2.md"], linker=linker)), "x"))
        assert names == ["attachments/qp-2/p.png", "notes/qp-2.md"]
    assert list(pack.read(io.BytesIO(packed(store, ["mocs/qp-3.md"])), "x")) == ["mocs/qp-3.md"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_case_52_notes_with_an_id_the_store_has(tmp_path: Path, strategy: Strategy) -> None:
    store = store_of(tmp_path, FILES)
    theirs = "---\nid: qp-1\ntitle: Mine\ntags: [t]\nlinks:\n  - type: related\n    id: qp-3\n---\nMy text\n"
    target = store_of(tmp_path, {"notes/elsewhere.md": theirs, "attachments/qp-2/p.png": b"other"}, root="b/.qipu")
    plan = unpack(target, io.BytesIO(packed(store)), strategy=strategy)
    after = carry_out(target, plan)
    assert "notes/qp-1-a.md" not in after
    text = contents(target)["notes/elsewhere.md"]
    if strategy == "skip":
        assert text.decode() == theirs
    elif strategy == "overwrite":
        assert text == FILES["notes/qp-1-a.md"]
    else:
        added = "    id: qp-3\n  - type: supports\n    id: qp-2\n"
        assert text.decode() == theirs.replace("    id: qp-3\n", added)
    assert contents(target)["attachments/qp-2/p.png"] == (
        FILES["attachments/qp-2/p.png"] if strategy == "overwrite" else b"other"
    )
    assert contents(target)["notes/deep/er/qp-2.md"] == FILES["notes/deep/er/qp-2.md"]


def test_path_of_another_note_is_never_overwritten(tmp_path: Path) -> None:
    store = store_of(tmp_path, {"notes/a.md": "---\nid: qp-1\n---\nours\n"})
    target = store_of(tmp_path, {"notes/a.md": "---\nid: qp-9\n---\ntheirs\n"}, root="b/.qipu")
    plan = unpack(target, io.BytesIO(packed(store)), strategy="overwrite")
    assert plan.changes == []
    assert "another note lies there" in plan.lines[0]


@pytest.mark.parametrize(
    "path", ["qipu.db", ".cache/x.json", "workspaces/x/notes/a.md", ".gitignore", "notes/.hidden/a.md", ".git/config", "../x.md"]
)
def test_case_53_files_without_a_place_in_a_store_are_refused(tmp_path: Path, path: str) -> None:
    import json

    from schemas.oid import bytes_oid, json_oid

    oid = bytes_oid(b"x")
    rows = [
        {"format": pack.FORMAT, "version": 1},
        {"path": path, "oid": oid, "text": "x"},
        {"end": True, "files": 1, "digest": json_oid([[path, oid]])},
    ]
    store = store_of(tmp_path, {"notes/a.md": "a"})
    before = contents(store)
    with pytest.raises(Refused):
        unpack(store, io.BytesIO(b"".join(json.dumps(row).encode() + b"\n" for row in rows)), strategy="overwrite", settings=True)
    assert contents(store) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [".qipu"]


def dump(
    *lines: str, head: str = "H pack=1 version=1.0 store_version=1 created=2026 store=/x notes=1 links=0", end: bool = True
) -> bytes:
    return "".join(f"{line}\n" for line in (head, *lines, *(["END"] if end else []))).encode()


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


CUSTOM, BODY, PICTURE = b64('{"k": [1, 2]}'), b64("See [[qp-2]] \u00e9."), b64(b"\x89PNG")
NOTE = 'N qp-1 literature "A \\"quoted\\" title" tags=x,y created=2026-01-02T03:04:05+00:00 updated=-'


def test_dump_of_qipu_becomes_notes_where_qipu_puts_them(tmp_path: Path) -> None:
    data = dump(
        f"CFG {b64('version = 1')}", "CFG-END",
        f'{NOTE} summary="In short" author="Me" verified=true value=70 custom={CUSTOM}',
        f"C {BODY}", "C-END",
        'S qp-1 url=https://example.org title="A page" accessed=2026-01-01',
        'N qp-2 moc "Map" tags=- created=- updated=-',
        "L qp-1 qp-2 type=supports inline=false",
        "L qp-1 qp-2 type=- inline=true",
        "A /home/x/attachments/p.png name=p.png content_type=image/png", f"D {PICTURE}", "D-END",
    )  # fmt: skip
    store = store_of(tmp_path, {})
    after = carry_out(store, unpack(store, io.BytesIO(data)))
    assert sorted(after) == ["attachments/p.png", "mocs/qp-2-map.md", "notes/qp-1-a-quoted-title.md"]
    note = contents(store)["notes/qp-1-a-quoted-title.md"]
    assert edit.frontmatter(note, "x") == {
        "id": "qp-1", "title": 'A "quoted" title', "type": "literature", "created": "2026-01-02T03:04:05Z", "tags": ["x", "y"],
        "summary": "In short", "author": "Me", "verified": True, "value": 70, "custom": {"k": [1, 2]},
        "sources": [{"url": "https://example.org", "title": "A page", "accessed": "2026-01-01"}],
        "links": [{"type": "supports", "id": "qp-2"}],
    }  # fmt: skip
    assert edit.body_of(note).decode() == "\nSee [[qp-2]] \u00e9.\n"
    assert contents(store)["attachments/p.png"] == b"\x89PNG"


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (dump(head="H pack=1 version=2.0 store_version=1"), NewerFormat),
        (dump(head="H pack=1 version=1.0 store_version=2"), NewerFormat),
        (dump(NOTE, end=False), HeadwaterError),
        (dump("N ../x moc \"t\" tags=- created=- updated=-"), HeadwaterError),
        (dump(NOTE, NOTE), HeadwaterError),
        (dump(NOTE, "C !!!", "C-END"), HeadwaterError),
        (dump(NOTE, "C eA=="), HeadwaterError),
        (dump("A x name=../../x content_type=-", "D eA==", "D-END"), Refused),
        (dump("A x name=a\\b content_type=-", "D eA==", "D-END"), Refused),
        (dump("A x name=x content_type=-", "END"), HeadwaterError),
        (dump("Z what"), HeadwaterError),
        (dump(f"{NOTE} custom=!!"), HeadwaterError),
        (dump(f"{NOTE} other=1"), HeadwaterError),
        (dump('S qp-9 url=x title="" accessed=-'), HeadwaterError),
        (b"H pack=1", HeadwaterError),
    ],
)  # fmt: skip
def test_case_54_dumps_that_cannot_be_trusted_are_refused(tmp_path: Path, data: bytes, error: type[HeadwaterError]) -> None:
    store = store_of(tmp_path, {})
    with pytest.raises(error):
        unpack(store, io.BytesIO(data), "x.pack")
    assert contents(store) == {}


@pytest.mark.parametrize(
    ("present", "after"),
    [
        (None, "/.qipu/\n"),
        ("", "/.qipu/\n"),
        ("build/\n", "build/\n/.qipu/\n"),
        ("build/", "build/\n/.qipu/\n"),
        ("a\r\nb\r\n", "a\r\nb\r\n/.qipu/\r\n"),
        (".qipu\n", ".qipu\n"),
        ("x\n /.qipu/ \n", "x\n /.qipu/ \n"),
    ],
)
def test_case_7_stealth_is_one_line_and_not_repeated(tmp_path: Path, present: str | None, after: str) -> None:
    if present is not None:
        (tmp_path / ".gitignore").write_bytes(present.encode())
    storage = LocalStorage(tmp_path)
    for _ in range(2):
        storage.commit(hide(storage, "", ".qipu").changes, label="hide")
        assert (tmp_path / ".gitignore").read_bytes().decode() == after
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".headwater") == [".gitignore"]
