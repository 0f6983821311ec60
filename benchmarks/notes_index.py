"""A notes store of 1,000 to 100,000 notes: building its index, keeping it up to date, searching and listing, beside peers.

    python benchmarks/notes_index.py [--sizes 1000,10000,100000] [--runs 3] [--shaped 5000] [--peer-python PYTHON] [--no-peers]

The synthetic stores have notes of about 1 KiB in `.qipu/notes`, each with an id, a title, tags and three links; one link in
fifty leads nowhere. The real-shaped store has the sizes and habits of vaults people publish: most notes short and a few very
long, headings in three levels, nested tags, aliases, code, tables, Markdown and wiki links with anchors, some Japanese.

Every figure is one of a whole process (interpreter, imports, engine) that is started for it, but for the searches, which are
timed one by one in a process that has opened the store. Peers on the same files in the same run: `git status` for the look at
unchanged files; `rg` and `grep` for a search without index; for the cold build what one writes in an afternoon (markdown-it-py,
a regular expression for links, SQLite's FTS5, one transaction) and, where PYTHON has it, obsidiantools. The best of `--runs`
counts. Exits with 1 when a budget is not kept.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

_SYLLABLES = (
    *("ba", "co", "de", "fi", "ga", "ho", "ju", "ka", "le", "mi", "no", "pa", "qua", "re", "su", "ta", "ul", "va", "wi", "xe"),
    *("yo", "zan", "mer", "lin", "ter", "ost", "and", "ist", "ell", "orn", "gar"),
)
WORDS = [one + two + three for three in _SYLLABLES for two in _SYLLABLES for one in _SYLLABLES]
"""29,791 words; the first are used most, the n-th about as often as one n-th of the first (Zipf's law)."""
_WEIGHTS = list(accumulate(1 / (rank + 3) for rank in range(len(WORDS))))
_ASKED = slice(300, 10_000)
"""What people search for: neither the words that every note has, nor those that hardly any has."""
SEARCHES = 300
BUDGETS = {
    ("cold", 10_000): 6.0,
    ("cold", 100_000): 70.0,
    ("peak MiB", 100_000): 500.0,
    ("nothing changed", 10_000): 0.3,
    ("one note changed", 10_000): 0.5,
    ("search p95 ms", 100_000): 10.0,
    ("list", 100_000): 1.0,
}
_TOOL = "headwater"
_SAID = "measured"
_GLANCE = 0.005
"""Seconds between two looks at the memory of a process and its children."""


# stores


def said(chance: random.Random, count: int) -> list[str]:
    """As many words as `count`, as often as each is used."""
    return chance.choices(WORDS, cum_weights=_WEIGHTS, k=count)


def synthetic(folder: Path, notes: int) -> Path:
    """A workspace with a store of `notes` notes of about 1 KiB, the same bytes every time."""
    chance = random.Random(notes)
    store = folder / ".qipu" / "notes"
    store.mkdir(parents=True)
    (folder / "headwater.toml").write_text("version = 1\n", encoding="utf-8")
    for number in range(notes):
        links = [f"[[qp-{chance.randrange(notes + notes // 50):06x}]]" for _ in range(3)]
        text = " ".join(said(chance, 115))
        day = f"20{chance.randrange(10, 26)}-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}"
        title = f"{chance.choice(WORDS).title()} {chance.choice(WORDS)} {number}"
        head = f"---\nid: qp-{number:06x}\ntitle: {title}\ntype: permanent\ncreated: {day}\n"
        head += f"tags: [{chance.choice(WORDS)}, note]\n---\n"
        body = f"# {title}\n\n{text[:400]}\n\n## Notes\n\n{text[400:]}\n\nSee {links[0]}, {links[1]} and {links[2]}.\n"
        (store / f"qp-{number:06x}-note.md").write_text(head + body, encoding="utf-8")
    return folder


def shaped(folder: Path, notes: int) -> Path:
    """A workspace with a store like those people publish."""
    chance = random.Random(20261121)
    (folder / ".qipu").mkdir(parents=True)
    (folder / "headwater.toml").write_text("version = 1\n", encoding="utf-8")
    places = [
        f"{chance.choice(('notes', 'notes/topics', 'notes/2024/03', 'notes/people', 'mocs'))}/note-{at}.md" for at in range(notes)
    ]
    for at, place in enumerate(places):
        path = folder / ".qipu" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_shaped_note(chance, at, places), encoding="utf-8")
    return folder


