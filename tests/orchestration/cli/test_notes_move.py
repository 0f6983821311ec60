"""`notes mv|rm|merge`: links follow, nothing unsaved is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.orchestration.cli.notes_work import (
    ALPHA,
    BETA,
    A,
    B,
    C,
    Pipe,
    Run,
    checkout,
    git,
    link_states,
    pipe_terminal,
    store,
    tree,
    vault,
    write_files,
)

__all__ = ["checkout", "pipe_terminal", "store", "vault"]


class TestMove:
    @pytest.mark.parametrize(
        ("note", "target", "lands"),
        [
            ("qp-bbbb", "archive/", ".qipu/archive/qp-bbbb-beta.md"),
            ("qp-bbbb", "archive/deep/b", ".qipu/archive/deep/b.md"),
            ("Beta", "other.md", ".qipu/notes/other.md"),
            ("Beta", "other", ".qipu/notes/other.md"),
            ("notes/qp-bbbb-beta.md", "notes/b.markdown", ".qipu/notes/b.markdown"),
            (".qipu/notes/qp-bbbb-beta.md", ".qipu/mocs", ".qipu/mocs/qp-bbbb-beta.md"),
            ("./notes/qp-bbbb-beta.md", "top.md", ".qipu/top.md"),
            ("qp-bbbb", ".", ".qipu/qp-bbbb-beta.md"),
        ],
    )
    def test_links_follow_a_moved_note(self, store: Path, run: Run, note: str, target: str, lands: str) -> None:
        before = link_states()
        ran = run("notes", "mv", note, target)
        assert ran.code == 0, ran
        assert (store / lands).is_file()
        assert not (store / B).exists()
        assert f"move {B} to {lands}" in ran.out
        assert link_states() == before
        assert "[[qp-bbbb|the second]]" in (store / A).read_text(), "a link by id needs no change"

    def test_a_folder_moves_with_everything_in_it(self, store: Path, run: Run) -> None:
        before = link_states()
        assert run("notes", "mv", "notes", "essays").code == 0
        assert sorted(path.name for path in (store / ".qipu/essays").iterdir()) == ["qp-aaaa-alpha.md", "qp-bbbb-beta.md"]
        assert "(../essays/qp-bbbb-beta.md)" in (store / C).read_text()
        assert (store / ".qipu/essays/qp-aaaa-alpha.md").read_text() == ALPHA
        assert link_states() == before

    def test_a_dry_run_shows_the_difference_first(self, store: Path, run: Run) -> None:
        before = tree(store)
        ran = run("notes", "mv", "qp-bbbb", "archive/", "--dry-run")
        assert (ran.code, "+- [Beta](../archive/qp-bbbb-beta.md)" in ran.out) == (0, True)
        record = run("notes", "mv", "qp-bbbb", "archive/", "--dry-run", "--json").records[-1]
        assert {"path": ".qipu/archive/qp-bbbb-beta.md", "change": "moved", "from": B} in record["files"]
        assert tree(store) == before

    @pytest.mark.parametrize(
        ("note", "target"),
        [
            ("qp-bbbb", "../../out.md"),
            ("qp-bbbb", "/etc/out.md"),
            ("qp-bbbb", "notes/qp-aaaa-alpha.md"),
            ("qp-bbbb", "templates/x.md"),
            ("qp-bbbb", ".hidden/x.md"),
            ("qp-bbbb", "notes/QP-AAAA-alpha.md"),
            ("qp-bbbb", "a\nb.md"),
            ("qp-bbbb", ""),
            ("notes", "notes/inside"),
            ("nothing-like-it", "x.md"),
            ("../README.md", "x.md"),
            ("attachments/none.png", "attachments/x.png"),
        ],
    )
    def test_what_cannot_be_moved_stays(self, store: Path, run: Run, note: str, target: str) -> None:
        before = tree(store)
        for extra in ([], ["--json"]):
            ran = run("notes", "mv", *extra, "--", note, target)
            assert ran.code in (1, 2), ran
        error = ran.records[-1]["error"]
        assert error["fix"]
        assert error["rule"] != "internal", error
        assert tree(store) == before

    def test_an_attachment_moves_with_its_links(self, store: Path, run: Run) -> None:
        write_files(store, {".qipu/attachments/pic.png": "x", ".qipu/notes/p.md": "![pic](../attachments/pic.png)\n"})
        assert run("notes", "mv", "attachments/pic.png", "attachments/new.png").code == 0
        assert (store / ".qipu/notes/p.md").read_text() == "![pic](../attachments/new.png)\n"

    def test_in_a_vault_links_keep_their_kind(self, vault: Path, run: Run) -> None:
        before = link_states()
        assert run("notes", "mv", "sub/Gamma.md", "sub/deeper/Delta.md").code == 0
        assert "[[sub/deeper/Delta|gamma]]" in (vault / "Alpha.md").read_text()
        assert "[back](../../Beta.md)" in (vault / "sub/deeper/Delta.md").read_text()
        assert link_states() == before

    def test_only_the_case_of_a_name_changes(self, vault: Path, run: Run) -> None:
        before = link_states()
        assert run("notes", "mv", "Beta.md", "beta.md").code == 0
        assert not (vault / "Beta.md").exists()
        assert run("notes", "update", "beta", "--title", "BETA").code == 0
        assert (vault / "BETA.md").is_file(), "not one with an id behind its name, as if its own were taken"
        assert "(../BETA.md)" in (vault / "sub/Gamma.md").read_text()
        assert link_states() == before

    def test_many_files_are_not_asked_about_without_a_terminal(self, store: Path, run: Run) -> None:
        write_files(store, {f".qipu/notes/n{number}.md": "[b](qp-bbbb-beta.md)\n" for number in range(30)})
        ran = run("notes", "mv", "qp-bbbb", "archive/", "--json")
        assert ran.code == 0
        assert sorted(record["change"] for record in ran.records) == ["edited"] * 32 + ["moved"]

    @pytest.mark.parametrize(("answer", "moved"), [("y\n", True), ("n\n", False)])
    def test_many_files_are_asked_about_at_a_terminal(
        self, store: Path, run: Run, pipe_terminal: Pipe, answer: str, moved: bool
    ) -> None:
        write_files(store, {f".qipu/notes/n{number}.md": "[b](qp-bbbb-beta.md)\n" for number in range(30)})
        pipe_terminal(answer)
        ran = run("notes", "mv", "qp-bbbb", "archive/")
        assert ran.code == 0
        assert "Change 34 files?" in ran.err
        assert "+[b](../archive/qp-bbbb-beta.md)" in ran.err or "… and" in ran.err
        assert (store / ".qipu/archive/qp-bbbb-beta.md").exists() is moved


class TestRemove:
    def test_a_linked_note_is_refused_with_what_would_break(self, store: Path, run: Run) -> None:
        before = tree(store)
        ran = run("notes", "rm", "qp-bbbb")
        assert ran.code == 1
        assert f"{A}:10:5" in ran.err
        assert f"{C}:8:3" in ran.err
        assert "--force" in ran.err
        assert run("notes", "rm", "qp-bbbb", "--json").records[-1]["error"]["rule"] == "notes-linked"
        assert tree(store) == before

    def test_by_force_it_goes_and_what_broke_is_said(self, store: Path, run: Run) -> None:
        ran = run("notes", "rm", "qp-bbbb", "--force")
        assert ran.code == 0, ran
        assert f"delete {B}" in ran.out
        assert f"broken: {A}:10:5" in ran.out
        assert not (store / B).exists()
        assert not (store / "headwater-rescue").exists(), "git has it"
        assert link_states()["broken"] >= 3

    def test_notes_that_link_to_each_other_go_together(self, store: Path, run: Run) -> None:
        assert run("notes", "rm", "qp-aaaa", "qp-bbbb", "qp-cccc").code == 0
        assert list((store / ".qipu/notes").iterdir()) == []

    def test_what_git_does_not_have_is_kept_apart(self, store: Path, run: Run) -> None:
        (store / C).write_text("edited since the last commit\n")
        write_files(store, {".qipu/notes/new.md": "never committed\n"})
        ran = run("notes", "rm", "mocs/qp-cccc-map.md", "notes/new.md")
        assert ran.code == 0, ran
        kept = {path.name.partition("-")[2]: path.read_text() for path in (store / "headwater-rescue").glob("*.md")}
        assert kept == {"qp-cccc-map.md": "edited since the last commit\n", "new.md": "never committed\n"}
        assert git(store, "status", "--porcelain", "--", "headwater-rescue") == ""
        assert ran.err.count("headwater-rescue/") == 2

    def test_in_a_plain_vault_the_copy_lies_in_the_users_cache(self, vault: Path, run: Run, quiet_home: Path) -> None:
        ran = run("notes", "rm", "sub/Gamma.md", "--force")
        assert ran.code == 0, ran
        assert not (vault / "headwater-rescue").exists()
        assert len(list(quiet_home.rglob("*-Gamma.md"))) == 1

    def test_a_dry_run_deletes_nothing(self, store: Path, run: Run) -> None:
        before = tree(store)
        assert run("notes", "rm", "qp-cccc", "--dry-run").code == 0
        assert tree(store) == before

    def test_without_a_note_it_says_how(self, store: Path, run: Run) -> None:
        assert run("notes", "rm").code == 2
        assert run("notes", "rm", "nothing-like-it").code == 2


class TestMerge:
    def test_text_tags_and_links_are_joined(self, store: Path, run: Run) -> None:
        ran = run("notes", "merge", "qp-aaaa", "qp-bbbb")
        assert ran.code == 0, ran
        assert not (store / A).exists()
        text = (store / B).read_text()
        assert "Body of beta" in text
        assert "# Alpha\n" in text
        assert "x" in text.split("---\n")[1]
        assert "qp-aaaa" not in text.split("---\n")[1], "no link to itself"
        assert "[[qp-bbbb]]" in (store / C).read_text()
        assert "broken" not in link_states()

    def test_a_note_is_not_joined_with_itself(self, store: Path, run: Run) -> None:
        before = tree(store)
        assert run("notes", "merge", "qp-aaaa", "Alpha").code == 2
        assert run("notes", "merge", "qp-aaaa").code == 2
        assert tree(store) == before

    def test_a_dry_run_joins_nothing(self, store: Path, run: Run) -> None:
        before = tree(store)
        ran = run("notes", "merge", "qp-aaaa", "qp-bbbb", "--dry-run")
        assert (ran.code, f"--- a/{A}" in ran.out) == (0, True)
        assert tree(store) == before

    def test_broken_frontmatter_is_left_alone(self, store: Path, run: Run) -> None:
        (store / B).write_text(BETA.replace("links:", "links: ["))
        before = tree(store)
        assert run("notes", "merge", "qp-aaaa", "notes/qp-bbbb-beta.md").code == 3
        assert tree(store) == before


def test_a_canvas_follows_a_note_that_moves(vault: Path, run: Run) -> None:
    note = sorted(path for path in vault.rglob("*.md") if ".obsidian" not in path.parts)[0].relative_to(vault).as_posix()
    board = vault / "board.canvas"
    board.write_text('{"nodes":[{"id":"1","type":"file","file":"' + note + '"}],"edges":[]}', "utf-8")
    assert run("-C", vault, "notes", "mv", note, "elsewhere/Moved.md", "--dry-run").code == 0
    assert note in board.read_text("utf-8")
    assert run("-C", vault, "notes", "mv", note, "elsewhere/Moved.md").code == 0
    assert board.read_text("utf-8") == '{"nodes":[{"id":"1","type":"file","file":"elsewhere/Moved.md"}],"edges":[]}'
