"""What the tests of commands that change notes work in: a checkout with a small store, a vault, and a way to pipe text in."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.orchestration.cli.conftest import Ran

Run = Callable[..., Ran]
Pipe = Callable[[bytes | str], None]

ALPHA = """\
---
id: qp-aaaa
title: Alpha   # the first
tags: [x, 'y']
extra: "kept"
---

# Alpha

See [[qp-bbbb|the second]] and [it again](qp-bbbb-beta.md#end).
"""
BETA = """\
---
title: Beta
id: qp-bbbb
type: permanent
links:
  - {type: supports, id: qp-aaaa}
---

Body of beta, about [[Alpha]].

## End
"""
MAP = """\
---
id: qp-cccc
title: Map
type: moc
---

- [[qp-aaaa]]
- [Beta](../notes/qp-bbbb-beta.md)
"""
FILES = {
    ".qipu/config.toml": 'version = 1\ndefault_note_type = "fleeting"\nid_scheme = "hash"\n',
    ".qipu/.gitignore": "/qipu.db*\n/.cache/\n",
    ".qipu/notes/qp-aaaa-alpha.md": ALPHA,
    ".qipu/notes/qp-bbbb-beta.md": BETA,
    ".qipu/mocs/qp-cccc-map.md": MAP,
}
A, B, C = ".qipu/notes/qp-aaaa-alpha.md", ".qipu/notes/qp-bbbb-beta.md", ".qipu/mocs/qp-cccc-map.md"


def write_files(root: Path, files: dict[str, str]) -> None:
    """Write files below `root`, with the folders they lie in."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode())


def git(root: Path, *arguments: str) -> str:
    """Run git in `root` with an author of its own; its output."""
    settings = [
        "-c",
        "user.name=Ada",
        "-c",
        "user.email=ada@example.org",
        "-c",
        "commit.gpgsign=false",
        "-c",
        "init.defaultBranch=main",
    ]
    done = subprocess.run(["git", *settings, *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout


def tree(root: Path) -> dict[str, bytes]:
    """Every file below `root` that people wrote: not git's, and nothing derived."""
    derived = (".git/", ".headwater/")
    files = {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    return {path: data for path, data in files.items() if not path.startswith(derived) and "qipu.db" not in path}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty git checkout, as the current folder."""
    root = tmp_path / "repo"
    root.mkdir()
    git(root, "init", "-q")
    monkeypatch.chdir(root)
    for name in ("QIPU_STORE", "VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    return root


@pytest.fixture
def store(checkout: Path) -> Path:
    """A checkout with a store of three notes, committed; the current folder is its root."""
    write_files(checkout, FILES)
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "first")
    return checkout


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An Obsidian vault outside of every checkout, as the current folder."""
    root = tmp_path / "vault"
    write_files(
        root,
        {
            ".obsidian/app.json": "{}",
            "Alpha.md": "# Alpha\n\nSee [[Beta]] and [[sub/Gamma|gamma]].\n",
            "Beta.md": "No frontmatter, but #tagged.\r\nSee [[Alpha#Alpha]].\r\n",
            "sub/Gamma.md": "---\naliases: [third]\n---\n\n![[pic.png]] [back](../Beta.md)\n",
            "pic.png": "not really",
        },
    )
    monkeypatch.chdir(root)
    monkeypatch.delenv("QIPU_STORE", raising=False)
    return root


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """Put something on standard input."""

    def piped(data: bytes | str) -> None:
        raw = data.encode() if isinstance(data, str) else data
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"))

    return piped


@pytest.fixture
def pipe_terminal(monkeypatch: pytest.MonkeyPatch) -> Pipe:
    """Answer the questions of a command as a person at a terminal would."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def piped(answers: bytes | str) -> None:
        from orchestration.cli.app import App

        monkeypatch.setattr(sys, "stdin", Terminal(answers if isinstance(answers, str) else answers.decode()))
        monkeypatch.setattr(App, "interactive", property(lambda _: True))

    return piped


def editor(folder: Path, script: str) -> str:
    """An editor that runs `script` with the file as $1; its command."""
    path = folder / "editor.sh"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def link_states() -> dict[str, int]:
    """How many links of each state the store around the current folder has: what must not get worse by an edit."""
    from contextlib import closing

    from assets.notes.opened import open_notes
    from orchestration.cli.app import App

    app = App()
    try:
        with closing(open_notes(app.engine(), app.store("notes"))) as notes:
            rows = notes.connection.execute("SELECT state, count(*) FROM mentions GROUP BY state").fetchall()
            return {row[0]: row[1] for row in rows}
    finally:
        app.close()