def _shaped_note(chance: random.Random, at: int, places: list[str]) -> str:
    lines = []
    if chance.random() < 0.7:
        lines += [
            "---",
            f"title: Note {at}",
            "tags:",
            f"  - {chance.choice(WORDS)}/{chance.choice(WORDS)}",
            "aliases: [" + f"N{at}]",
        ]
        lines += [f"created: 2024-{chance.randrange(1, 13):02}-{chance.randrange(1, 29):02}  # by hand", "---", ""]
    lines.append(f"# Note {at}")
    size = int(min(chance.lognormvariate(6.6, 1.3), 120_000))
    while sum(map(len, lines)) < size:
        lines += _shaped_block(chance, at, places)
    return "\n".join(lines) + "\n"


def _shaped_block(chance: random.Random, at: int, places: list[str]) -> list[str]:
    text = " ".join(said(chance, chance.randrange(8, 60)))
    other = chance.randrange(len(places))
    kind = chance.random()
    if kind < 0.12:
        return ["", f"{'#' * chance.randrange(2, 5)} {chance.choice(WORDS).title()} {chance.choice(WORDS)}", ""]
    if kind < 0.2:
        return ["```python", f"link = '[[note-{other}]]'  # {text}", "```"]
    if kind < 0.26:
        return ["", "| name | note |", "|---|---|", f"| {chance.choice(WORDS)} | [[note-{other}\\|that]] |", ""]
    if kind < 0.45:
        return [f"- [[note-{other}]] {text[:60]} #{chance.choice(WORDS)}"]
    if kind < 0.55:
        there = os.path.relpath(places[other], Path(places[at]).parent)
        return [f"{text} [there]({there}#{chance.choice(WORDS)})"]
    if kind < 0.6:
        return [f"知識は{chance.choice(WORDS)}の管理である。{text}"]
    return [text, ""]


# what runs in a process of its own


