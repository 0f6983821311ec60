"""`notes link add|rm|materialize`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.orchestration.cli.notes_work import ALPHA, BETA, A, B, C, Run, checkout, link_states, store, tree, vault

__all__ = ["checkout", "store", "vault"]


def links(path: Path) -> str:
    """The frontmatter of a note from `links:` on."""
    return path.read_text().split("---\n")[1].partition("links:")[2]


def test_a_link_is_added_and_the_rest_stays(store: Path, run: Run) -> None:
    ran = run("notes", "link", "add", "qp-aaaa", "supports", "Beta")
    assert (ran.code, ran.out) == (0, f"{A}: supports qp-bbbb\n")
    head, body = (store / A).read_text().split("---\n")[1:]
    assert head.startswith(ALPHA.split("---\n")[1])
    assert "type: supports" in head
    assert "id: qp-bbbb" in head
    assert body == ALPHA.split("---\n")[2]
    ran = run("notes", "link", "add", "qp-bbbb", "refines", "qp-aaaa", "--json")
    assert ran.records == [{"path": B, "change": "edited", "written": True}]
    assert "{type: supports, id: qp-aaaa}" in (store / B).read_text(), "what was there keeps its spelling"


def test_case_30_adding_twice_changes_nothing(store: Path, run: Run) -> None:
    before = tree(store)
    for arguments in (["qp-bbbb", "supports", "qp-aaaa"], ["qp-bbbb", "qp-aaaa", "--type", "Supports"]):
        ran = run("notes", "link", "add", *arguments)
        assert (ran.code, ran.out) == (0, "nothing to change\n")
    assert tree(store) == before


def test_case_30_a_note_is_not_linked_to_itself(store: Path, run: Run) -> None:
    before = tree(store)
    ran = run("notes", "link", "add", "qp-aaaa", "supports", "Alpha")
    assert (ran.code, "link-self" in ran.err) == (2, True)
    assert tree(store) == before


def test_case_30_without_a_type_it_names_some(store: Path, run: Run) -> None:
    ran = run("notes", "link", "add", "qp-aaaa", "qp-bbbb")
    assert ran.code == 2
    assert all(name in ran.err for name in ("related", "supports", "part-of"))
    assert run("notes", "link", "add", "qp-aaaa", "supports", "qp-bbbb", "--type", "refines").code == 2


def test_any_word_is_a_type_unless_the_store_says_which(store: Path, run: Run) -> None:
    assert run("notes", "link", "add", "qp-aaaa", "smells-like", "qp-bbbb").code == 0
    config = store / ".qipu/config.toml"
    config.write_text(config.read_text() + '\n[ontology]\nmode = "extended"\n')
    ran = run("notes", "link", "add", "qp-aaaa", "tastes-like", "qp-bbbb", "--json")
    assert (ran.code, "supports" in ran.records[-1]["error"]["fix"]) == (2, True)


@pytest.mark.parametrize("word", ["", "two words", "a,b", "x]", "x" * 100, "a\nb"])
def test_what_is_no_type_is_refused(store: Path, run: Run, word: str) -> None:
    before = tree(store)
    assert run("notes", "link", "add", "qp-aaaa", word, "qp-bbbb").code == 2
    assert tree(store) == before


@pytest.mark.parametrize("arguments", [[], ["qp-aaaa"], ["qp-zzzz", "supports", "qp-aaaa"], ["qp-aaaa", "supports", "qp-zzzz"]])
def test_both_notes_must_be_there(store: Path, run: Run, arguments: list[str]) -> None:
    before = tree(store)
    assert run("notes", "link", "add", *arguments).code == 2
    assert tree(store) == before


def test_a_link_is_taken_out(store: Path, run: Run) -> None:
    assert run("notes", "link", "rm", "qp-bbbb", "supports", "Alpha").code == 0
    assert (store / B).read_text() == BETA.replace("links:\n  - {type: supports, id: qp-aaaa}\n", "")
    ran = run("notes", "link", "rm", "qp-bbbb", "supports", "Alpha")
    assert (ran.code, ran.out) == (0, "nothing to change\n")


def test_only_the_type_that_is_named_is_taken_out(store: Path, run: Run) -> None:
    before = tree(store)
    assert run("notes", "link", "rm", "qp-bbbb", "refines", "qp-aaaa").out == "nothing to change\n"
    assert tree(store) == before


def test_a_link_to_nothing_can_be_taken_out(store: Path, run: Run) -> None:
    (store / B).write_text(BETA.replace("qp-aaaa}", "qp-gone}"))
    assert link_states()["broken"] == 1
    assert run("notes", "link", "rm", "qp-bbbb", "supports", "qp-gone").code == 0
    assert "broken" not in link_states()


def test_in_a_vault_a_note_without_an_id_is_named_by_its_path(vault: Path, run: Run) -> None:
    assert run("notes", "link", "add", "Alpha", "supports", "Gamma").code == 0
    assert "sub/Gamma" in links(vault / "Alpha.md")
    assert "broken" not in link_states()
    assert run("notes", "link", "rm", "Alpha", "supports", "Gamma").code == 0
    assert "Gamma" not in links(vault / "Alpha.md")


class TestMaterialize:
    def test_case_37_a_dry_run_writes_nothing(self, store: Path, run: Run) -> None:
        before = tree(store)
        ran = run("notes", "link", "materialize", "qp-aaaa", "--dry-run")
        assert (ran.code, "qp-bbbb" in ran.out, "+links:" in ran.out) == (0, True, True)
        assert tree(store) == before

    def test_case_37_links_that_are_there_are_not_added_twice(self, store: Path, run: Run) -> None:
        assert run("notes", "link", "materialize", "qp-aaaa").code == 0
        assert links(store / A).count("qp-bbbb") == 1, "two links in the text are one typed link"
        before = tree(store)
        assert run("notes", "link", "materialize", "qp-aaaa").out == "nothing to change\n"
        assert tree(store) == before

    def test_case_37_links_in_the_text_become_their_labels(self, store: Path, run: Run) -> None:
        assert run("notes", "link", "materialize", "qp-aaaa", "--remove-inline", "--type", "refines").code == 0
        assert "\nSee the second and it again.\n" in (store / A).read_text()
        assert "refines" in links(store / A)

    def test_all_notes_at_once_pass_over_what_cannot_be_read(self, store: Path, run: Run) -> None:
        broken = BETA.replace("links:", "links: [")
        (store / B).write_text(broken)
        ran = run("notes", "link", "materialize", "--all")
        assert (ran.code, "passed over" in ran.err, B in ran.err) == (0, True, True), ran
        assert (store / B).read_text() == broken
        assert "related" in links(store / C)

    @pytest.mark.parametrize("arguments", [[], ["--all", "qp-aaaa"], ["qp-zzzz"], ["qp-aaaa", "--type", "two words"]])
    def test_bad_arguments_write_nothing(self, store: Path, run: Run, arguments: list[str]) -> None:
        before = tree(store)
        assert run("notes", "link", "materialize", *arguments).code == 2
        assert tree(store) == before
