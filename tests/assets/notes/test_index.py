"""The index built from nothing: what becomes of notes, links, attachments and bad input."""

from __future__ import annotations

import os
import shutil
import sqlite3
import unicodedata
from contextlib import closing
from pathlib import Path

import pytest

from assets.notes import dump, schema
from schemas.errors import HeadwaterError
from tests.assets.notes.corpora import Corpus, assert_same

ALPHA = "---\nid: qp-1\ntitle: Alpha\ntype: permanent\ntags: [one, two]\naliases: [First]\n---\n# Alpha\n"


def states(corpus: Corpus, path: str) -> list[tuple[str, str, str | None]]:
    return [link[1:] for link in corpus.links() if link[0] == path]


def test_case_19_links_by_path_between_notes_and_maps_make_edges(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {"notes/a.md": "[m](../mocs/map.md)\n", "mocs/map.md": "[a](../notes/a.md)\n"})
    corpus.build()

    assert corpus.edges() == [("mocs/map.md", "notes/a.md", "related", 1, 1), ("notes/a.md", "mocs/map.md", "related", 1, 1)]


@pytest.mark.parametrize(
    "text",
    [
        "[[b]] [[c]] [[b]]\n",
        "[b](b.md) [[c]] [[b|again]]\n",
        "---\nlinks:\n  - {type: related, id: qp-b}\n---\n[[c]] [[qp-b]]\n",
    ],
)
def test_case_62_three_mentions_of_two_notes_are_two_edges(tmp_path: Path, text: str) -> None:
    corpus = Corpus(tmp_path, {"notes/a.md": text, "notes/b.md": "---\nid: qp-b\n---\n[[c]]\n", "notes/c.md": "text\n"})
    corpus.build()
    mentions = corpus.query(
        "SELECT position, target_path, start, stop, line, col FROM mentions JOIN notes ON number = note WHERE path = 'notes/a.md'"
    )

    assert [edge[:3] for edge in corpus.edges() if edge[0] == "notes/a.md"] == [
        ("notes/a.md", "notes/b.md", "related"),
        ("notes/a.md", "notes/c.md", "related"),
    ]
    assert sum(edge[4] for edge in corpus.edges() if edge[0] == "notes/a.md") == 3
    assert sorted(row[1] for row in mentions) == ["notes/b.md", "notes/b.md", "notes/c.md"]
    assert len({row[2:] for row in mentions}) == 3
    assert corpus.summary.counts["notes"] == 3


def test_typed_and_inline_links_of_one_type_are_one_edge_that_is_typed(tmp_path: Path) -> None:
    text = "---\nlinks:\n  - {type: related, id: qp-1}\n  - {type: supports, id: qp-1}\n---\n[[qp-1]]\n"
    corpus = Corpus(tmp_path, {"notes/a.md": text, "notes/b.md": ALPHA})
    corpus.build()

    assert corpus.edges() == [("notes/a.md", "notes/b.md", "related", 0, 2), ("notes/a.md", "notes/b.md", "supports", 0, 1)]


def test_case_65_two_files_with_one_id_are_both_there(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {"notes/a.md": ALPHA, "notes/b.md": ALPHA.replace("Alpha", "Beta"), "notes/c.md": "[[qp-1]]\n"})
    corpus.build()

    assert corpus.query("SELECT path, title FROM notes WHERE id = 'qp-1' ORDER BY path") == [
        ("notes/a.md", "Alpha"),
        ("notes/b.md", "Beta"),
    ]
    assert states(corpus, "notes/c.md") == [("qp-1", "ambiguous", None)]


