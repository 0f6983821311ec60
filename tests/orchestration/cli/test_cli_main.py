"""Every way out of a command: messages, exit codes, signals, streams that go away; and what the quick commands load."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.cli import VERSION
from orchestration.cli.app import printable
from tests.orchestration.cli.conftest import Ran, build, program, start

HEAVY = ("pydantic", "fsspec", "duckdb", "pyarrow", "ruamel", "dagster", "asyncio")


def test_version_is_that_of_the_distribution() -> None:
    assert importlib.metadata.version("headwater") == VERSION


def _loaded(arguments: list[str]) -> tuple[int, set[str]]:
    """The exit code of a command line and the modules in its process at the end."""
    script = (
        "import sys\nfrom orchestration.cli.main import main\ncode = main(sys.argv[1:])\n"
        "print(chr(10).join(['MODULES', *sys.modules]))\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, set(done.stdout.partition("MODULES\n")[2].split("\n"))


def test_version_loads_nothing() -> None:
    code, modules = _loaded(["--version"])
    assert code == 0
    assert not modules & {*HEAVY, "click", "json"}


@pytest.mark.parametrize("arguments", [["ls"], ["status"], ["status", "--json"], ["build"], ["explain", "tables/pets/erd"]])
def test_unchanged_path_is_light(workspace: Path, run: Callable[..., Ran], arguments: list[str]) -> None:
    build(run)
    # A home that holds an event log; without one a build loads Dagster to report what there is.
    home = workspace / ".headwater" / "local" / "dagster"
    home.mkdir(parents=True)
    (home / "event_log.db").touch()
    code, modules = _loaded(arguments)
    assert code == 0
    assert "assets.engine.engine" in modules
    assert not {name for name in modules if name.partition(".")[0] in HEAVY}


def test_unknown_command_is_a_usage_error_that_names_the_nearest(run: Callable[..., Ran]) -> None:
    ran = run("biuld")
    assert (ran.code, ran.out) == (2, "")
    assert "No such command 'biuld'; did you mean 'build'?" in ran.err
    assert "Traceback" not in ran.err


def test_unknown_option_is_a_usage_error(run: Callable[..., Ran]) -> None:
    ran = run("status", "--exitcode")
    assert ran.code == 2
    assert "--exit-code" in ran.err


@pytest.mark.parametrize("arguments", [[], ["cache"], ["git"], ["tables"]])
def test_a_group_without_a_command_shows_its_help_and_fails(run: Callable[..., Ran], arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("Usage: headwater")


def test_help_lists_every_command_with_a_whole_sentence(run: Callable[..., Ran]) -> None:
    ran = run("--help")
    assert ran.code == 0
    from orchestration.cli.app import COMMANDS

    for names in COMMANDS.values():
        for name in names:
            assert f"\n  {name} " in ran.out
    assert "..." not in ran.out.partition("Start:")[2]


def test_errors_are_one_json_line_with_json(run: Callable[..., Ran], workspace: Path) -> None:
    ran = run("status", "nothing/like/it", "--json")
    assert ran.code == 2
    [record] = ran.records
    assert record["error"]["exit_code"] == 2
    assert record["error"]["rule"] == "selection-empty"
    assert record["error"]["fix"]


def test_missing_root_is_a_usage_error(run: Callable[..., Ran], tmp_path: Path) -> None:
    ran = run("-C", tmp_path / "nowhere", "status")
    assert ran.code == 2
    assert "there is no folder" in ran.err


def test_root_is_taken_from_the_option_the_environment_and_the_folder(
    run: Callable[..., Ran], workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert "pets" not in run("ls").out
    assert "tables/pets" in run("-C", workspace, "ls").out
    assert "tables/pets" in run("ls", "-C", workspace / "pets" / "data").out
    monkeypatch.setenv("HEADWATER_ROOT", str(workspace))
    assert "tables/pets" in run("ls").out


def test_unexpected_errors_are_one_sentence_without_debug(
    run: Callable[..., Ran], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assets.engine.engine import Engine

    def fail(*_: object) -> None:
        raise RuntimeError("the moon is full")

    monkeypatch.setattr(Engine, "status", fail)
    ran = run("status")
    assert ran.code == 1
    assert "internal error: RuntimeError: the moon is full" in ran.err
    assert "Traceback" not in ran.err
    assert "Traceback" in run("status", "--debug").err


def test_operating_system_errors_name_the_file(run: Callable[..., Ran], workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assets.engine.engine import Engine

    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "pets/data/pet.csv")

    monkeypatch.setattr(Engine, "status", fail)
    ran = run("status")
    assert ran.code == 1
    assert "pets/data/pet.csv: error: permission denied" in ran.err


def test_a_bad_configuration_is_invalid_text_with_its_place(run: Callable[..., Ran], workspace: Path) -> None:
    (workspace / "headwater.toml").write_text("version = 1\n[workspace\n", "utf-8")
    ran = run("status")
    assert ran.code == 3
    assert "headwater.toml:2" in ran.err


def test_output_that_cannot_be_written_is_an_error() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with open("/dev/full", "w") as full:
        done = program("--version", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert "cannot write the output: No space left on device" in done.stderr


def test_a_reader_that_goes_away_is_no_error_message(workspace: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = program("ls", capture_output=False, stdout=write, stderr=subprocess.PIPE)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_long_query_with_their_exit_code(
    workspace: Path, run: Callable[..., Ran], number: signal.Signals, code: int
) -> None:
    assert run("query").code == 0
    process = start("query", "--timeout", "0", "SELECT count(*) FROM range(1000000000000) a WHERE hash(range) = 1")
    try:
        time.sleep(1.5)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    # Where a library evaluated code of its own, CPython ends by the signal itself; a shell reports both as `code`.
    assert process.returncode in (code, -number)
    assert (out, err) == ("", "interrupted\n")
    assert run("query", "SELECT 1 AS one", "--json").records == [{"one": 1}]


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.5, 2.0, 3.0, 4.0, 5.0])
def test_an_interrupted_build_is_finished_by_the_next(workspace: Path, run: Callable[..., Ran], delay: float) -> None:
    process = start("build")
    try:
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode in (0, 130, -signal.SIGINT)
    assert "Traceback" not in err or process.returncode == -signal.SIGINT
    assert run("status").code == 0
    assert program("build").returncode == 0
    assert run("status", "--exit-code").code == 0
    assert not list(workspace.glob("**/*.tmp"))


def test_no_terminal_codes_when_not_at_a_terminal(run: Callable[..., Ran], workspace: Path) -> None:
    assert "\x1b" not in run("status").out


def test_control_characters_from_the_text_cannot_drive_the_terminal() -> None:
    assert printable("a\x1b]0;title\x07b\u202ec\x9b1m") == "a\\x1b]0;title\\x07b\\u202ec\\x9b1m"
    assert printable("\x1b[31mred\x1b[0m\tok\n") == "\\x1b[31mred\\x1b[0m\tok\n"


def test_output_that_the_terminal_cannot_spell_is_escaped(workspace: Path) -> None:
    (workspace / "pets").rename(workspace / "pété")
    done = program("ls", env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert done.returncode == 0
    assert "tables/p\\xe9t\\xe9" in done.stdout


def test_json_lines_of_different_commands_parse(run: Callable[..., Ran], workspace: Path) -> None:
    for arguments in (["ls"], ["status"], ["check"], ["cache", "stats"], ["build", "--dry-run"], ["query", "SELECT 1"]):
        ran = run(*arguments, "--json")
        assert ran.code == 0, (arguments, ran)
        assert all(isinstance(json.loads(line), dict) for line in ran.out.splitlines())
