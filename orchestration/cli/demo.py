"""`headwater demo`: a guided run on a copy of the examples: build, look, change one cell, see what follows from it.

It runs the same commands a user would, in this process, and prints each before it runs. What they do is theirs.
"""

from __future__ import annotations

import shlex
import shutil
import time
from pathlib import Path
from typing import Final

import click

from orchestration.cli.app import App, cli, command, pass_app
from orchestration.cli.words import duration
from schemas.errors import HeadwaterError, UsageError

MARK: Final = ".headwater-demo"
"""The file that says a folder is a demo's, so that the next demo may start over in it."""
SHARED: Final = "share/headwater/examples"
"""Where the wheel puts the examples, below the folder that scheme calls `data`."""
CHANGED_FILE: Final = "shop/data/product.csv"
BEFORE: Final = ",18.50,"
AFTER: Final = ",19.00,"
CHANGED_ARTIFACT: Final = "tables/shop/playground_db"
NOTE: Final = "rangers/.qipu/notes/qp-m6y0jx9fd4-vultures-over-crag-lookout.md"
TARGET: Final = "Marmots at Alpenrose"
READINGS: Final = "survey/readings.csv"
STATIONS: Final = ("ALP", "BIR", "CRA", "DOL", "KEA", "MAR")
READING: Final = "2026-03-04T12:00:00,KEA,16.2,"
CORRECTED: Final = "2026-03-04T12:00:00,KEA,12.6,"
LINE: Final = f"\nBoth were back on the 14th, above the meadow of the [[{TARGET}]].\n"
_DERIVED = (".headwater", "headwater-rescue", "playground.db*", "playground.duckdb*", "scratch", "qipu.db*", ".cache")


@command("demo")
@click.argument("examples", required=False, type=click.Path(exists=True, file_okay=False))
@click.argument("folder", required=False, type=click.Path(file_okay=False))
@pass_app
def demo(app: App, examples: str | None, folder: str | None) -> int:
    """Walk through a copy of the EXAMPLES workspace in FOLDER (a new temporary folder by default).

    EXAMPLES is the folder `examples` of a checkout of Headwater; by default the one in the current folder, else the one that was
    installed with this program. Builds everything, changes one cell of one CSV file and one line of one note, shows why some
    artifacts are stale and others are not, and builds only those; then versions a large file beside git.
    """
    root = _copy(_examples(examples), folder)
    started = time.monotonic()
    _say(app, f"The examples are in {root}: text files, nothing else.")
    _run(app, root, "ls")
    _say(app, "Build everything that can be derived from them, as Dagster assets in this process.")
    code = _run(app, root, "build")
    if code:
        return code
    _say(app, "Again: nothing changed, so nothing is built.")
    _run(app, root, "build")
    _say(app, f"One cell changes: the price of a pen tray in {CHANGED_FILE}, {BEFORE.strip(',')} → {AFTER.strip(',')}.")
    _change(root / CHANGED_FILE)
    _run(app, root, "status")
    _say(app, "Why? (The diagram stays fresh: it is made of project.yaml only.)")
    _run(app, root, "explain", CHANGED_ARTIFACT)
    _say(app, "Build again: only what depends on that file. (--yes: at a terminal, replacing playground.db is asked about.)")
    code = _run(app, root, "build", "--yes")
    if code:
        return code
    _say(app, f"One note gains a line that links to another: {NOTE}. Only that note is read again.")
    with (root / NOTE).open("a", encoding="utf-8") as note:
        note.write(LINE)
    code = _run(app, root, "build")
    if code:
        return code
    _say(app, "What links to a note, and where? (Commands on notes bring the index up to date by themselves.)")
    _run(app, root, "notes", "backlinks", TARGET)
    _run(app, root, "notes", "search", "marmot OR vulture")
    _say(app, "Ask the workspace in SQL: rows of every store, lineage and findings are tables of one catalog.")
    _run(app, root, "query", "SELECT name, price, in_stock FROM shop.product WHERE price > 15 ORDER BY price")
    _run(app, root, "query", "SELECT title, backlinks FROM fieldnotes.nodes ORDER BY backlinks DESC, title LIMIT 3")
    code = _version_data(app, root)
    if code:
        return code
    _say(app, "Nothing derived is precious: delete all of it, and the build cache brings it back.")
    _run(app, root, "clean")
    code = _run(app, root, "build")
    if code:
        return code
    _say(app, f"That was all, in {duration(time.monotonic() - started)}. Look around in the Dagster UI:")
    app.say(f"  {shlex.quote(_program())} -C {shlex.quote(str(root))} ui")
    app.emit({"workspace": str(root), "seconds": round(time.monotonic() - started, 3)})
    return 0


