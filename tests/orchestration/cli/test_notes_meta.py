"""`notes value|verify|custom|attach`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.orchestration.cli.notes_work import ALPHA, A, B, Run, checkout, link_states, store, tree, vault

__all__ = ["checkout", "store", "vault"]


def head(path: Path) -> str:
    return path.read_text().split("---\n")[1]


class TestValue:
    def test_case_18_a_note_that_does_not_say_is_worth_fifty(self, store: Path, run: Run) -> None:
        assert run("notes", "value", "show", "qp-aaaa", "--json").records == [{"id": "qp-aaaa", "value": 50, "default": True}]
        assert run("notes", "value", "show", "qp-aaaa").out == "50  (the default)\n"
        assert run("notes", "value", "set", "qp-aaaa", "0").code == 0
        assert run("notes", "value", "show", "qp-aaaa", "--json").records == [{"id": "qp-aaaa", "value": 0, "default": False}]
        assert (store / A).read_text() == ALPHA.replace('extra: "kept"\n', 'extra: "kept"\nvalue: 0\n')

    @pytest.mark.parametrize(
        "arguments", [[], ["show"], ["set", "qp-aaaa"], ["set", "qp-zzzz", "5"], ["show", "qp-zzzz"], ["grow"]]
    )
    def test_bad_arguments(self, store: Path, run: Run, arguments: list[str]) -> None:
        before = tree(store)
        assert run("notes", "value", *arguments).code == 2
        assert tree(store) == before


def test_a_note_is_verified_and_not(store: Path, run: Run) -> None:
    assert run("notes", "verify", "qp-aaaa").code == 0
    assert "verified: true\n" in head(store / A)
    assert run("notes", "verify", "qp-aaaa", "--off").code == 0
    assert (store / A).read_text() == ALPHA.replace('extra: "kept"\n', 'extra: "kept"\nverified: false\n')
    assert run("notes", "verify").code == 2


class TestCustom:
    def test_keys_are_set_read_and_taken_out(self, store: Path, run: Run) -> None:
        for key, value in (("priority", "2"), ("who", '["ann", "bo"]'), ("due date", "2026-03-01"), ("漢字", "ja: yes")):
            assert run("notes", "custom", "set", "qp-aaaa", key, value).code == 0
        shown = run("notes", "custom", "show", "qp-aaaa", "--json").records
        assert shown == [
            {"path": A, "custom": {"priority": 2, "who": ["ann", "bo"], "due date": "2026-03-01", "漢字": "ja: yes"}}
        ]
        assert run("notes", "custom", "get", "qp-aaaa", "priority").out == "2\n"
        assert "due date" in run("notes", "custom", "show", "qp-aaaa").out
        for key in ("priority", "who", "due date", "漢字"):
            assert run("notes", "custom", "unset", "qp-aaaa", key).code == 0
        assert (store / A).read_text() == ALPHA

    def test_a_key_that_is_not_there(self, store: Path, run: Run) -> None:
        ran = run("notes", "custom", "get", "qp-aaaa", "priority", "--json")
        assert (ran.code, ran.records[-1]["error"]["path"]) == (1, A)
        assert run("notes", "custom", "unset", "qp-aaaa", "priority").out == "nothing to change\n"
        assert run("notes", "custom", "show", "qp-aaaa", "--json").records == [{"path": A, "custom": {}}]

    @pytest.mark.parametrize(
        "arguments", [["set", "qp-aaaa", "", "v"], ["set", "qp-aaaa", "k", "null"], ["set", "qp-aaaa", "k"], []]
    )
    def test_bad_arguments(self, store: Path, run: Run, arguments: list[str]) -> None:
        before = tree(store)
        assert run("notes", "custom", *arguments).code == 2
        assert tree(store) == before

    def test_a_custom_that_is_no_mapping_is_left_alone(self, store: Path, run: Run) -> None:
        (store / A).write_text(ALPHA.replace('extra: "kept"', "custom: words"))
        before = tree(store)
        ran = run("notes", "custom", "set", "qp-aaaa", "k", "v")
        assert (ran.code, A.rpartition("/")[2] in ran.err) == (1, True)
        assert tree(store) == before


class TestAttach:
    def test_a_picture_is_copied_and_shown(self, store: Path, run: Run, tmp_path: Path) -> None:
        (tmp_path / "a b [1].png").write_bytes(b"\x89PNG\0")
        ran = run("notes", "attach", "qp-aaaa", str(tmp_path / "a b [1].png"))
        assert ran.code == 0, ran
        assert ".qipu/attachments/a b [1].png" in ran.out
        assert (store / ".qipu/attachments/a b [1].png").read_bytes() == b"\x89PNG\0"
        assert (store / A).read_text().startswith(ALPHA)
        states = link_states()
        assert (states.get("attachment"), states.get("broken")) == (1, None)

    def test_nothing_is_overwritten(self, store: Path, run: Run, tmp_path: Path) -> None:
        for content in (b"one", b"two", b"one"):
            (tmp_path / "paper.pdf").write_bytes(content)
            assert run("notes", "attach", "qp-bbbb", str(tmp_path / "paper.pdf"), "--no-link").code == 0
        kept = {path.name: path.read_bytes() for path in (store / ".qipu/attachments").iterdir()}
        assert kept == {"paper.pdf": b"one", "paper-2.pdf": b"two"}
        assert "paper" not in (store / B).read_text()

    @pytest.mark.parametrize("name", ["../x.png", "a/b.png", "CON.png", "x\n.png", ".hidden", ""])
    def test_bad_names_write_nothing(self, store: Path, run: Run, tmp_path: Path, name: str) -> None:
        (tmp_path / "x.png").write_bytes(b"x")
        before = tree(store)
        ran = run("notes", "attach", "qp-aaaa", str(tmp_path / "x.png"), "--name", name, "--json")
        if name:
            assert ran.code in (1, 2), ran
            assert ran.records[-1]["error"]["rule"] != "internal"
            assert tree(store) == before
        else:
            assert (store / ".qipu/attachments/x.png").is_file()

    def test_the_file_must_be_there(self, store: Path, run: Run) -> None:
        assert run("notes", "attach", "qp-aaaa", "no-such-file").code == 2
        assert run("notes", "attach", "qp-aaaa", ".qipu").code == 2
        assert run("notes", "attach", "qp-aaaa").code == 2

    def test_a_dry_run_copies_nothing(self, store: Path, run: Run, tmp_path: Path) -> None:
        (tmp_path / "x.bin").write_bytes(b"\0\1")
        before = tree(store)
        ran = run("notes", "attach", "qp-aaaa", str(tmp_path / "x.bin"), "--dry-run")
        assert (ran.code, "Binary files" in ran.out) == (0, True)
        assert tree(store) == before

    def test_a_vault_puts_it_where_its_settings_say(self, vault: Path, run: Run, tmp_path: Path) -> None:
        (vault / ".obsidian/app.json").write_text('{"attachmentFolderPath": "./files"}')
        (tmp_path / "x.png").write_bytes(b"x")
        assert run("notes", "attach", "Gamma", str(tmp_path / "x.png")).code == 0
        assert (vault / "sub/files/x.png").read_bytes() == b"x"
