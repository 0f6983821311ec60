"""`headwater tables check|plan|diff|erd|profile`: commands that only look."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.tables_stores import GOOD, Opened, show_comparison, store_argument, store_option
from schemas.errors import HeadwaterError, UsageError

if TYPE_CHECKING:
    from assets.tables.compare import Comparison
    from assets.tables.versions import Version

INVALID = 3
_ARTIFACT_ROWS = 200


@command("check")
@store_argument
@pass_app
def check(app: App, store: str | None) -> int:
    """List every problem in the project's text: file, line, column, rule and fix.

    \b
    Example:
      headwater tables check shop
    """
    from resources.tables.store import TablesStore

    opened = Opened.choose(app, store)
    found = sorted(TablesStore(app.workspace().root, opened.store.root).check())
    app.show_findings(found)
    errors = sum(finding.blocking for finding in found)
    app.say(counted(len(found), "finding") if found else app.style("no findings", "green"))
    return INVALID if errors else 0


@command("plan")
@store_argument
@pass_app
def plan(app: App, store: str | None) -> int:
    """Show what a build of playground.db would change, row by row, and the digest that agrees to it.

    \b
    Example:
      headwater tables plan
      headwater tables build --confirm DIGEST
    """
    from orchestration.cli.build import question_record

    opened = Opened.choose(app, store)
    select = [str(opened.ref())]
    state = app.engine().status(select)[0]
    freshness = str(state.freshness)
    record: dict[str, Any] = {"artifact": str(opened.ref()), "state": freshness, "reasons": list(state.reasons)}
    if freshness == "fresh":
        app.emit({**record, "question": None}, f"{app.style('up to date', 'green')}: playground.db says what the text says")
        return 0
    questions = app.engine().questions(select) if freshness != "missing" else []
    if not questions:
        app.emit({**record, "question": None}, "playground.db would be built; nothing would be replaced")
        return 0
    question = questions[0]
    app.emit({**record, "question": question_record(question)}, app.style(question.difference.headline, "bold"))
    for line in question.difference.lines:
        colour = {"+": "green", "-": "red", "~": "yellow"}.get(line.lstrip()[:1])
        app.say("  " + (app.style(line, colour) if colour else line))
    app.say(f"agree with: headwater tables build --confirm {question.plan}")
    return 0


@command("diff")
@click.argument("old", required=False)
@click.argument("new", required=False)
@store_option
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="Show at most N rows per table; all are counted.",
)
@click.option("--exit-code", is_flag=True, help="Exit with 1 when there is a difference.")
@pass_app
def diff(app: App, old: str | None, new: str | None, store: str | None, rows: int, exit_code: bool) -> int:
    """Show how two versions of the project differ: its schema, and its rows by primary key.

    A version is `text` (the files as they are), `db` (the live database), a git revision, a zip file, a SQLite file, or a
    folder with a project. Without versions the database is compared with the text; with one, that one with the text.

    \b
    Examples:
      headwater tables diff
      headwater tables diff HEAD
      headwater tables diff v1.zip HEAD~2
    """
    opened = Opened.choose(app, store)
    with ExitStack() as stack:
        compared = _compare(opened, old or "db", new or "text", stack)
        show_comparison(app, compared, rows)
        if compared.equal:
            app.say(f"{compared.old} and {compared.new} say the same")
    return 1 if exit_code and not compared.equal else 0


def _compare(opened: Opened, old: str, new: str, stack: ExitStack) -> Comparison:
    from assets.tables.compare import compare_texts
    from assets.tables.live import compare_databases, scratch_database
    from assets.tables.versions import Version

    left, right = version(opened, old), version(opened, new)
    left, right = _as_text(opened, left, old), _as_text(opened, right, new)
    if isinstance(left, Version) and isinstance(right, Version):
        return compare_texts(left, right)
    scratch = opened.app.workspace().scratch
    described = next((one for one in (right, left) if isinstance(one, Version)), None) or opened.journal.text()
    paths: list[Path] = []
    labels: list[str] = []
    for one in (left, right):
        paths.append(stack.enter_context(scratch_database(one, scratch)) if isinstance(one, Version) else one)
        labels.append(one.label if isinstance(one, Version) else one.name)
    return compare_databases(paths[0], paths[1], described.project, labels=(labels[0], labels[1]))


def _as_text(opened: Opened, found: Version | Path, name: str) -> Version | Path:
    """The live database as the text it was built from, while it is byte by byte what was built: text is compared far quicker."""
    if name != "db" or not isinstance(found, Path):
        return found
    from assets.tables.plan import is_as_built

    last = opened.last_text()
    if last is None or not is_as_built(found, last[1]):
        return found
    last[0].label = found.name
    return last[0]


def version(opened: Opened, name: str) -> Version | Path:
    """The version that `name` means: text as a Version, a database as its path."""
    from assets.tables.versions import from_commit, from_storage, from_zip
    from resources.storage import open_storage

    if name == "text":
        return opened.journal.text()
    if name == "db":
        return opened.ensure()
    path = Path(name)
    if path.is_dir() and (path / "project.yaml").is_file():
        return from_storage(open_storage(path), "", label=name)
    if path.is_file():
        return from_zip(path) if path.suffix.lower() == ".zip" else path
    workspace = opened.app.workspace()
    if workspace.git is None or workspace.root.local_root is None:
        raise UsageError(
            f"{name!r} is no version: no such file, and this workspace is not in a git checkout",
            rule="version-unknown",
            fix="use text, db, a git revision, a zip file, a SQLite file or a project's folder",
        )
    folder = (workspace.root.local_root / opened.store.root).resolve().relative_to(workspace.git.root.resolve()).as_posix()
    return from_commit(workspace.git, "" if folder == "." else folder, name)


def _artifact(opened: Opened, name: str) -> dict[str, Any]:
    """Bring a silent artifact up to date and return its summary, with the local paths of its outputs under `paths`."""
    outcome = opened.app.engine().build_one(opened.ref(name))
    if outcome.result not in GOOD:
        raise outcome.error or HeadwaterError("; ".join(outcome.reasons) or f"{name} could not be built")
    return {**outcome.summary, "paths": list(outcome.outputs)}


@command("erd")
@store_argument
@click.option("--mermaid", is_flag=True, help="Print the diagram as Mermaid text.")
@pass_app
def erd(app: App, store: str | None, mermaid: bool) -> None:
    """Draw the entity-relationship diagram and say where it lies.

    \b
    Example:
      headwater tables erd --mermaid
    """
    opened = Opened.choose(app, store)
    made = _artifact(opened, "erd")
    if mermaid:
        path = next(path for path in made["paths"] if path.endswith(".mmd"))
        text = _output(opened, path).decode("utf-8")
        app.emit({"mermaid": text}, text.rstrip("\n"))
        return
    app.emit({"paths": made["paths"]}, "\n".join(made["paths"]))


def _output(opened: Opened, path: str) -> bytes:
    """The bytes of an output by the path the engine shows."""
    root = opened.app.workspace().root
    # A plain folder's artifacts lie in the user's cache and are shown with their whole path.
    return Path(path).read_bytes() if Path(path).is_absolute() else root.read(path)


@command("profile")
@store_argument
@pass_app
def profile(app: App, store: str | None) -> None:
    """Show what is in every column: rows, nulls, distinct values, smallest and largest.

    \b
    Example:
      headwater tables profile shop
    """
    import io

    import pyarrow.parquet as pq

    opened = Opened.choose(app, store)
    made = _artifact(opened, "profile")
    path = next(path for path in made["paths"] if path.endswith(".parquet"))
    records = pq.read_table(io.BytesIO(_output(opened, path))).to_pylist()
    if app.json:
        for record in records:
            app.emit(record)
        return
    wanted = [name for name in ("table", "column", "type", "rows", "nulls", "distinct", "min", "max") if name in records[0]]
    app.table([[_shown(record[name]) for name in wanted] for record in records[:_ARTIFACT_ROWS]], header=wanted)


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)[:40]