def test_case_70_what_is_code_or_comment_links_nothing_and_what_links_leads_right(tmp_path: Path) -> None:
    text = (
        "```\n[[b]]\n```\n\n    [[b]]\n\n`[[b]]` <!-- [[b]] --> \\[[b]]\n\n| x |\n|---|\n| [[b\\|label]] |\n\n"
        "[[b#Head|l]] [[b#^blk]] ![[b]]\n\n[ref][r] [sp](two%20words.md) [an](<two words.md> \"title\")\n\n[r]: b.md 'title'\n"
    )
    corpus = Corpus(tmp_path, {"notes/a.md": text, "notes/b.md": "# Head\ntext ^blk\n", "notes/two words.md": "text\n"})
    corpus.build()

    assert [(target, state, path) for target, state, path in states(corpus, "notes/a.md")] == [
        ("b", "resolved", "notes/b.md"),
        ("b#Head", "resolved", "notes/b.md"),
        ("b#^blk", "resolved", "notes/b.md"),
        ("b", "resolved", "notes/b.md"),
        ("b.md", "resolved", "notes/b.md"),
        ("two words.md", "resolved", "notes/two words.md"),
        ("two words.md", "resolved", "notes/two words.md"),
    ]


def test_case_66_odd_values_degrade_nothing_but_themselves(tmp_path: Path) -> None:
    text = "---\ncreated: 2026-01-12\nupdated: 1669150683170\ntags: foo\nvalue: 300\n---\nriver\n"
    corpus = Corpus(tmp_path, {"notes/a.md": text})
    corpus.build()

    assert corpus.query("SELECT created, tag FROM notes JOIN tags ON note = number") == [("2026-01-12", "foo")]
    assert ("notes/a.md", "note-bad-value") in corpus.rules()


@pytest.mark.parametrize(
    "data",
    [b"\xff\xfe\x00bad river", b"---\nid: [\n", b"---\n" + b"[" * 30_000, b"\x00" * 50, b"", b"---\n---\n", b"[" * 40_000],
)
def test_case_67_no_file_keeps_the_others_from_the_index(tmp_path: Path, data: bytes) -> None:
    corpus = Corpus(tmp_path, {"notes/bad.md": data, "notes/a.md": "[[b]]\n", "notes/b.md": "river\n"})
    corpus.build()

    assert corpus.query("SELECT count(*) FROM notes") == [(3,)]
    assert corpus.edges() == [("notes/a.md", "notes/b.md", "related", 1, 1)]
    assert dump.content_digest(corpus.index) == corpus.summary.digest


def test_case_74_new_content_of_the_same_size_and_time_is_another_note(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {"notes/a.md": "river\n", **{f"notes/{at}.md": "x\n" for at in range(5)}})
    corpus.build()
    before = (corpus.path / "notes/a.md").stat()
    corpus.write({"notes/a.md": "stone\n"})
    os.utime(corpus.path / "notes/a.md", ns=(before.st_atime_ns, before.st_mtime_ns))
    corpus.fold()

    assert (
        corpus.query("SELECT body FROM notes_text JOIN notes USING (number) WHERE path = 'notes/a.md'")[0][0].strip() == "stone"
    )


def test_case_75_a_store_that_was_moved_has_the_same_index(tmp_path: Path) -> None:
    files = {"notes/a.md": "[[b]] [[nothing]]\n", "notes/b.md": ALPHA, "attachments/x.png": b"x"}
    one, other = Corpus(tmp_path / "one", files), Corpus(tmp_path / "other place", files, root="docs/kept/qipu")

    assert_same(one.build(), other.build())
    assert str(tmp_path).encode() not in one.index.read_bytes()


def test_case_76_two_builds_have_the_same_bytes(tmp_path: Path) -> None:
    files = {"notes/a.md": "[[b]] [[nothing]]\n", "notes/b.md": ALPHA, "attachments/x.png": b"x", "config.toml": "odd = 1\n"}
    corpus = Corpus(tmp_path, files)

    assert corpus.build().read_bytes() == corpus.rebuilt().read_bytes()


def test_case_77_no_table_knows_the_time(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {"notes/a.md": ALPHA})
    corpus.build()
    os.utime(corpus.path / "notes/a.md", (10**9, 10**9))

    assert corpus.index.read_bytes() == corpus.rebuilt().read_bytes()


def test_case_81_cjk_substrings_of_one_to_three_characters_are_found(tmp_path: Path) -> None:
    corpus = Corpus(
        tmp_path, {"notes/a.md": "# 知識管理\n東京特許許可局の話\n", "notes/b.md": "한국어 노트\n", "notes/c.md": "ﾃｽﾄ カード\n"}
    )
    corpus.build()

    def found(query: str) -> list[str]:
        rows = corpus.query("SELECT path FROM notes_fts JOIN notes ON number = notes_fts.rowid WHERE notes_fts MATCH ?", (query,))
        return [row[0] for row in rows]

    assert found('"許"') == found('"許 可"') == found('"許 可 局"') == found('"識 管"') == ["notes/a.md"]
    assert found('"可 許"') == []
    assert found('"국 어"') == ["notes/b.md"]
    assert found('"ー ド"') == ["notes/c.md"]


