"""`notes init|index|relayout|sync`: a store as a whole."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.orchestration.cli.notes_work import (
    ALPHA,
    A,
    B,
    C,
    Pipe,
    Run,
    checkout,
    git,
    link_states,
    pipe,
    store,
    tree,
    vault,
    write_files,
)

__all__ = ["checkout", "pipe", "store", "vault"]


class TestInit:
    def test_case_1_a_second_init_keeps_everything(self, checkout: Path, run: Run) -> None:
        ran = run("notes", "init")
        assert ran.code == 0, ran
        assert "wrote .qipu/config.toml" in ran.out
        for folder in ("notes", "mocs", "attachments", "templates"):
            assert (checkout / ".qipu" / folder).is_dir()
        (checkout / ".qipu/config.toml").write_text("version = 1  # mine\n")
        (checkout / ".qipu/templates/moc.md").unlink()
        before = tree(checkout)
        ran = run("notes", "init", "--json")
        assert ran.code == 0, ran
        assert {record["path"] for record in ran.records if record["written"]} == {".qipu/templates/moc.md"}
        after = tree(checkout)
        assert {path: after[path] for path in before} == before

    def test_the_store_works_at_once_and_git_sees_no_derived_file(self, checkout: Path, run: Run) -> None:
        assert run("notes", "init").code == 0
        assert run("notes", "new", "First").code == 0
        assert run("notes", "index", "--json").records[-1]["notes"] == 1
        assert (checkout / ".qipu/qipu.db").is_file()
        status = git(checkout, "status", "--porcelain", "-uall")
        assert "qipu.db" not in status
        assert ".qipu/config.toml" in status
        assert ".qipu/.gitignore" in status
        assert not (checkout / ".gitignore").exists()

    def test_case_2_and_visible_stores(self, checkout: Path, run: Run) -> None:
        assert run("notes", "init", "--visible").code == 0
        assert (checkout / "qipu/config.toml").is_file()
        before = tree(checkout)
        assert run("notes", "init").code == 0
        assert tree(checkout) == before, "the store that is there is the one that is meant"
        shutil.copytree(checkout / "qipu", checkout / ".qipu")
        record = run("notes", "new", "T", "--json").records[-1]
        assert record["path"].startswith(".qipu/"), "the hidden one counts"

    def test_a_visible_store_is_not_started_behind_a_hidden_one(self, store: Path, run: Run) -> None:
        before = tree(store)
        ran = run("notes", "init", "--visible")
        assert (ran.code, "notes-exists" in ran.err) == (1, True)
        assert tree(store) == before

    def test_case_7_stealth_is_one_line(self, checkout: Path, run: Run) -> None:
        assert run("notes", "init", "--stealth").code == 0
        assert (checkout / ".gitignore").read_text() == "/.qipu/\n"
        assert run("notes", "init", "--stealth").code == 0
        assert (checkout / ".gitignore").read_text() == "/.qipu/\n"
        assert run("notes", "new", "Secret").code == 0, "git ignores the store, its commands do not"
        assert run("notes", "value", "show", "Secret").code == 0
        assert git(checkout, "status", "--porcelain", "-uall") == "?? .gitignore\n"

    def test_case_7_a_gitignore_that_is_there_gets_one_line_more(self, checkout: Path, run: Run) -> None:
        (checkout / ".gitignore").write_bytes(b"*.pyc\r\n/build")
        assert run("notes", "init", "--stealth").code == 0
        assert (checkout / ".gitignore").read_bytes() == b"*.pyc\r\n/build\r\n/.qipu/\r\n"

    def test_a_folder_of_the_project(self, checkout: Path, run: Run) -> None:
        ran = run("notes", "init", "docs/here")
        assert ran.code == 0, ran
        assert (checkout / "docs/here/.qipu/config.toml").is_file()
        assert run("notes", "new", "T", "--json").records[-1]["path"].startswith("docs/here/.qipu/notes/")

    def test_outside_of_a_checkout_the_folder_becomes_a_workspace(
        self, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert run("notes", "init", "lab").code == 0
        assert (tmp_path / "lab/headwater.toml").is_file()
        monkeypatch.chdir(tmp_path / "lab")
        assert run("notes", "new", "T").code == 0
        assert (tmp_path / "lab/.qipu/qipu.db").is_file()

    def test_the_general_init_knows_the_kind(self, checkout: Path, run: Run) -> None:
        assert run("init", "notes", "sub").code == 0
        assert (checkout / "sub/.qipu/config.toml").is_file()

    def test_a_vault_is_left_as_it_is(self, vault: Path, run: Run) -> None:
        before = {path: path.read_bytes() for path in vault.rglob("*") if path.is_file()}
        ran = run("notes", "init")
        assert (ran.code, "notes-is-vault" in ran.err) == (2, True)
        assert {path: path.read_bytes() for path in vault.rglob("*") if path.is_file()} == before

    @pytest.mark.parametrize(
        "arguments", [["notes"], [".qipu"], ["headwater.toml/x"], ["--stealth", "--branch", "b"], ["a", "b"]]
    )
    def test_what_is_no_project_is_refused(
        self, store: Path, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
    ) -> None:
        (store / "headwater.toml").write_text("version = 1\n")
        monkeypatch.chdir(store / ".qipu")
        (store / ".qipu/headwater.toml").write_text("version = 1\n") if arguments[0].startswith("headwater") else None
        before = tree(store)
        ran = run("notes", "init", *arguments)
        assert ran.code in (1, 2), ran
        assert "fix:" in ran.err or "Usage" in ran.err
        assert tree(store) == before


class TestIndex:
    def test_case_20_an_edited_file_is_picked_up_and_a_third_run_changes_nothing(self, store: Path, run: Run) -> None:
        first = run("notes", "index", "--json").records[-1]
        assert first["notes"] == 3
        (store / A).write_text(ALPHA + "\n[[nowhere]]\n")
        second = run("notes", "index", "--json").records[-1]
        assert second["unresolved"] == first["unresolved"] + 1
        third = run("notes", "index", "--json").records[-1]
        assert third["outcome"] == "fresh"
        assert {key: third[key] for key in ("notes", "mentions", "edges")} == {
            key: second[key] for key in ("notes", "mentions", "edges")
        }

    def test_case_19_relative_links_between_folders_are_edges(self, store: Path, run: Run) -> None:
        write_files(store, {".qipu/notes/d.md": "[map](../mocs/qp-cccc-map.md)\n"})
        assert run("notes", "index").code == 0
        with closing(sqlite3.connect(store / ".qipu/qipu.db")) as database:
            query = "SELECT s.path, t.path FROM edges JOIN notes s ON s.number = source JOIN notes t ON t.number = target"
            edges = set(database.execute(query))
        assert ("mocs/qp-cccc-map.md", "notes/qp-bbbb-beta.md") in edges
        assert ("notes/d.md", "mocs/qp-cccc-map.md") in edges

    def test_case_21_a_deleted_file_is_gone(self, store: Path, run: Run) -> None:
        assert run("notes", "index").code == 0
        (store / C).unlink()
        assert run("notes", "index", "--json").records[-1]["notes"] == 2

    @pytest.mark.parametrize("damage", ["removed", "garbage", "empty", "schema", "foreign"])
    def test_case_22_to_24_whatever_became_of_the_index_it_is_built_again(self, store: Path, run: Run, damage: str) -> None:
        first = run("notes", "index", "--json").records[-1]
        index = store / ".qipu/qipu.db"
        if damage == "removed":
            index.unlink()
        elif damage == "garbage":
            index.write_bytes(b"garbage" * 1000)
        elif damage == "empty":
            index.write_bytes(b"")
        elif damage == "schema":
            with closing(sqlite3.connect(index)) as database:
                database.execute("UPDATE info SET value = '999'")
                database.commit()
        else:
            index.unlink()
            with closing(sqlite3.connect(index)) as database:
                database.execute("CREATE TABLE notes (id TEXT)")
                database.commit()
        ran = run("notes", "index", "--json")
        assert ran.code == 0, ran
        assert {key: ran.records[-1][key] for key in ("notes", "mentions", "edges")} == {
            key: first[key] for key in ("notes", "mentions", "edges")
        }
        assert run("notes", "index", "--json").records[-1]["outcome"] == "fresh"

    def test_a_rebuild_starts_from_nothing_and_says_the_same(self, store: Path, run: Run) -> None:
        assert run("notes", "index").code == 0
        ran = run("notes", "index", "--rebuild", "--json")
        assert (ran.code, ran.records[-1]["outcome"], ran.records[-1]["notes"]) == (0, "built", 3)
        assert run("notes", "index").out.startswith("fresh: 3 notes")

    def test_case_28_every_command_sees_what_another_wrote(self, store: Path, run: Run) -> None:
        from tests.orchestration.cli.conftest import program

        made = program("notes", "new", "Written elsewhere", "--json", cwd=store)
        assert made.returncode == 0, made
        assert run("notes", "link", "add", "Written elsewhere", "supports", "qp-aaaa").code == 0
        shown = program("notes", "value", "show", "Written elsewhere", cwd=store)
        assert (shown.returncode, shown.stdout) == (0, "50  (the default)\n")

    def test_case_29_and_71_wiki_links_are_rewritten_only_when_asked(self, store: Path, run: Run) -> None:
        before = tree(store)
        states = link_states()
        assert run("notes", "index").code == 0
        assert tree(store) == before
        shown = run("notes", "index", "--rewrite-wiki-links", "--dry-run")
        assert (shown.code, "+See [the second](qp-bbbb-beta.md)" in shown.out) == (0, True)
        assert tree(store) == before
        assert run("notes", "index", "--rewrite-wiki-links").code == 0
        assert "See [the second](qp-bbbb-beta.md) and [it again](qp-bbbb-beta.md#end)." in (store / A).read_text()
        assert "[Alpha](qp-aaaa-alpha.md)" in (store / B).read_text()
        assert link_states() == states, "they still lead where they led"
        after = tree(store)
        assert run("notes", "index", "--rewrite-wiki-links").code == 0
        assert tree(store) == after

    def test_the_settings_can_ask_for_it(self, store: Path, run: Run) -> None:
        config = store / ".qipu/config.toml"
        config.write_text(config.read_text() + "rewrite_wiki_links = true\n")
        assert run("notes", "index").code == 0
        assert "[[" not in (store / A).read_text()

    @pytest.mark.parametrize("arguments", [["--basic"], ["now"], ["-s", "no-such-store"]])
    def test_bad_arguments(self, store: Path, run: Run, arguments: list[str]) -> None:
        ran = run("notes", "index", *arguments, "--json")
        assert (ran.code, bool(ran.records[-1]["error"]["fix"])) == (2, True)

    def test_in_a_vault_nothing_is_written_beside_the_notes(self, vault: Path, run: Run) -> None:
        before = {path: path.read_bytes() for path in vault.rglob("*") if path.is_file()}
        ran = run("notes", "index", "--json")
        assert (ran.code, ran.records[-1]["notes"]) == (0, 3)
        assert {path: path.read_bytes() for path in vault.rglob("*") if path.is_file()} == before


class TestRelayout:
    def test_notes_go_by_month_and_back(self, store: Path, run: Run) -> None:
        (store / A).write_text(ALPHA.replace("tags:", "created: 2024-05-06\ntags:"))
        before, states = tree(store), link_states()
        shown = run("notes", "relayout", "--note-path", "date", "--dry-run")
        assert (shown.code, "notes/2024/05/qp-aaaa-alpha.md" in shown.out) == (0, True)
        assert tree(store) == before
        assert run("notes", "relayout", "--note-path", "date").code == 0
        assert (store / ".qipu/notes/2024/05/qp-aaaa-alpha.md").is_file()
        assert 'note_path = "date"' in (store / ".qipu/config.toml").read_text()
        assert link_states() == states
        assert run("notes", "relayout", "--note-path", "flat").code == 0
        assert {path: data for path, data in tree(store).items() if path.endswith(".md")} == {
            path: data for path, data in before.items() if path.endswith(".md")
        }

    def test_maps_go_among_the_notes(self, store: Path, run: Run) -> None:
        states = link_states()
        assert run("notes", "relayout", "--mocs", "type").code == 0
        assert "[Beta](qp-bbbb-beta.md)" in (store / ".qipu/notes/qp-cccc-map.md").read_text()
        assert link_states() == states
        assert run("notes", "new", "M", "--type", "moc", "--json").records[-1]["path"].startswith(".qipu/notes/")

    def test_attachments_go_to_their_note(self, store: Path, run: Run) -> None:
        write_files(
            store, {".qipu/attachments/p.png": "x", ".qipu/notes/e.md": "---\nid: qp-e\n---\n![p](../attachments/p.png)\n"}
        )
        assert run("notes", "relayout", "--attachments", "per-note").code == 0
        assert (store / ".qipu/attachments/qp-e/p.png").is_file()
        assert "![p](../attachments/qp-e/p.png)" in (store / ".qipu/notes/e.md").read_text()

    def test_what_is_in_place_stays(self, store: Path, run: Run) -> None:
        before = tree(store)
        assert run("notes", "relayout").out == "nothing to change\n"
        assert tree(store) == before

    def test_a_vault_has_no_layout(self, vault: Path, run: Run) -> None:
        assert run("notes", "relayout", "--mocs", "type").code == 2
        assert run("notes", "relayout", "--mocs", "elsewhere").code == 2


class TestBranch:
    @pytest.fixture
    def shared(self, checkout: Path, tmp_path: Path) -> Path:
        """A checkout with a commit and a bare remote called origin."""
        git(tmp_path, "init", "-q", "--bare", "origin.git")
        write_files(checkout, {"code.py": "print(1)\n"})
        git(checkout, "add", "-A")
        git(checkout, "commit", "-q", "-m", "code")
        git(checkout, "remote", "add", "origin", str(tmp_path / "origin.git"))
        git(checkout, "push", "-q", "origin", "main")
        return checkout

    def test_the_checked_out_branch_never_sees_the_notes(self, shared: Path, run: Run) -> None:
        (shared / "code.py").write_text("dirty\n")
        (shared / "staged.txt").write_text("staged\n")
        git(shared, "add", "staged.txt")
        status, head = git(shared, "status", "--porcelain"), git(shared, "rev-parse", "HEAD")
        assert run("notes", "init", "--branch", "my-notes").code == 0
        assert run("notes", "new", "First").code == 0
        ran = run("notes", "sync", "--json")
        assert ran.code == 0, ran
        assert ran.records[0] == {
            "branch": "my-notes",
            "remote": "origin",
            "committed": True,
            "pulled": 0,
            "pushed": True,
            "conflicts": 0,
        }
        assert (git(shared, "status", "--porcelain"), git(shared, "rev-parse", "HEAD")) == (status, head)
        listed = git(shared, "ls-tree", "-r", "--name-only", "origin/my-notes").split()
        assert "config.toml" in listed
        assert not [name for name in listed if "qipu.db" in name or name == "code.py"]
        assert "nothing to commit" in run("notes", "sync").out

    def test_two_clones_share_notes_and_conflicts_wait_for_a_decision(
        self, shared: Path, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert run("notes", "init", ".", "--branch").code == 0
        assert run("notes", "new", "Shared", "--id", "qp-shared", "--body", "one line").code == 0
        assert run("notes", "sync").code == 0
        git(tmp_path, "clone", "-q", str(tmp_path / "origin.git"), "clone")
        monkeypatch.chdir(tmp_path / "clone")
        assert run("notes", "init", "--branch", "qipu-metadata").code == 0
        assert run("notes", "update", "qp-shared", "--tag", "theirs").code == 0
        assert run("notes", "sync").code == 0
        monkeypatch.chdir(shared)
        assert run("notes", "update", "qp-shared", "--tag", "ours").code == 0
        ran = run("notes", "sync")
        assert ran.code == 0, ran
        note = shared / ".qipu/notes/qp-shared-shared.md"
        assert "ours" in note.read_text()
        assert "theirs" in note.read_text()
        monkeypatch.chdir(tmp_path / "clone")
        assert run("notes", "sync").code == 0
        theirs = tmp_path / "clone/.qipu/notes/qp-shared-shared.md"
        theirs.write_text(theirs.read_text().replace("one line\n", "their line\n"))
        assert run("notes", "sync").code == 0
        monkeypatch.chdir(shared)
        note.write_text(note.read_text().replace("one line\n", "our line\n"))
        ran = run("notes", "sync")
        assert ran.code == 3, ran
        assert ".qipu/notes/qp-shared-shared.md" in ran.out
        note.write_text(note.read_text().split("<<<<<<<")[0] + "decided\n")
        assert run("notes", "sync").code == 0

    @pytest.mark.parametrize(
        "arguments", [[], ["--branch", "bad..name"], ["--message", " "], ["--remote", "nowhere", "--branch", "n"], ["extra"]]
    )
    def test_a_store_on_no_branch_of_its_own_is_not_synced(self, store: Path, run: Run, arguments: list[str]) -> None:
        before, log = tree(store), git(store, "log", "--oneline", "--all")
        ran = run("notes", "sync", *arguments, "--json")
        assert ran.code in (1, 2), ran
        assert ran.records[-1]["error"]["fix"]
        assert tree(store) == before
        assert git(store, "log", "--oneline", "--all") == log

    def test_outside_of_a_checkout_there_is_no_branch(self, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        ran = run("notes", "init", "lab", "--branch", "n")
        assert (ran.code, "git" in ran.err) == (2, True)


def test_after_any_sequence_of_commands_the_index_equals_a_build_from_nothing(store: Path, run: Run, pipe: Pipe) -> None:
    from assets.notes.dump import content_digest

    (store / "pic.png").write_bytes(b"x")
    pipe("---\ntags: [t]\n---\n# Captured\n\nSee [[Alpha]], [[Gone]] and [b](../notes/qp-bbbb-beta.md#end).\n")
    sequence = [
        ["capture", "--id", "qp-dddd"],
        ["new", "Gone", "--id", "qp-eeee"],
        ["update", "qp-bbbb", "--title", "Omega", "--tag", "fresh"],
        ["link", "add", "qp-dddd", "contradicts", "qp-bbbb"],
        ["attach", "qp-aaaa", "pic.png"],
        ["mv", "qp-dddd", "deep/er/"],
        ["rm", "qp-eeee", "--force"],
        ["custom", "set", "qp-aaaa", "k", "v"],
        ["link", "materialize", "--all"],
        ["merge", "qp-aaaa", "qp-bbbb"],
        ["update", "qp-bbbb", "--type", "moc"],
        ["relayout", "--mocs", "type", "--attachments", "per-note"],
        ["index", "--rewrite-wiki-links"],
        ["new", "Gone"],
    ]
    for command in sequence:
        ran = run("notes", *command)
        assert ran.code == 0, (command, ran)
        kept = content_digest(store / ".qipu/qipu.db")
        assert run("notes", "index", "--rebuild").code == 0
        assert content_digest(store / ".qipu/qipu.db") == kept, command
