"""Plans shown as git would show them; git itself is the judge of whether they apply."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from orchestration.cli.notes_diff import difference, records
from resources.notes.changes import Plan
from resources.storage.base import ABSENT, Change


def plan_of(before: dict[str, bytes], after: dict[str, bytes]) -> Plan:
    paths = sorted({*before, *after})
    changes = [Change(path, after.get(path), ABSENT if path not in before else None) for path in paths]
    changed = [change for change in changes if before.get(change.path) != change.data]
    return Plan("test", changes=changed, before={c.path: before[c.path] for c in changed if c.path in before})


TEXT = b"one\ntwo\nthree\nfour\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"a.md": TEXT}, {"a.md": TEXT.replace(b"two", b"2")}),
        ({}, {"new.md": TEXT}),
        ({"old.md": TEXT}, {}),
        ({"a.md": TEXT}, {"b/c.md": TEXT}),
        ({"a.md": TEXT, "x/b.md": b"b\n"}, {"y/a.md": TEXT + b"more\n", "y/b.md": b"b\n"}),
        ({"a.md": b"no end"}, {"a.md": b"no end\nat all"}),
        ({"a.md": "a\u2028b\x0bc\n\x1cd\n".encode()}, {"a.md": "a\u2028b\x0bc\n\x1ce\n".encode()}),
        ({"a.md": b"x\r\ny\r\n"}, {"a.md": b"x\r\nz\r\n"}),
        ({"a.md": b"only pair\n"}, {"b.md": b"something else\nentirely\n"}),
    ],
)
def test_git_applies_what_is_shown(tmp_path: Path, before: dict[str, bytes], after: dict[str, bytes]) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    for path, data in before.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    (tmp_path / "p.patch").write_bytes(difference(plan_of(before, after)).encode())
    subprocess.run(["git", "apply", "--whitespace=nowarn", "p.patch"], cwd=tmp_path, check=True)
    (tmp_path / "p.patch").unlink()
    made = {
        path.relative_to(tmp_path).as_posix(): path.read_bytes()
        for path in tmp_path.rglob("*")
        if path.is_file() and ".git" not in path.parts
    }
    assert made == after


def test_bytes_that_are_no_text_are_said_to_differ() -> None:
    shown = difference(plan_of({"a.png": b"\0\1"}, {"a.png": b"\0\2"}))
    assert shown == "Binary files a/a.png and b/a.png differ\n"
    assert difference(plan_of({}, {"caf.md": b"caf\xe9"})) == "Binary files /dev/null and b/caf.md differ\n"


def test_an_empty_file_is_shown_too() -> None:
    assert difference(plan_of({}, {"a.md": b""})) == "--- /dev/null\n+++ b/a.md\n"


def test_every_file_is_one_record() -> None:
    before = {"a.md": TEXT, "b.md": b"b\n", "gone.md": b"gone\n"}
    after = {"x/a.md": TEXT, "b.md": b"c\n", "new.png": b"\0"}
    assert records(plan_of(before, after)) == [
        {"path": "b.md", "change": "edited"},
        {"path": "gone.md", "change": "removed"},
        {"path": "new.png", "change": "created"},
        {"path": "x/a.md", "change": "moved", "from": "a.md"},
    ]