def test_case_63_a_title_comes_before_bodies(tmp_path: Path) -> None:
    files = {f"notes/{at:02}.md": f"# Note {at}\nthe harbor is quiet, the harbor is far\n" for at in range(45)}
    corpus = Corpus(tmp_path, {**files, "notes/zz.md": "# Harbor\nnothing\n"})
    corpus.build()

    assert corpus.query(
        "SELECT path FROM notes_fts JOIN notes ON number = notes_fts.rowid WHERE notes_fts MATCH 'harbor' ORDER BY rank LIMIT 1"
    ) == [("notes/zz.md",)]


def test_files_that_are_no_notes(tmp_path: Path) -> None:
    corpus = Corpus(
        tmp_path,
        {
            "notes/a.md": "text\n",
            "notes/UPPER.MD": "text\n",
            "templates/fleeting.md": "template\n",
            "notes/.trash/gone.md": "gone\n",
            "attachments/data.md": "an attachment\n",
            "attachments/x.png": b"x",
            "config.toml": "version = 1\n",
        },
    )
    corpus.build()

    assert corpus.query("SELECT path FROM notes ORDER BY path") == [("notes/UPPER.MD",), ("notes/a.md",)]
    assert corpus.query("SELECT path FROM attachments ORDER BY path") == [("attachments/data.md",), ("attachments/x.png",)]


def test_settings_narrow_what_is_a_note(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {"a.md": "x\n", "drafts/b.md": "x\n", "deep/c.md": "x\n"}, root="vault")
    corpus.parameters = {"include": ["**"], "exclude": ["drafts/**"], "layout": None}
    corpus.build()

    assert corpus.query("SELECT path FROM notes ORDER BY path") == [("a.md",), ("deep/c.md",)]
    assert corpus.query("SELECT value FROM info WHERE key = 'layout'") == [("folder",)]


def test_links_that_are_not_in_order_are_findings_with_their_place(tmp_path: Path) -> None:
    files = {
        "notes/a.md": (
            "# A\n[[nothing]]\n[[b#Nowhere]]\n[[Same]]\n[[B]]\n[[a]]\n[x](../../out.md)\n![p](none.png)\n"
            "[[#A]] <https://example.org>\n"
        ),
        "notes/b.md": "# One\n",
        "notes/c.md": "# Same\n",
        "notes/d.md": "# Same\n",
    }
    corpus = Corpus(tmp_path, files)
    corpus.build()

    found = corpus.query("SELECT rule, line, col, value, link FROM findings WHERE path = 'notes/a.md' ORDER BY line")
    assert found == [
        ("link-broken", 2, 1, "nothing", 1),
        ("link-broken-anchor", 3, 1, "b#Nowhere", 1),
        ("link-ambiguous", 4, 1, "Same", 1),
        ("link-case", 5, 1, "B", 1),
        ("link-self", 6, 1, "a", 1),
        ("link-outside", 7, 1, "../../out.md", 1),
        ("link-broken-attachment", 8, 1, "none.png", 1),
    ]
    assert corpus.query("SELECT path, target, anchor, line, state FROM unresolved ORDER BY line") == [
        ("notes/a.md", "nothing", None, 2, "broken"),
        ("notes/a.md", "b", "Nowhere", 3, "broken-anchor"),
        ("notes/a.md", "Same", None, 4, "ambiguous"),
        ("notes/a.md", "none.png", None, 8, "broken"),
    ]


def test_a_type_that_the_ontology_does_not_know_is_a_finding(tmp_path: Path) -> None:
    text = "---\nlinks:\n  - {type: odd, id: qp-1}\n  - {type: supports, id: qp-1}\n---\n"
    corpus = Corpus(tmp_path, {"notes/a.md": text, "notes/b.md": ALPHA, "config.toml": '[ontology]\nmode = "extended"\n'})
    corpus.build()

    assert [rule for path, rule in corpus.rules() if rule == "link-unknown-type"] == ["link-unknown-type"]
    assert len(corpus.edges()) == 2