def _version_data(app: App, root: Path) -> int:
    """Large files beside git: keep one, change it, look at what changed, go back."""
    survey = root / "survey"
    survey.mkdir()
    _say(app, f"Large files do not belong into git. {READINGS} gets a small sidecar that does; its bytes go into a storage.")
    write_readings(root / READINGS)
    _run(app, survey, "dvs", "init", "../objects")
    code = _run(app, survey, "dvs", "add", ".", "-m", "the first week")
    if code:
        return code
    _say(app, "A reading is corrected. What changed, row by row?")
    path = root / READINGS
    path.write_text(path.read_text("utf-8").replace(READING, CORRECTED, 1), "utf-8")
    _run(app, survey, "dvs", "diff", "--rows")
    _run(app, survey, "dvs", "add", ".", "-m", "KEA was misread")
    _say(app, "Share it (a folder here, S3 or an object server elsewhere), then go back to the first week and forth again.")
    _run(app, survey, "dvs", "push", "--remote", "../shared")
    _run(app, survey, "dvs", "rollback", "1")
    code = _run(app, survey, "dvs", "undo")
    if code:
        return code
    _run(app, survey, "dvs", "status")
    _say(app, "It is one more store of the workspace: its report is an artifact, its files a table of the catalog.")
    code = _run(app, root, "build")
    _run(app, root, "query", "SELECT path, bytes, saved_by IS NOT NULL AS signed, message FROM survey.files")
    return code


def write_readings(path: Path) -> None:
    """The data that the demo versions: readings of six stations, every five minutes of a week; always the same bytes."""
    lines = ["time,station,temperature,wind\n"]
    for step in range(7 * 24 * 12):
        day, minute = divmod(step * 5, 24 * 60)
        for place, station in enumerate(STATIONS):
            warmth = 4.0 + 3 * place - abs(720 - minute) / 120 + (step * 7 + place * 13) % 10 / 10
            time_of = f"2026-03-{day + 2:02}T{minute // 60:02}:{minute % 60:02}:00"
            lines.append(f"{time_of},{station},{warmth:.1f},{(step * 11 + place * 5) % 23}\n")
    path.write_text("".join(lines), "utf-8")


def _examples(named: str | None) -> Path:
    """The examples workspace that was named, else the one of the current folder, else the installed one. Raises UsageError."""
    here = Path(named or "examples")
    if (here / CHANGED_FILE).is_file():
        return here
    if named is not None:
        raise UsageError(
            f"{named} is not the examples workspace",
            fix="name the folder `examples` of a checkout of Headwater, or none to use the installed examples",
            rule="demo-examples",
        )
    installed = _installed()
    if installed is None:
        raise UsageError(
            "the examples were not installed with this program, and there is no folder `examples` here",
            fix="run it in a checkout of Headwater, or name its folder: headwater demo PATH/examples",
            rule="demo-examples",
        )
    return installed


def _installed() -> Path | None:
    """Where the installer put the examples, which lie beside the packages: its own record knows, whatever the scheme."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        for file in distribution("headwater").files or ():
            if file.as_posix().endswith(f"{SHARED}/{CHANGED_FILE}"):
                found = Path(str(file.locate())).resolve()
                return found.parents[CHANGED_FILE.count("/")] if found.is_file() else None
    except PackageNotFoundError:
        pass
    return None


def _program() -> str:
    """What to type to run this program: its name, or its path where a virtual environment holds it that is not active."""
    import sys

    return "headwater" if shutil.which("headwater") or Path(sys.argv[0]).name != "headwater" else sys.argv[0]


def _copy(source: Path, folder: str | None) -> Path:
    """Copy the text of the examples; a folder of an earlier demo starts over, any other that holds something is refused."""
    if folder is None:
        import tempfile

        root = Path(tempfile.mkdtemp(prefix="headwater-demo-"))
    else:
        root = Path(folder).absolute()
        if (root / MARK).is_file():
            shutil.rmtree(root)
        elif root.is_dir() and any(root.iterdir()):
            raise HeadwaterError(
                "is not empty and no demo made it", path=str(root), fix="name another folder", rule="demo-folder"
            )
    shutil.copytree(source, root, ignore=shutil.ignore_patterns(*_DERIVED), dirs_exist_ok=True)
    (root / MARK).write_text("Made by `headwater demo`, which may delete this folder to start over.\n", "utf-8")
    return root


def _change(path: Path) -> None:
    text = path.read_bytes().decode("utf-8")
    if BEFORE not in text:
        raise HeadwaterError(
            f"holds no price {BEFORE.strip(',')}", path=str(path), fix="use the examples as they come", rule="demo-examples"
        )
    path.write_bytes(text.replace(BEFORE, AFTER, 1).encode("utf-8"))


def _say(app: App, text: str) -> None:
    app.say()
    app.say(app.style(f"# {text}", "cyan"))


def _run(app: App, root: Path, *arguments: str) -> int:
    """Run one command on the demo's workspace as if it had been typed there; its exit code."""
    app.say(app.style(f"$ headwater {shlex.join(arguments)}", "bold"))
    started = time.monotonic()
    inner = App(root=str(root), json=app.json, debug=app.debug, color=app.color)
    try:
        result = cli.main(list(arguments), prog_name="headwater", obj=inner, standalone_mode=False)
    finally:
        inner.close()
    app.say(app.style(f"({duration(time.monotonic() - started)})", "dim"))
    return result if isinstance(result, int) else 0