def searches(workspace: Path) -> None:
    """Time searches one by one on an opened store and print the median and the 95th percentile in milliseconds."""
    from assets.engine.engine import Engine
    from assets.notes.opened import open_notes
    from assets.notes.query import parse_query
    from assets.notes.recipes import KIND
    from assets.notes.search import search
    from resources.workspace import open_workspace

    engine = Engine(open_workspace(workspace), {"notes": KIND})
    chance = random.Random(1)
    times = []
    with open_notes(engine, engine.store(engine.refs()[0])) as notes:
        for at in range(SEARCHES):
            words = chance.sample(WORDS[_ASKED], 2)
            text = (words[0], " ".join(words), f'"{words[0]} {words[1]}"', f"{words[0]} OR {words[1]}", f"{words[0][:4]}*")[
                at % 5
            ]
            started = time.perf_counter()
            search(notes.connection, parse_query(text), limit=20, now=notes.now, config=notes.config)
            times.append((time.perf_counter() - started) * 1000)
    times.sort()
    print(_SAID, times[len(times) // 2], times[int(len(times) * 0.95)])


def afternoon(workspace: Path) -> None:
    """The index one writes in an afternoon."""
    from markdown_it import MarkdownIt

    link = re.compile(r"\[\[([^\]|#]+)")
    parser = MarkdownIt("commonmark")
    connection = sqlite3.connect(workspace / "afternoon.db")
    connection.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, path TEXT, title TEXT)")
    connection.execute("CREATE TABLE link (note INTEGER, target TEXT)")
    connection.execute("CREATE VIRTUAL TABLE text USING fts5 (title, body)")
    for number, path in enumerate(sorted((workspace / ".qipu").rglob("*.md"))):
        body = path.read_text(encoding="utf-8")
        tokens = parser.parse(body)
        heading = next((tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"), path.stem)
        inline = "\n".join(token.content for token in tokens if token.type == "inline")
        connection.execute("INSERT INTO note VALUES (?, ?, ?)", (number, str(path), heading))
        connection.execute("INSERT INTO text (rowid, title, body) VALUES (?, ?, ?)", (number, heading, body))
        connection.executemany("INSERT INTO link VALUES (?, ?)", [(number, target) for target in link.findall(inline)])
    connection.execute("CREATE INDEX targets ON link (target)")
    connection.commit()
    connection.close()


STEPS: dict[str, Callable[[Path], None]] = {"searches": searches, "afternoon": afternoon}

_OBSIDIANTOOLS = "import pathlib, sys, obsidiantools.api as o; o.Vault(pathlib.Path(sys.argv[1])).connect().gather()"


# measuring


@dataclass
class Measured:
    """Wall and CPU seconds and peak MiB of one process and its children; what it said of itself."""

    wall: float
    cpu: float
    peak: float
    said: tuple[float, ...] = ()


def measure(command: list[str], folder: Path) -> Measured:
    """Run a command in `folder` to its end. Raises CalledProcessError."""
    most = 0.0
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        while True:
            ended, status, usage = os.wait4(process.pid, os.WNOHANG)
            if ended:
                break
            most = max(most, sum(_resident(one) for one in _family(process.pid)))
            time.sleep(_GLANCE)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        words = output.read(1 << 16).decode(errors="replace").split()
        if process.returncode:
            errors.seek(0)
            raise subprocess.CalledProcessError(process.returncode, command, output=None, stderr=errors.read().decode())
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    said = tuple(float(word) for word in words[1:]) if words[:1] == [_SAID] else ()
    return Measured(wall, usage.ru_utime + usage.ru_stime, max(most, usage.ru_maxrss / unit), said)


def _family(pid: int) -> Iterator[int]:
    yield pid
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield from _family(int(child))


def _resident(pid: int) -> float:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)
    return 0.0


def best(runs: int, once: Callable[[], Measured]) -> Measured:
    """The smallest of each figure, the largest peak."""
    found = [once() for _ in range(runs)]
    return Measured(
        min(one.wall for one in found),
        min(one.cpu for one in found),
        max(one.peak for one in found),
        min((one.said for one in found), default=()),
    )


class Store:
    """One store and what is measured on it."""

    def __init__(self, name: str, folder: Path, notes: int, runs: int) -> None:
        self.name, self.folder, self.notes = name, folder, notes
        self.runs = runs if notes <= 20_000 else 1
        self.rows: dict[str, Measured] = {}

    def tool(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name(_TOOL)), "-C", str(self.folder), "notes", *arguments]

    def ours(self) -> None:
        self.rows["cold"] = best(self.runs, self.cold)
        self.rows["nothing changed"] = best(self.runs + 2, lambda: measure(self.tool("list", "--limit", "1"), self.folder))
        self.rows["one note changed"] = best(self.runs + 2, self.one_changed)
        self.rows["list"] = best(
            self.runs + 2, lambda: measure(self.tool("list", "--limit", "0", "--format", "records"), self.folder)
        )
        self.rows["searches"] = best(self.runs, lambda: measure(_own("searches", self.folder), self.folder))

    def cold(self) -> Measured:
        """Everything from nothing, the first time: no index, no stat cache, no build cache."""
        shutil.rmtree(self.folder / ".headwater", ignore_errors=True)
        (self.folder / ".qipu" / "qipu.db").unlink(missing_ok=True)
        return measure(self.tool("list", "--limit", "1"), self.folder)

    def one_changed(self) -> Measured:
        """One note edited, its heading and a link among the changes; then a command that needs the index."""
        path = next(iter(sorted((self.folder / ".qipu" / "notes").glob("*.md"))))
        text = path.read_text(encoding="utf-8")
        path.write_text(f"{text}\n## Edited {time.time_ns()}\n\n[[nowhere-{time.time_ns()}]] one more line\n", encoding="utf-8")
        try:
            return measure(self.tool("list", "--limit", "1"), self.folder)
        finally:
            path.write_text(text, encoding="utf-8")
            measure(self.tool("list", "--limit", "1"), self.folder)

    def peers(self, peer_python: str | None) -> None:
        git = ["git", "-c", "core.untrackedCache=false"]
        subprocess.run([*git, "init", "-q"], cwd=self.folder, check=True)
        subprocess.run([*git, "add", ".qipu/notes"], cwd=self.folder, check=True, capture_output=True)
        self.rows["git status"] = best(self.runs + 2, lambda: measure([*git, "status", "--porcelain"], self.folder))
        shutil.rmtree(self.folder / ".git")
        for name, options in (("rg", ["-il", "--hidden"]), ("grep", ["-ril"])):
            if found := shutil.which(name):
                command = [found, *options, WORDS[300], ".qipu/notes"]
                self.rows[f"{name}, one word"] = best(self.runs, partial(measure, command, self.folder))
        self.rows["markdown-it-py and FTS5"] = best(1, lambda: measure(_own("afternoon", self.folder), self.folder))
        (self.folder / "afternoon.db").unlink()
        if peer_python is not None and self.notes <= 20_000:
            command = [peer_python, "-c", _OBSIDIANTOOLS, str(self.folder / ".qipu")]
            self.rows["obsidiantools"] = best(1, lambda: measure(command, self.folder))

    def print(self) -> None:
        size = sum(path.stat().st_size for path in (self.folder / ".qipu").rglob("*.md")) / 1e6
        index = (self.folder / ".qipu" / "qipu.db").stat().st_size / 1e6
        print(f"\n{self.name}: {self.notes:,} notes, {size:.1f} MB; the index {index:.1f} MB\n")
        print("| | wall s | CPU s | peak MiB |\n|---|---:|---:|---:|")
        for name, figures in self.rows.items():
            if name == "searches":
                print(f"| search, in process | median {figures.said[0]:.1f} ms, p95 {figures.said[1]:.1f} ms | | |")
            else:
                print(f"| {name} | {figures.wall:.2f} | {figures.cpu:.2f} | {figures.peak:.0f} |")

    def budgets(self) -> Iterator[tuple[str, float, float]]:
        measured = {name: figures.wall for name, figures in self.rows.items()}
        measured["peak MiB"] = self.rows["cold"].peak
        measured["search p95 ms"] = self.rows["searches"].said[1]
        for (name, notes), budget in BUDGETS.items():
            if notes == self.notes and self.name == "synthetic":
                yield f"{name}, {notes:,} notes", measured[name], budget


def _own(step: str, workspace: Path) -> list[str]:
    return [sys.executable, __file__, "--step", step, "--workspace", str(workspace)]


def main() -> int:
    """Measure, print the tables, the curve and the budgets; 1 when one is not kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1000,10000,100000", help="notes of the synthetic stores")
    parser.add_argument("--shaped", type=int, default=5000, help="notes of the real-shaped store; 0 for none")
    parser.add_argument("--runs", type=int, default=3, help="how often each figure is taken; large stores are built once")
    parser.add_argument("--peer-python", help="a Python that has obsidiantools")
    parser.add_argument("--no-peers", action="store_true", help="measure ours only")
    parser.add_argument("--step", choices=sorted(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--workspace", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        STEPS[arguments.step](arguments.workspace)
        return 0
    stores = []
    for notes in [int(size) for size in arguments.sizes.split(",") if size] + [-arguments.shaped] * bool(arguments.shaped):
        with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
            root = Path(folder) / "work"
            store = (
                Store("synthetic", synthetic(root, notes), notes, arguments.runs)
                if notes > 0
                else Store("real-shaped", shaped(root, -notes), -notes, arguments.runs)
            )
            store.ours()
            if not arguments.no_peers:
                store.peers(arguments.peer_python)
            store.print()
            stores.append(store)
    return _sum_up(stores)


def _sum_up(stores: list[Store]) -> int:
    curve = [store for store in stores if store.name == "synthetic"]
    if len(curve) > 1:
        print("\nCost of a note in a build from nothing, which grows linearly where this does not grow:\n")
        print("| notes | ms per note, wall | CPU | |\n|---:|---:|---:|---|")
        most = max(store.rows["cold"].wall / store.notes for store in curve)
        for store in curve:
            wall, cpu = store.rows["cold"].wall / store.notes, store.rows["cold"].cpu / store.notes
            print(f"| {store.notes:,} | {wall * 1000:.3f} | {cpu * 1000:.3f} | {'█' * max(1, round(30 * wall / most))} |")
    rows = [row for store in stores for row in store.budgets()]
    if rows:
        print("\n| | measured | budget | |\n|---|---:|---:|---|")
        for name, value, budget in rows:
            print(f"| {name} | {value:.2f} | ≤ {budget:g} | {'kept' if value <= budget else 'MISSED'} |")
    return 0 if all(value <= budget for _, value, budget in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
