"""`notes new|capture|edit|update`: run as a user runs them, against the real engine, on stores, vaults and nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.orchestration.cli.notes_work import ALPHA, A, B, Pipe, Run, checkout, editor, pipe, store, tree, vault

__all__ = ["checkout", "pipe", "store", "vault"]


def frontmatter(path: Path) -> str:
    return path.read_text("utf-8").split("---\n")[1]


class TestNew:
    def test_a_note_has_an_id_a_title_and_a_place_that_are_printed(self, store: Path, run: Run) -> None:
        ran = run("notes", "new", "Hello World")
        assert (ran.code, ran.err) == (0, "")
        note_id, path = ran.out.split()
        assert re.fullmatch(r"qp-[0-9a-z]{10}", note_id)
        assert path == f".qipu/notes/{note_id}-hello-world.md"
        text = (store / path).read_text()
        assert text.startswith(f"---\nid: {note_id}\ntitle: Hello World\ntype: fleeting\ncreated: ")
        assert run("notes", "update", "Hello World", "--tag", "found").code == 0, "the index knows it"

    @pytest.mark.parametrize(
        ("title", "name"), [("Hello World", "qp-a1b2-hello-world.md"), ("漢字", "qp-a1b2.md"), ("!!!", "qp-a1b2.md")]
    )
    def test_case_10_the_file_is_named_by_id_and_title(self, store: Path, run: Run, title: str, name: str) -> None:
        ran = run("notes", "new", title, "--id", "qp-a1b2", "--json")
        assert ran.code == 0, ran
        record = ran.records[-1]
        path = f".qipu/notes/{name}"
        assert record == {
            "id": "qp-a1b2",
            "title": title,
            "type": "fleeting",
            "path": path,
            "change": "created",
            "written": True,
        }
        assert (store / ".qipu/notes" / name).is_file()

    @pytest.mark.parametrize("note_id", ["../x", "qp-a/b", "", "a b", "ä", ".", "x" * 300, "a\nb"])
    def test_case_11_an_id_is_one_plain_word(self, store: Path, run: Run, note_id: str) -> None:
        before = tree(store)
        ran = run("notes", "new", "T", "--id", note_id)
        assert ran.code == 2
        assert "fix:" in ran.err
        assert tree(store) == before

    def test_an_id_that_is_taken_is_refused(self, store: Path, run: Run) -> None:
        before = tree(store)
        for note_id in ("qp-aaaa", "QP-AAAA"):
            ran = run("notes", "new", "T", "--id", note_id)
            assert (ran.code, "taken" in ran.err) == (2, True), ran
        assert tree(store) == before

    def test_case_12_an_unknown_type_names_those_there_are(self, store: Path, run: Run) -> None:
        ran = run("notes", "new", "T", "--type", "essay")
        assert ran.code == 2
        assert all(name in ran.err for name in ("fleeting", "literature", "permanent", "moc"))
        assert run("notes", "new", "T", "--type", "essay", "--json").records[-1]["error"]["rule"] == "note-type"

    def test_a_map_lies_among_the_maps(self, store: Path, run: Run) -> None:
        assert run("notes", "new", "Things", "--type", "moc", "--json").records[-1]["path"].startswith(".qipu/mocs/")

    def test_case_17_what_a_program_wrote_is_unverified(self, store: Path, run: Run) -> None:
        def written(*options: str) -> str:
            record = run("notes", "new", "T", *options, "--json").records[-1]
            return frontmatter(store / record["path"])

        assert "verified" not in written("--author", "Ann", "--source", "https://example.org/a")
        text = written("--generated-by", "a-model", "--prompt-hash", "abc")
        assert "generated_by: a-model\nprompt_hash: abc\nverified: false\n" in text
        assert "verified: true" in written("--generated-by", "a-model", "--verified")

    def test_tags_body_and_template(self, store: Path, run: Run, pipe: Pipe) -> None:
        (store / ".qipu/templates").mkdir()
        (store / ".qipu/templates/meeting.md").write_text("# {{title}}\n\nWho?\n")
        record = run("notes", "new", "Monday", "--template", "meeting", "--tag", "a,b", "--tag", "c/d", "--json").records[-1]
        text = (store / record["path"]).read_text()
        assert text.endswith("\n# Monday\n\nWho?\n")
        assert re.search(r"tags: *\[a, b, c/d\]|tags:\n *- a\n *- b\n *- c/d\n", text), text
        record = run("notes", "new", "B", "--body", "just this", "--json").records[-1]
        assert (store / record["path"]).read_text().endswith("---\n\njust this\n")
        pipe("piped\r\n--- \nin\n")
        record = run("notes", "new", "C", "--stdin", "--json").records[-1]
        assert (store / record["path"]).read_text().endswith("---\n\npiped\n--- \nin\n")

    @pytest.mark.parametrize(
        "options",
        [
            ["--body", "x", "--stdin"],
            ["--template", "none-such"],
            ["--tag", "two words"],
            ["--folder", "../out"],
            ["--folder", "/etc"],
            ["--folder", "templates"],
            ["--body", "\udcff"],
            ["--author", "\udcff"],
            ["--tag", "\udcff"],
            ["--folder", "\udcff"],
            ["--template", "../../config"],
            ["--no-such"],
            ["more"],
        ],
    )
    def test_bad_options_write_nothing(self, store: Path, run: Run, pipe: Pipe, options: list[str]) -> None:
        pipe("text")
        before = tree(store)
        for extra in ([], ["--json"]):
            ran = run("notes", "new", "T", *options, *extra)
            assert ran.code in (1, 2), ran
        assert ran.records[-1]["error"]["fix"]
        assert ran.records[-1]["error"]["rule"] != "internal"
        assert tree(store) == before

    def test_without_a_title_it_says_how(self, store: Path, run: Run) -> None:
        ran = run("notes", "new")
        assert (ran.code, "TITLE" in ran.err) == (2, True)

    def test_a_dry_run_shows_the_file(self, store: Path, run: Run) -> None:
        before = tree(store)
        ran = run("notes", "new", "Hello", "--id", "qp-a1b2", "--dry-run")
        assert (ran.code, "+++ b/.qipu/notes/qp-a1b2-hello.md" in ran.out, "+title: Hello" in ran.out) == (0, True, True)
        record = run("notes", "new", "Hello", "--id", "qp-a1b2", "--dry-run", "--json").records[-1]
        assert (record["written"], record["id"], "+title: Hello" in record["diff"]) == (False, "qp-a1b2", True)
        assert tree(store) == before

    def test_without_a_store_one_is_started_at_the_root_of_the_checkout(
        self, checkout: Path, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (checkout / "deep/er").mkdir(parents=True)
        monkeypatch.chdir(checkout / "deep/er")
        assert run("notes", "new", "First", "--dry-run").code == 2
        assert not (checkout / ".qipu").exists()
        ran = run("notes", "new", "First")
        assert ran.code == 0, ran
        assert "started a notes store in .qipu" in ran.out + ran.err
        assert (checkout / ".qipu/config.toml").is_file()
        assert len(list((checkout / ".qipu/notes").glob("*-first.md"))) == 1
        ran = run("notes", "new", "Second")
        assert (ran.code, "started" in ran.out + ran.err) == (0, False)

    def test_nothing_is_started_in_a_plain_folder(self, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "plain").mkdir()
        monkeypatch.chdir(tmp_path / "plain")
        ran = run("notes", "new", "First")
        assert (ran.code, "headwater" in ran.err, "init" in ran.err) == (2, True, True)
        assert list((tmp_path / "plain").iterdir()) == []

    def test_in_a_vault_a_note_is_named_by_its_title(self, vault: Path, run: Run) -> None:
        before = tree(vault)
        record = run("notes", "new", "What: a title?", "--tag", "t", "--json").records[-1]
        assert record["path"] == "What a title.md"
        after = tree(vault)
        assert (vault / record["path"]).is_file()
        assert {path: after[path] for path in before} == before
        assert set(after) - set(before) == {record["path"]}

    def test_a_vault_says_where_new_notes_go(self, vault: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        (vault / "sub/deeper").mkdir()
        monkeypatch.chdir(vault / "sub/deeper")
        assert run("notes", "new", "One", "--json").records[-1]["path"] == "One.md"
        (vault / ".obsidian/app.json").write_text('{"newFileLocation": "current"}')
        assert run("notes", "new", "Two", "--json").records[-1]["path"] == "sub/deeper/Two.md"
        (vault / ".obsidian/app.json").write_text('{"newFileLocation": "folder", "newFileFolderPath": "inbox"}')
        assert run("notes", "new", "Three", "--json").records[-1]["path"] == "inbox/Three.md"
        assert run("notes", "new", "Four", "--folder", "sub", "--json").records[-1]["path"] == "sub/Four.md"

    @pytest.mark.parametrize(
        ("title", "kept"),
        [
            ("two\nlines\tand\ttabs", "two lines and tabs"),
            ("x" * 400, "x" * 400),
            ("👩‍👩‍👧‍👦 family 🇩🇰", "👩‍👩‍👧‍👦 family 🇩🇰"),
            ("漢字" * 150, "漢字" * 150),
            ("../../etc/passwd", "../../etc/passwd"),
            ('it\'s "quoted": #1 [[not a link]] {a: b}', 'it\'s "quoted": #1 [[not a link]] {a: b}'),
            ("---", "---"),
            ("- : ? | > & * ! % @ `", "- : ? | > & * ! % @ `"),
            ("null", "null"),
            ("2024-01-01", "2024-01-01"),
            ("1e3", "1e3"),
            ("con", "con"),
        ],
    )
    def test_hostile_titles_stay_what_they_are(self, store: Path, run: Run, title: str, kept: str) -> None:
        ran = run("notes", "new", "--json", "--", title)
        assert ran.code == 0, ran
        record = ran.records[-1]
        assert record["title"] == kept
        path = store / record["path"]
        assert path.parent == store / ".qipu/notes"
        assert len(path.name.encode()) <= 200
        again = run("notes", "value", "show", record["id"], "--json")
        assert (again.code, again.records[-1]["id"]) == (0, record["id"])

    @pytest.mark.parametrize("title", ["", "  \n ", "nul\x01", "\u202eflip"])
    def test_titles_that_cannot_be_are_refused(self, store: Path, run: Run, title: str) -> None:
        before = tree(store)
        assert run("notes", "new", "--", title).code == 2
        assert tree(store) == before

    def test_title_ids_of_the_same_moment_differ(self, store: Path, run: Run) -> None:
        config = store / ".qipu/config.toml"
        config.write_text(config.read_text().replace('"hash"', '"timestamp"'))
        ids = [run("notes", "new", "T", "--json").records[-1]["id"] for _ in range(3)]
        assert len(set(ids)) == 3

    def test_edit_opens_the_new_note(self, store: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("EDITOR", editor(tmp_path, 'printf "written by hand\\n" >> "$1"'))
        record = run("notes", "new", "T", "--edit", "--json").records[0]
        assert (store / record["path"]).read_text().endswith("written by hand\n")


@pytest.mark.parametrize("scheme", ["hash", "timestamp"])
def test_eight_processes_make_eight_notes(store: Path, scheme: str) -> None:
    config = store / ".qipu/config.toml"
    config.write_text(config.read_text().replace('"hash"', f'"{scheme}"'))
    command = [sys.executable, "-m", "orchestration.cli.main", "notes", "new", "Same title"]
    started = [
        subprocess.Popen([*command], cwd=store, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)
    ]
    said = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0] * 8, said
    ids = {out.split()[0] for out, _ in said}
    assert len(ids) == 8
    assert len(list((store / ".qipu/notes").glob("*same-title.md"))) == 8


class TestCapture:
    def test_case_14_the_title_is_its_first_line_or_heading(self, store: Path, run: Run, pipe: Pipe) -> None:
        for text, title in (("## A heading\n\nbody\n", "A heading"), ("\nFirst line, then\nmore\n", "First line, then")):
            pipe(text)
            record = run("notes", "capture", "--json").records[-1]
            assert record["title"] == title
            assert (store / record["path"]).read_text().endswith("---\n\n" + text.lstrip("\n"))

    @pytest.mark.parametrize("text", ["", "  \n\t\n"])
    def test_case_13_nothing_is_no_note(self, store: Path, run: Run, pipe: Pipe, text: str) -> None:
        before = tree(store)
        pipe(text)
        ran = run("notes", "capture")
        assert (ran.code, "--allow-empty" in ran.err) == (2, True)
        assert tree(store) == before
        pipe(text)
        assert run("notes", "capture", "--allow-empty", "--json").records[-1]["title"] == "Untitled"

    @pytest.mark.parametrize("text", ["漢字" * 200, "👩‍👩‍👧‍👦" * 60, "é" * 300])
    def test_case_80_long_titles_of_any_script_are_cut_between_signs(self, store: Path, run: Run, pipe: Pipe, text: str) -> None:
        pipe(text)
        record = run("notes", "capture", "--json").records[-1]
        assert text.startswith(record["title"].removesuffix("…"))
        assert len(record["title"]) <= 80
        assert text in (store / record["path"]).read_text()

    @pytest.mark.parametrize("data", [b"\xff\xfe\x00x", b"caf\xe9", b"a\0b"])
    def test_what_is_no_text_is_refused(self, store: Path, run: Run, pipe: Pipe, data: bytes) -> None:
        before = tree(store)
        pipe(data)
        ran = run("notes", "capture")
        assert (ran.code, "standard input" in ran.err, "fix:" in ran.err) == (3, True, True), ran
        assert tree(store) == before

    def test_too_much_is_refused_in_time(self, store: Path, run: Run, pipe: Pipe) -> None:
        before = tree(store)
        pipe(b"x" * (17 << 20))
        assert run("notes", "capture").code == 3
        assert tree(store) == before

    def test_much_is_taken(self, store: Path, run: Run, pipe: Pipe) -> None:
        pipe(b"word " * 200_000)
        record = run("notes", "capture", "--json").records[-1]
        assert (store / record["path"]).stat().st_size > 1_000_000

    def test_frontmatter_that_comes_with_the_text_becomes_the_notes(self, store: Path, run: Run, pipe: Pipe) -> None:
        clipped = (
            '---\ntitle: "A page: of the web"\nsource: https://example.org/a\ntags: [clippings, web]\ncreated: 2024-01-31\n---\n'
        )
        pipe(clipped + "\n# Another heading\n")
        record = run("notes", "capture", "--tag", "mine", "--author", "Ann", "--json").records[-1]
        assert record["title"] == "A page: of the web"
        text = (store / record["path"]).read_text()
        assert text.count("---\n") == 2
        assert text.endswith("---\n\n# Another heading\n")
        head = frontmatter(store / record["path"])
        assert "source: https://example.org/a\n" in head
        assert "created: 2024-01-31\n" in head
        assert "author: Ann\n" in head
        assert re.findall(r"[\w]+", head.partition("tags:")[2])[:3] == ["clippings", "web", "mine"]
        pipe(clipped.replace("title", "type: literature\nid: own-id\nheading") + "text\n")
        record = run("notes", "new", "Given", "--stdin", "--type", "permanent", "--json").records[-1]
        assert (record["id"], record["title"], record["type"]) == ("own-id", "Given", "permanent")

    @pytest.mark.parametrize(
        "text", ["---\nnot: [closed\n---\ntext\n", "---\nno end\n", "---\n\ntext\n---\n", "---\n---\ntext\n"]
    )
    def test_what_only_looks_like_frontmatter_is_text(self, store: Path, run: Run, pipe: Pipe, text: str) -> None:
        pipe(text)
        record = run("notes", "capture", "--title", "T", "--json").records[-1]
        assert (store / record["path"]).read_text().endswith("\n\n" + text)

    def test_options_are_those_of_new(self, store: Path, run: Run, pipe: Pipe) -> None:
        pipe("text")
        record = run(
            "notes",
            "capture",
            "--title",
            "Given",
            "--type",
            "literature",
            "--tag",
            "t",
            "--id",
            "own",
            "--author",
            "Ann",
            "--json",
        ).records[-1]
        assert (record["id"], record["title"], record["type"]) == ("own", "Given", "literature")
        assert "author: Ann\n" in frontmatter(store / record["path"])


class TestEdit:
    def test_what_is_saved_is_kept_and_judged(
        self, store: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("EDITOR", editor(tmp_path, 'printf "more [[qp-bbbb]]\\n" >> "$1"'))
        ran = run("notes", "edit", "qp-aaaa")
        assert (ran.code, ran.out) == (0, f"edited {A}\n"), ran
        assert (store / A).read_text() == ALPHA + "more [[qp-bbbb]]\n"
        monkeypatch.setenv("EDITOR", editor(tmp_path, 'sed -i "s/^title: .*/title: [unclosed/" "$1"'))
        ran = run("notes", "edit", "qp-aaaa")
        assert ran.code == 3
        assert f"{A}:" in ran.out
        assert "title: [unclosed" in (store / A).read_text()
        records = run("notes", "edit", "qp-aaaa", "--json").records
        assert records[0]["change"] is None

    def test_one_that_changes_nothing_says_so(self, store: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("EDITOR", "true")
        ran = run("notes", "edit", "Alpha")
        assert (ran.code, "as it was" in ran.out) == (0, True)

    def test_without_an_editor_it_says_how(self, store: Path, run: Run) -> None:
        ran = run("notes", "edit", "Alpha")
        assert (ran.code, "EDITOR" in ran.err) == (2, True)

    def test_an_editor_that_fails_loses_nothing(
        self, store: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("EDITOR", editor(tmp_path, 'printf "half\\n" >> "$1"; exit 1'))
        ran = run("notes", "edit", "Alpha")
        assert (ran.code, "exit code 1" in ran.err) == (1, True)
        assert (store / A).read_text() == ALPHA + "half\n"

    def test_a_note_deleted_in_the_editor_is_gone(
        self, store: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("EDITOR", editor(tmp_path, 'rm "$1"'))
        ran = run("notes", "edit", "Alpha")
        assert (ran.code, "is gone" in ran.out) == (0, True)

    def test_the_editor_is_given_a_file_in_any_folder(
        self, store: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        (store / "elsewhere").mkdir()
        monkeypatch.chdir(store / "elsewhere")
        monkeypatch.setenv("EDITOR", editor(tmp_path, 'echo x >> "$1"'))
        assert run("notes", "edit", "qp-bbbb").code == 0
        assert (store / B).read_text().endswith("x\n")


class TestUpdate:
    def test_case_15_a_change_of_keys_keeps_every_other_byte(self, store: Path, run: Run) -> None:
        ran = run("notes", "update", "qp-aaaa", "--value", "70", "--set", "extra=changed", "--tag", "z", "--remove-tag", "x")
        assert ran.code == 0, ran
        text = (store / A).read_text()
        assert text.split("---\n", 2)[2] == ALPHA.split("---\n", 2)[2]
        assert "title: Alpha   # the first\n" in text
        assert 'extra: "changed"\n' in text
        assert "value: 70\n" in text
        assert "'y'" in text
        assert "x" not in re.findall(r"tags: \[(.*)\]", text)[0].split(", ")

    def test_case_16_another_title_renames_the_file_and_every_link(self, store: Path, run: Run) -> None:
        assert run("notes", "update", "qp-bbbb", "--title", "Better beta").code == 0
        renamed = store / ".qipu/notes/qp-bbbb-better-beta.md"
        assert renamed.is_file()
        assert not (store / B).exists()
        assert "(qp-bbbb-better-beta.md#end)" in (store / A).read_text()
        assert "[[qp-bbbb|the second]]" in (store / A).read_text()
        assert "(../notes/qp-bbbb-better-beta.md)" in (store / ".qipu/mocs/qp-cccc-map.md").read_text()

    def test_case_16_a_map_moves_to_the_maps_and_back(self, store: Path, run: Run) -> None:
        before = tree(store)
        assert run("notes", "update", "qp-bbbb", "--type", "moc").code == 0
        assert (store / ".qipu/mocs/qp-bbbb-beta.md").is_file()
        assert "(../mocs/qp-bbbb-beta.md#end)" in (store / A).read_text()
        assert run("notes", "update", "qp-bbbb", "--type", "permanent").code == 0
        assert tree(store) == before

    @pytest.mark.parametrize("value", ["101", "-1", "high", "1.5", ""])
    def test_case_18_a_value_is_a_number_up_to_a_hundred(self, store: Path, run: Run, value: str) -> None:
        before = tree(store)
        for arguments in (["update", "qp-aaaa", f"--value={value}"], ["value", "set", "--", "qp-aaaa", value]):
            ran = run("notes", *arguments)
            assert ran.code == 2
            assert "100" in ran.err or "integer" in ran.err
        assert tree(store) == before

    def test_a_body_comes_from_standard_input(self, store: Path, run: Run, pipe: Pipe) -> None:
        pipe("another body\n")
        assert run("notes", "update", "qp-aaaa", "--stdin").code == 0
        head = ALPHA.split("# Alpha\n")[0]
        assert (store / A).read_text() == head + "another body\n"
        pipe("and more")
        assert run("notes", "update", "qp-aaaa", "--append").code == 0
        assert (store / A).read_text() == head + "another body\n\nand more\n"

    @pytest.mark.parametrize("option", ["--stdin", "--append"])
    def test_an_empty_pipe_does_not_empty_a_note(self, store: Path, run: Run, pipe: Pipe, option: str) -> None:
        before = tree(store)
        pipe("\n")
        ran = run("notes", "update", "qp-aaaa", option)
        assert (ran.code, "note-empty" in ran.err) == (2, True)
        assert tree(store) == before

    @pytest.mark.parametrize("option", ["--stdin", "--append"])
    def test_a_whole_file_is_not_taken_for_a_text(self, store: Path, run: Run, pipe: Pipe, option: str) -> None:
        before = tree(store)
        pipe(ALPHA)
        ran = run("notes", "update", "qp-aaaa", option)
        assert (ran.code, "note-frontmatter" in ran.err) == (2, True)
        assert tree(store) == before

    def test_keys_of_any_kind(self, store: Path, run: Run) -> None:
        settings = ["--set", "due=2026-03-01", "--set", "n=3", "--set", 'who=["a", "b"]', "--unset", "extra"]
        ran = run("notes", "update", "qp-aaaa", *settings, "--summary", "Short: #1", "--json")
        assert ran.records == [{"path": A, "change": "edited", "written": True}]
        text = frontmatter(store / A)
        assert "due: 2026-03-01\n" in text
        assert "n: 3\n" in text
        assert "extra" not in text
        assert "Short: #1" in text
        assert run("notes", "update", "qp-aaaa", "--summary", "").code == 0
        assert "summary" not in frontmatter(store / A)

    @pytest.mark.parametrize(
        "options",
        [
            [],
            ["--set", "novalue"],
            ["--set", "id=x"],
            ["--set", "Title=x"],
            ["--unset", "links"],
            ["--set", "a=1", "--unset", "a"],
            ["--stdin", "--append"],
            ["--title", " "],
            ["--type", "essay"],
            ["--tag", "a b"],
        ],
    )
    def test_bad_changes_write_nothing(self, store: Path, run: Run, pipe: Pipe, options: list[str]) -> None:
        pipe("text")
        before = tree(store)
        ran = run("notes", "update", "qp-aaaa", *options, "--json")
        assert ran.code == 2, ran
        assert ran.records[-1]["error"]["fix"]
        assert tree(store) == before

    @pytest.mark.parametrize("word", ["qp-zzzz", "", "Alphabet soup", "../../etc/passwd", "\udce9"])
    def test_a_note_that_is_not_there_is_an_error(self, store: Path, run: Run, word: str) -> None:
        ran = run("notes", "update", "--tag", "x", "--", word)
        assert (ran.code, "note-unknown" in ran.err) == (2, True), ran

    def test_the_same_again_changes_nothing(self, store: Path, run: Run) -> None:
        assert run("notes", "update", "qp-aaaa", "--tag", "z").code == 0
        before = tree(store)
        ran = run("notes", "update", "qp-aaaa", "--tag", "z")
        assert (ran.code, ran.out) == (0, "nothing to change\n")
        assert tree(store) == before

    def test_a_dry_run_shows_the_difference(self, store: Path, run: Run) -> None:
        before = tree(store)
        ran = run("notes", "update", "qp-bbbb", "--title", "New", "--dry-run")
        assert ran.code == 0
        assert "+See [[qp-bbbb|the second]] and [it again](qp-bbbb-new.md#end)." in ran.out
        record = run("notes", "update", "qp-bbbb", "--title", "New", "--dry-run", "--json").records[-1]
        assert record["written"] is False
        assert {"path": ".qipu/notes/qp-bbbb-new.md", "change": "moved", "from": B} in record["files"]
        assert tree(store) == before

    def test_broken_frontmatter_is_left_alone(self, store: Path, run: Run) -> None:
        (store / A).write_text("---\nid: qp-aaaa\ntitle: [unclosed\n---\n\nbody\n")
        before = tree(store)
        ran = run("notes", "update", ".qipu/notes/qp-aaaa-alpha.md", "--tag", "t")
        assert (ran.code, A in ran.err, "fix" in ran.err) == (3, True, True), ran
        assert tree(store) == before

    def test_a_note_of_a_vault_gets_frontmatter_in_its_own_line_ends(self, vault: Path, run: Run) -> None:
        before = tree(vault)
        assert run("notes", "update", "Beta", "--set", "n=1").code == 0
        after = tree(vault)
        assert after["Beta.md"] == b"---\r\nn: 1\r\n---\r\n" + before["Beta.md"]
        assert {path: data for path, data in after.items() if path != "Beta.md"} == {
            path: data for path, data in before.items() if path != "Beta.md"
        }


def test_every_command_that_changes_notes_has_an_example() -> None:
    import click

    from orchestration.cli.notes import LAZY, notes

    mine = ("write", "move", "meta", "link", "store", "share", "git")
    context = click.Context(notes)
    for name, place in LAZY.items():
        if place.partition(":")[0].removeprefix("orchestration.cli.notes_") not in mine:
            continue
        command = notes.get_command(context, name)
        assert command is not None
        below = command.commands.values() if isinstance(command, click.Group) else []
        for each in (command, *below):
            assert "Example" in (each.help or ""), f"{name} {each.name}"


class TestWhichStore:
    def test_it_is_named_by_option_or_environment(
        self, store: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        assert run("notes", "init", "other").code == 0
        record = run("notes", "new", "T", "-s", "other/.qipu", "--json").records[-1]
        assert record["path"].startswith("other/.qipu/notes/")
        ran = run("notes", "new", "T", "-s", "no-such-store")
        assert (ran.code, "store-unknown" in ran.err) == (2, True)
        monkeypatch.setenv("QIPU_STORE", "other")
        assert run("notes", "new", "T", "--json").records[-1]["path"].startswith("other/.qipu/notes/")
        monkeypatch.setenv("QIPU_STORE", "")
        monkeypatch.chdir(store / "other")
        assert run("notes", "new", "T", "--json").records[-1]["path"].startswith("other/.qipu/notes/")

    def test_case_4_a_relative_store_is_relative_to_the_root(
        self, store: Path, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        record = run("-C", str(store), "notes", "new", "T", "-s", ".qipu", "--json").records[-1]
        assert (store / record["path"]).is_file()

    def test_two_stores_are_asked_about(self, checkout: Path, run: Run) -> None:
        assert run("notes", "init", "one").code == 0
        assert run("notes", "init", "two").code == 0
        ran = run("notes", "new", "T")
        assert (ran.code, "one" in ran.err, "two" in ran.err) == (2, True, True)

    def test_any_folder_of_markdown_is_one(self, checkout: Path, run: Run) -> None:
        (checkout / "docs").mkdir()
        (checkout / "docs/page.md").write_text("# Page\n\n[other](other.md)\n")
        (checkout / "docs/other.md").write_text("# Other\n")
        record = run("notes", "new", "A new page", "-s", "docs", "--json").records[-1]
        assert record["path"] == "docs/a-new-page.md"
        assert run("notes", "mv", "other.md", "sub/renamed.md", "-s", "docs").code == 0
        assert (checkout / "docs/page.md").read_text() == "# Page\n\n[other](sub/renamed.md)\n"
        assert not (checkout / ".qipu").exists()
