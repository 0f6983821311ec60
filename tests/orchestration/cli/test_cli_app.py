"""The parts every command speaks with: the bar, tables, records, colours, and which store a command means."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from assets.engine.model import Store
from orchestration.cli.app import App, counted
from orchestration.cli.progress import Bar
from orchestration.cli.stores import choose
from orchestration.cli.words import duration, size
from resources.workspace import Workspace, open_workspace
from schemas.errors import HeadwaterError, Refused, UsageError


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("orchestration.cli.progress.time", made)
    return made


def _stream(encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(stream.encoding)


def test_an_error_stands_behind_its_place_like_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    app = App(color=False)
    app.show_error(HeadwaterError("is odd", path="a/b.csv", line=3, column=4, rule="odd", fix="even it out"))
    app.show_error(HeadwaterError("is odd", fix="even it out"))
    assert capsys.readouterr().err == (
        "a/b.csv:3:4: error: is odd [odd]\n  fix: even it out\nerror: is odd\n  fix: even it out\n"
    )


@pytest.mark.parametrize("debug", [False, True])
def test_the_run_config_of_a_refusal_is_shown_to_those_who_look_closely(debug: bool, capsys: pytest.CaptureFixture[str]) -> None:
    refused = Refused("was edited", path="a.db", fix="say --confirm")
    refused.run_config = "ops: {}"
    App(debug=debug, color=False).show_error(refused)
    assert ("ops: {}" in capsys.readouterr().err) is debug
    App(json=True).show_error(refused)
    assert json.loads(capsys.readouterr().out)["error"]["run_config"] == "ops: {}"


def test_the_bar_stays_away_from_work_of_less_than_a_second(clock: Clock) -> None:
    stream = _stream()
    bar = Bar("build", 4, stream, shown=True, color=False)
    bar.advance("a")
    clock.now += 0.9
    bar.advance("b")
    bar.close()
    assert _text(stream) == ""


def test_the_bar_can_be_shown_at_once(clock: Clock) -> None:
    stream = _stream()
    Bar("build", 4, stream, shown=True, color=False).show("loading", at_once=True)
    assert "0/4 loading" in _text(stream)


def test_the_bar_shows_how_far_and_clears_its_line(clock: Clock) -> None:
    stream = _stream()
    bar = Bar("build", 4, stream, shown=True, color=False)
    clock.now += 2
    bar.advance("tables/shop/erd\x1b[31m")
    drawn = _text(stream)
    assert "1/4" in drawn
    assert drawn.count("█") == 6
    assert "\x1b[31m" not in drawn
    bar.show("too soon to be drawn again")
    assert _text(stream) == drawn
    bar.close()
    assert _text(stream).endswith("\r\x1b[2K")
    clock.now += 2
    bar.show("after the end")
    assert "after the end" not in _text(stream)


def test_the_bar_of_a_transfer_shows_rate_and_time_left(clock: Clock) -> None:
    stream = _stream()
    bar = Bar("pushing", None, stream, shown=True, color=False)
    bar.expect(3, 100 << 20)
    clock.now += 2
    bar.moved(20 << 20)
    assert "0/3 10 MiB/s, 8 s left" in _text(stream)
    assert _text(stream).count("█") == 5
    clock.now += 8
    bar.moved(5 << 20)
    bar.advance("blake3:12")
    clock.now += 1
    bar.show("blake3:12")
    assert "1/3 2.3 MiB/s, 33 s left blake3:12" in _text(stream)
    clock.now += 1
    bar.moved(200 << 20)
    assert _text(stream).rpartition("pushing")[2].count("█") == 24


def test_the_bar_spells_itself_in_ascii_where_it_must(clock: Clock) -> None:
    stream = _stream("ascii")
    bar = Bar("build", 2, stream, shown=True, color=False)
    clock.now += 2
    bar.advance("x")
    assert "############............" in _text(stream)


def test_no_bar_where_nobody_looks(clock: Clock) -> None:
    stream = _stream()
    bar = Bar("build", 2, stream, shown=False, color=False)
    clock.now += 5
    bar.advance("x")
    assert _text(stream) == ""


def test_records_are_json_lines_and_people_are_told_nothing_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    app = App(json=True)
    app.emit({"name": "é\n", "number": 1}, "for people")
    app.say("for people")
    taken = capsys.readouterr()
    assert json.loads(taken.out) == {"name": "é\n", "number": 1}
    assert taken.out.count("\n") == 1
    assert taken.err == ""


@pytest.mark.parametrize(("color", "shown"), [(None, False), (True, True), (False, False)])
def test_colours_are_for_terminals_or_on_request(capsys: pytest.CaptureFixture[str], color: bool | None, shown: bool) -> None:
    app = App(color=color)
    app.say(app.style("word", "red"))
    assert ("\x1b[31m" in capsys.readouterr().out) is shown


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "shown"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_colours_honour_the_environment(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], shown: bool) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    app = App()
    app.say(app.style("word", "green"))
    assert terminal.getvalue() == ("\x1b[32mword\x1b[0m\n" if shown else "word\n")


def test_tables_align_by_what_is_seen(capsys: pytest.CaptureFixture[str]) -> None:
    app = App(color=True)
    app.table([[app.style("a", "red"), "x"], ["bbb", "y"]])
    first, second = capsys.readouterr().out.splitlines()
    assert first.replace("\x1b[31m", "").replace("\x1b[0m", "") == "a    x"
    assert second == "bbb  y"


def test_numbers_are_said_as_people_say_them() -> None:
    assert [counted(0, "row"), counted(1, "row"), counted(1234, "row")] == ["0 rows", "1 row", "1,234 rows"]
    assert [size(0), size(1023), size(1536), size(20 << 20), size(3 << 40)] == ["0 B", "1023 B", "1.5 KiB", "20 MiB", "3072 GiB"]
    assert [duration(0.0123), duration(3.44), duration(125)] == ["12 ms", "3.4 s", "2 min 5 s"]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for folder in ("shop/data", "shop/inner", "rangers"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "headwater.toml").write_text("version = 1\n")
    monkeypatch.chdir(tmp_path)
    return open_workspace(tmp_path)


def test_a_command_means_the_store_named_or_around_or_the_only_one(opened: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, inner, rangers = (Store("tables", name, name) for name in ("shop", "shop/inner", "rangers"))
    stores = [shop, inner, rangers, Store("notes", "vault", "vault")]
    assert choose(opened, stores, "tables", "rangers") is rangers
    assert choose(opened, stores, "tables", "tables/shop") is shop
    assert choose(opened, stores, "tables", "./shop/data") is shop
    assert choose(opened, [rangers], "tables", None) is rangers
    root = opened.root.local_root
    assert root is not None
    monkeypatch.chdir(root / "shop" / "data")
    assert choose(opened, stores, "tables", None) is shop
    monkeypatch.chdir(root / "shop" / "inner")
    assert choose(opened, stores, "tables", None) is inner
    assert choose(opened, stores, "tables", "..") is shop


@pytest.mark.parametrize(
    ("selector", "kind", "rule"),
    [(None, "tables", "store-ambiguous"), ("nowhere", "tables", "store-unknown"), (None, "images", "store-none")],
)
def test_a_store_that_cannot_be_told_is_a_usage_error(opened: Workspace, selector: str | None, kind: str, rule: str) -> None:
    stores = [Store("tables", name, name) for name in ("shop", "rangers")]
    with pytest.raises(UsageError) as raised:
        choose(opened, stores, kind, selector)
    assert raised.value.rule == rule
    assert raised.value.fix
