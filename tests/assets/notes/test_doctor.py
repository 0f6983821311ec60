"""Findings about a whole store: each rule breaks where it should, and a store without faults has none."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.notes.circles import circles
from assets.notes.doctor import store_findings
from assets.notes.findings import read_findings
from assets.notes.opened import connect
from resources.notes.store import NotesStore
from resources.storage.local import LocalStorage
from schemas.findings import Finding, Severity
from tests.assets.notes.corpora import Corpus


def look(folder: Path, files: dict[str, str | bytes], *, root: str = ".qipu") -> list[Finding]:
    """What is found in a store of these files, about the whole store."""
    corpus = Corpus(folder, files, root=root)
    store = NotesStore(LocalStorage(folder / "store"), root)
    with closing(connect(corpus.build())) as connection:
        return store_findings(connection, store)


def short(found: list[Finding]) -> list[tuple[str, str, int | None]]:
    return [(one.path.removeprefix(".qipu/"), one.rule, one.line) for one in found]


def note(own: str, *lines: str, body: str = "Text.", title: str = "T") -> str:
    return "\n".join(["---", f"id: {own}", f"title: {title}", *lines, "---", "", body, ""])


def links(*pairs: tuple[str, str]) -> str:
    return "links: [" + ", ".join(f"{{type: {kind}, id: {own}}}" for kind, own in pairs) + "]"


CLEAN: dict[str, str | bytes] = {
    "config.toml": 'version = 1\n[tag_aliases]\nml = "learning"\n',
    "notes/a.md": note("a", "tags: [learning]", links(("follows", "b"), ("supports", "b")), body="![](../attachments/x.png)"),
    "notes/b.md": note("b", links(("follows", "c"), ("part-of", "c"))),
    "notes/c.md": note("c"),
    "mocs/m.md": note("m", "type: moc", body="- [[a]] is where it begins, and ends"),
    "attachments/x.png": b"x",
}


def test_case_44_a_clean_store_has_no_findings(tmp_path: Path) -> None:
    assert look(tmp_path, CLEAN) == []


def test_case_45_types_that_do_not_go_together(tmp_path: Path) -> None:
    found = look(
        tmp_path,
        {
            "notes/a.md": note("a", links(("supports", "b"), ("contradicts", "b"))),
            "notes/b.md": note("b"),
            "notes/c.md": note("c", links(("same-as", "d"))),
            "notes/d.md": note("d", links(("has-alias", "c"))),
            "notes/e.md": note("e", links(("supports", "f"))),
            "notes/f.md": note("f", links(("contradicts", "g"))),
            "notes/g.md": note("g"),
        },
    )
    assert [(path, rule) for path, rule, _ in short(found)] == [
        ("notes/a.md", "link-contradiction"),
        ("notes/c.md", "link-contradiction"),
    ]
    assert all(one.severity is Severity.WARNING for one in found)


def test_case_45_orders_that_run_in_a_circle(tmp_path: Path) -> None:
    found = look(
        tmp_path,
        {
            "notes/a.md": note("a", links(("follows", "b"))),
            "notes/b.md": note("b", links(("follows", "c"))),
            "notes/c.md": note("c", links(("precedes", "b"), ("precedes", "d"))),
            "notes/d.md": note("d", links(("precedes", "c"))),
            "notes/e.md": note("e", links(("part-of", "f"))),
            "notes/f.md": note("f", links(("part-of", "g"))),
            "notes/g.md": note("g", links(("part-of", "e"))),
            "notes/h.md": note("h", links(("related", "h2"))),
            "notes/h2.md": note("h2", links(("related", "h"))),
        },
    )
    assert [(path, rule) for path, rule, _ in short(found)] == [
        ("notes/d.md", "link-cycle"),
        ("notes/e.md", "link-cycle"),
    ]
    assert "'part-of' runs in a circle: notes/e.md → notes/f.md → notes/g.md → notes/e.md" in found[1].message


@pytest.mark.parametrize("kind", ["same-as", "alias-of", "part-of"])
def test_case_45_a_type_that_leads_to_the_note_itself(tmp_path: Path, kind: str) -> None:
    corpus = Corpus(tmp_path, {"notes/a.md": note("a", links((kind, "a")))})
    with closing(connect(corpus.build())) as connection:
        found = read_findings(connection, "")
    assert [(one.rule, one.severity) for one in found] == [("link-self", Severity.WARNING)]


def test_case_46_digests(tmp_path: Path) -> None:
    found = look(
        tmp_path,
        {
            "notes/a.md": note("a", "compacts: [b, x]"),
            "notes/b.md": note("b", "compacts: [c]"),
            "notes/c.md": note("c", "compacts: a"),
            "notes/d.md": note("d", "compacts: [d]"),
            "notes/e.md": note("e", "compacts: [x]"),
        },
    )
    assert [(one.path, one.message, one.line) for one in found] == [
        (".qipu/notes/a.md", "digests run in a circle: a → b → c → a", 4),
        (".qipu/notes/d.md", "the note says that it digests itself", 4),
        (".qipu/notes/e.md", "'x' is digested by .qipu/notes/a.md already", 4),
    ]
    assert {one.severity for one in found} == {Severity.ERROR}


def test_case_48_attachments_that_nobody_links(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {**CLEAN, "attachments/deep/y.bin": b"y", "other.txt": b"z"}
    assert short(look(tmp_path / "store", files)) == [("attachments/deep/y.bin", "notes-orphaned-attachment", None)]
    plain: dict[str, str | bytes] = {"a.md": "![](in.png)\n", "in.png": b"", "out.PNG": b"", "Makefile": b""}
    assert short(look(tmp_path / "plain", plain, root="docs")) == [("docs/out.PNG", "notes-orphaned-attachment", None)]


def test_case_49_long_notes_and_empty_maps(tmp_path: Path) -> None:
    found = look(
        tmp_path,
        {
            "config.toml": "[limits]\nwords = 20\nparagraphs = 3\n",
            "notes/words.md": note("words", body="word " * 21),
            "notes/paragraphs.md": note("paragraphs", body="p\n\n" * 4),
            "notes/short.md": note("short"),
            "mocs/empty.md": note("empty", "type: moc", body="- [[gone]]"),
        },
    )
    assert short(found) == [
        ("mocs/empty.md", "note-empty-moc", 1),
        ("notes/paragraphs.md", "note-long", 1),
        ("notes/words.md", "note-long", 1),
    ]


def test_case_65_two_files_with_one_id_name_each_other(tmp_path: Path) -> None:
    found = look(tmp_path, {"notes/a.md": note("a"), "notes/a-two.md": note("a"), "notes/b.md": note("b")})
    assert [(one.path, one.line, one.severity) for one in found] == [
        (".qipu/notes/a-two.md", 2, Severity.ERROR),
        (".qipu/notes/a.md", 2, Severity.ERROR),
    ]
    assert ".qipu/notes/a.md" in found[0].message
    assert ".qipu/notes/a-two.md" in found[1].message


def test_what_a_store_of_qipus_layout_asks_of_its_notes(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"notes/x.md": "# Heading\n", "notes/y.md": note("q"), "notes/z.md": "---\nid: z\n---\n"}
    assert short(look(tmp_path / "store", files)) == [
        ("notes/x.md", "note-missing-id", 1),
        ("notes/x.md", "note-missing-title", 1),
        ("notes/y.md", "note-file-name", 1),
        ("notes/z.md", "note-missing-title", 1),
    ]
    assert look(tmp_path / "plain", {"x.md": "# Heading\n", "y.md": "---\nid: q\n---\n"}, root="docs") == []


def test_names_and_sizes_of_files(tmp_path: Path) -> None:
    found = look(
        tmp_path,
        {
            "config.toml": "[limits]\nattachment_bytes = 1024\n",
            "notes/a: b.md": "x\n",
            "notes/Same.md": "x\n",
            "notes/same.md": "x\n",
            "big.bin": b"x" * 1025,
            "CON.txt": b"",
        },
        root="docs/.qipu",
    )
    by_rule = {one.rule: one.path for one in found if not one.rule.startswith("note-missing")}
    assert by_rule["notes-colliding-names"] == "docs/.qipu/notes/Same.md"
    assert by_rule["notes-large-attachment"] == "docs/.qipu/big.bin"
    portable = [one.path for one in found if one.rule == "note-portable-name"]
    assert portable == ["docs/.qipu/CON.txt", "docs/.qipu/notes/a: b.md"]


def test_an_alias_of_a_tag_that_nobody_uses(tmp_path: Path) -> None:
    config = 'version = 1\n[tag_aliases]\nml = "learning"\nold = "gone"\nOther = "gone"\n'
    files: dict[str, str | bytes] = {"config.toml": config, "notes/a.md": note("a", "tags: [Learning, other]")}
    found = look(tmp_path, files)
    assert short(found) == [("config.toml", "notes-tag-alias", 4)]


def test_what_git_has_and_has_not(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"notes/a.md": note("a"), "notes/b.md": note("b"), "qipu.db": b"", ".cache/edges.json": b""}
    corpus = Corpus(tmp_path, {**files, "../.gitignore": "b.md\n"})

    def look_again() -> list[tuple[str, str, int | None]]:
        with closing(connect(corpus.build())) as connection:
            return short(store_findings(connection, NotesStore(LocalStorage(tmp_path / "store"), ".qipu")))

    assert look_again() == []
    git = shutil.which("git")
    assert git is not None
    for arguments in (["init", "-q"], ["add", "-A"]):
        subprocess.run([git, *arguments], cwd=tmp_path / "store", check=True)
    assert look_again() == [
        (".cache/edges.json", "notes-derived-committed", None),
        ("notes/b.md", "notes-ignored", None),
        ("qipu.db", "notes-derived-committed", None),
    ]
    # A store that is kept out of git altogether is meant to be.
    subprocess.run([git, "rm", "-rq", "--cached", "."], cwd=tmp_path / "store", check=True)
    corpus.write({"../.gitignore": ".qipu/\n"})
    assert look_again() == []


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.sampled_from("abcdefg"), st.lists(st.sampled_from("abcdefg"), max_size=4)))
def test_every_circle_is_one_and_every_node_on_one_has_its_part(graph: dict[str, list[str]]) -> None:
    reached: dict[str, set[str]] = {}
    for start in "abcdefg":
        seen: set[str] = set()
        todo = [start]
        while todo:
            for target in graph.get(todo.pop(), ()):
                if target not in seen:
                    seen.add(target)
                    todo.append(target)
        reached[start] = seen
    parts = {
        frozenset(other for other in "abcdefg" if other in reached[one] and one in reached[other]) | {one}
        for one in "abcdefg"
        if one in reached[one]
    }
    found = circles(graph)
    assert sorted(around[0] for around in found) == sorted(min(part) for part in parts if len(part) > 1)
    for around in found:
        assert len(set(around)) == len(around)
        assert all(other in graph[one] for one, other in zip(around, [*around[1:], around[0]], strict=True))


def test_a_long_chain_is_followed_without_recursion() -> None:
    chain = {f"{at:06}": [f"{at + 1:06}"] for at in range(20_000)}
    assert circles(chain) == []
    assert circles({**chain, "020000": ["019999"]}) == [["019999", "020000"]]
