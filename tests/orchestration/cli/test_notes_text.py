"""What people type and pipe: titles, values, standard input, and which editor is started."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.cli.app import App
from orchestration.cli.notes_text import (
    TITLE_LENGTH,
    checked_key,
    checked_tags,
    clean_title,
    open_editor,
    parse_setting,
    read_stdin,
    shortened,
    title_of,
)
from schemas.errors import HeadwaterError, InvalidText, UsageError


def pipe(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("# Heading ##\nbody", "Heading"),
        ("\n\n  first line\nsecond", "first line"),
        ("- [ ] buy milk", "buy milk"),
        ("> quoted\n", "quoted"),
        ("12. twelfth", "twelfth"),
        ("---\n# After a rule", "After a rule"),
        ("####### seven", "####### seven"),
        ("#tag first", "#tag first"),
        ("#\n##  \nwords", "words"),
        ("a\tb\x00c\x07", "a bc"),
    ],
)
def test_case_14_the_title_is_the_first_line_or_heading(text: str, title: str) -> None:
    assert title_of(text) == title


@pytest.mark.parametrize("text", ["", "\n \t\n", "***\n---\n", "#\n>\n"])
def test_a_text_without_words_has_no_title(text: str) -> None:
    assert title_of(text) is None


@pytest.mark.parametrize("sign", ["漢", "é", "e\u0301", "👩‍👩‍👧‍👦", "👍🏽", "🇩🇰", "❤️", "x"])
@pytest.mark.parametrize("lead", [0, 1, 2, 3])
def test_case_80_a_long_title_is_cut_between_signs(sign: str, lead: int) -> None:
    title = title_of("z" * lead + sign * 400)
    assert title is not None
    assert len(title) <= TITLE_LENGTH
    kept = title.removesuffix("…")[lead:]
    assert kept
    assert kept == sign * (len(kept) // len(sign))


def test_a_long_title_ends_with_a_whole_word() -> None:
    title = title_of("word " * 100)
    assert title is not None
    assert title.endswith("word…")
    assert len(title) <= TITLE_LENGTH


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300), st.integers(min_value=2, max_value=100))
def test_a_shortened_text_is_short_and_the_start_of_it(text: str, length: int) -> None:
    cut = shortened(text, length)
    assert len(cut) <= length
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]))


def test_a_title_is_one_line() -> None:
    assert clean_title("  two\nlines \t here\u2028") == "two lines here"


@pytest.mark.parametrize("title", ["", " \n", "a\x00b", "bell\x07", "right\u202eto left", "half \udce9"])
def test_what_no_title_can_hold_is_refused(title: str) -> None:
    with pytest.raises(UsageError) as caught:
        clean_title(title)
    assert caught.value.rule == "note-title"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("k=3", 3),
        ("k=-2.5", -2.5),
        ("k=true", True),
        ("k=null", None),
        ('k=["a", 1]', ["a", 1]),
        ('k={"x": 1}', {"x": 1}),
        ('k="3"', "3"),
        ("k=2024-01-31", "2024-01-31"),
        ("k=007", "007"),
        ("k=a=b", "a=b"),
        ("k=", ""),
        ("k=NaN", "NaN"),
        ("k=[[qp-a1b2]]", "[[qp-a1b2]]"),
        ("k=" + "[" * 100_000, "[" * 100_000),
    ],
)
def test_settings_are_json_where_they_are_else_text(text: str, value: object) -> None:
    assert parse_setting(text) == ("k", value)


@pytest.mark.parametrize("text", ["", "k", "=v", " =v", "a\nb=v"])
def test_a_setting_without_a_key_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_setting(text)
    assert caught.value.rule == "note-key"


def test_keys_are_trimmed() -> None:
    assert checked_key(" due date ") == "due date"


def test_tags_are_split_and_each_counts_once() -> None:
    assert checked_tags(["a,#b", "a", "c/d"]) == ["a", "b", "c/d"]
    with pytest.raises(UsageError):
        checked_tags(["two words"])


def test_stdin_is_text_with_plain_line_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe(monkeypatch, b"\xef\xbb\xbfa\r\nb\rc <<<<<<< \xe6\xbc\xa2\n")
    assert read_stdin(App()) == "a\nb\nc <<<<<<< 漢\n"


@pytest.mark.parametrize(
    ("data", "rule"),
    [(b"a\xff\xfeb", "text-encoding"), (b"a\0b", "text-nul"), (b"x" * ((16 << 20) + 1), "text-too-large")],
    ids=["encoding", "nul", "huge"],
)
def test_stdin_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch, data: bytes, rule: str) -> None:
    pipe(monkeypatch, data)
    with pytest.raises(InvalidText) as caught:
        read_stdin(App())
    assert caught.value.rule == rule
    assert caught.value.path == "standard input"


class TestEditor:
    def script(self, folder: Path, code: int = 0) -> Path:
        path = folder / "my editor"
        path.write_text(f'#!/bin/sh\nprintf more >> "$2"\nexit {code}\n')
        path.chmod(0o755)
        return path

    @pytest.mark.parametrize("variable", ["VISUAL", "EDITOR"])
    def test_it_is_taken_from_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.delenv("EDITOR", raising=False)
        monkeypatch.setenv(variable, f"'{self.script(tmp_path)}' --wait")
        (tmp_path / "note.md").write_text("text ")
        open_editor(App(), tmp_path / "note.md", None)
        assert (tmp_path / "note.md").read_text() == "text more"

    def test_one_that_fails_leaves_what_it_saved(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("VISUAL", f"'{self.script(tmp_path, 7)}' --wait")
        (tmp_path / "note.md").write_text("text ")
        with pytest.raises(HeadwaterError) as caught:
            open_editor(App(), tmp_path / "note.md", None)
        assert (caught.value.rule, "exit code 7" in caught.value.message) == ("editor-failed", True)
        assert (tmp_path / "note.md").read_text() == "text more"

    @pytest.mark.parametrize("named", ["", "'unclosed", "/no/such/editor"])
    def test_one_that_cannot_be_started_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
        monkeypatch.delenv("VISUAL", raising=False)
        monkeypatch.setenv("EDITOR", named)
        with pytest.raises(HeadwaterError) as caught:
            open_editor(App(), tmp_path / "note.md", None)
        assert caught.value.rule in ("editor-none", "editor-failed")
        assert caught.value.fix

    @pytest.mark.parametrize(
        "configured", ["sh -c 'touch pwned'", "./evil", "vim -c ':!touch pwned'", "code --extensionDevelopmentPath=."]
    )
    def test_a_store_cannot_have_its_own_command_run(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], configured: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "evil").write_text("#!/bin/sh\ntouch pwned\n")
        (tmp_path / "evil").chmod(0o755)
        monkeypatch.setenv("VISUAL", f"'{self.script(tmp_path)}' --wait")
        (tmp_path / "note.md").write_text("text ")
        open_editor(App(), tmp_path / "note.md", configured)
        assert not (tmp_path / "pwned").exists()
        assert "passed over the editor" in capsys.readouterr().err
        assert (tmp_path / "note.md").read_text() == "text more"

    def test_a_known_editor_of_the_store_is_started(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "bin").mkdir()
        self.script(tmp_path).rename(tmp_path / "bin" / "nvim")
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
        monkeypatch.setenv("VISUAL", "/no/such/editor")
        (tmp_path / "note.md").write_text("text ")
        open_editor(App(), tmp_path / "note.md", "nvim -f")
        assert (tmp_path / "note.md").read_text() == "text more"