def test_names_in_other_unicode_forms_lead_to_their_notes(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "notes/café.md")
    corpus = Corpus(tmp_path, {decomposed: "text\n", "notes/a.md": "[[café]] [x](café.md)\n"})
    corpus.build()

    assert {state for _, state, _ in states(corpus, "notes/a.md")} == {"resolved"}
    assert not [rule for _, rule in corpus.rules() if rule.startswith("link-")]


def test_the_sqlite_of_every_command_can_read_it(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {"notes/a.md": ALPHA})
    corpus.build()

    assert corpus.query("PRAGMA integrity_check") == [("ok",)]
    assert corpus.query("PRAGMA user_version") == [(schema.FORMAT,)]
    assert corpus.query("PRAGMA journal_mode") == [("delete",)]
    assert corpus.query("SELECT tag, folded FROM tags ORDER BY position") == [("one", "one"), ("two", "two")]


class TestDump:
    def changed(self, tmp_path: Path, statement: str) -> Path:
        corpus = Corpus(tmp_path, {"notes/a.md": "[[b]] [[nothing]] river\n", "notes/b.md": ALPHA, "attachments/x.png": b"x"})
        corpus.build()
        other = tmp_path / "other.db"
        shutil.copyfile(corpus.index, other)
        with closing(sqlite3.connect(other)) as connection:
            connection.execute(statement)
            connection.commit()
        assert dump.content_digest(corpus.index) == corpus.summary.digest
        self.digest = corpus.summary.digest
        self.lines = list(dump.dump(corpus.index))
        return other

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE notes SET title = 'Other' WHERE path = 'notes/a.md'",
            "UPDATE mentions SET line = 7",
            "UPDATE mentions SET state = 'resolved'",
            "DELETE FROM edges",
            "DELETE FROM names WHERE form = 'alias'",
            "DELETE FROM findings",
            "UPDATE findings SET message = 'x'",
            "UPDATE attachments SET size = 2",
            "UPDATE tags SET folded = 'x'",
            "UPDATE headings SET slug = 'x'",
            "UPDATE info SET value = 'x' WHERE key = 'reading'",
            "INSERT INTO names VALUES ('x', 1, 'alias', 'x')",
        ],
    )
    def test_every_change_of_content_changes_digest_and_dump(self, tmp_path: Path, statement: str) -> None:
        other = self.changed(tmp_path, statement)

        assert dump.content_digest(other) != self.digest
        assert list(dump.dump(other)) != self.lines

    def test_a_digest_that_was_written_down_wrong_is_not_believed(self, tmp_path: Path) -> None:
        other = self.changed(tmp_path, "UPDATE notes SET digest = x'00'")

        assert dump.content_digest(other) == self.digest

    def test_numbers_are_not_content(self, tmp_path: Path) -> None:
        other = self.changed(tmp_path, "UPDATE findings SET rowid = rowid + 100")

        assert dump.content_digest(other) == self.digest
        assert list(dump.dump(other)) == self.lines

    @pytest.mark.parametrize(
        "statement", ["UPDATE notes_text SET body = 'other' WHERE number = 1", "DELETE FROM notes_fts_data WHERE id > 10"]
    )
    def test_a_full_text_index_that_holds_other_texts_is_damaged(self, tmp_path: Path, statement: str) -> None:
        other = self.changed(tmp_path, statement)

        with pytest.raises(HeadwaterError, match="full-text index") as caught:
            dump.content_digest(other)
        assert caught.value.rule == "notes-index-damaged"

    @pytest.mark.parametrize("data", [b"", b"garbage" * 100, b"SQLite format 3\0" + b"\1" * 4096])
    def test_case_24_what_is_no_index_is_refused(self, tmp_path: Path, data: bytes) -> None:
        path = tmp_path / "qipu.db"
        path.write_bytes(data)

        with pytest.raises(HeadwaterError) as caught:
            dump.content_digest(path)
        assert caught.value.rule == "notes-index-damaged"
