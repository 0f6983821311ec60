"""`headwater tables history|replay`: what happened to a project, and the proof that the log tells it truly."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.tables_stores import Opened, store_argument
from schemas.errors import HeadwaterError, Refused

if TYPE_CHECKING:
    from assets.tables.replay import Replayed
    from schemas.tables.history import Log, Record


@command("history")
@store_argument
@click.option(
    "--last",
    "-n",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    metavar="N",
    help="Show the last N records; 0 shows all.",
)
@pass_app
def history(app: App, store: str | None, last: int) -> None:
    """Show what changed the project: when, who, which command, how many rows.

    \b
    Examples:
      headwater tables history
      headwater tables history shop -n 0 --json
    """
    opened = Opened.choose(app, store)
    _take_over(opened)
    log = _log(opened)
    if log.torn:
        app.note(f"the last record is torn ({len(log.torn)} bytes); the next command that writes moves it aside")
    records = log.records[-last:] if last else log.records
    if app.json:
        for record in records:
            app.emit(record.model_dump(mode="json", exclude={"changes"}))
        return
    if not log.records:
        app.say("nothing has been recorded yet")
        return
    app.table(
        [
            [
                str(record.seq),
                record.ts[:19].replace("T", " "),
                record.actor,
                str(record.kind),
                f"{record.rows:,}",
                _words(app, record),
            ]
            for record in records
        ],
        header=["seq", "when (UTC)", "who", "what", "rows", "command"],
    )
    if log.fork is not None:
        from resources.tables.history_log import fork_error

        app.show_error(fork_error(log, log.fork, opened.prefix + "history.log"))


def _take_over(opened: Opened) -> None:
    """Lay what an earlier version kept in `.headwater/` beside the log, where it is versioned and shared."""
    journal = opened.journal
    if not journal.elsewhere():
        return
    with suppress(OSError, HeadwaterError), opened.app.workspace().root.lock(f"tables {opened.store.name}"):
        journal.take_over()  # what cannot be read or written stays where it is, and a replay says so
    for line in journal.said:
        opened.app.note(line)


def _words(app: App, record: Record) -> str:
    text = " ".join(record.cmd.split()) or ", ".join(change.path for change in record.changes)
    short = text if len(text) <= 70 else text[:69] + "…"
    return short if record.ok else app.style(f"failed: {short}", "red")


def _log(opened: Opened) -> Log:
    log = opened.journal.log.read()
    if log is None:
        raise HeadwaterError(
            "there is no history.log yet",
            rule="history-none",
            path=opened.prefix + "history.log",
            fix="`headwater tables exec` starts it with its first command",
        )
    return log


@command("replay")
@store_argument
@click.option("--until", metavar="SEQ|TIME", help="Stop after the record with this number, or the last one up to this time.")
@click.option("--from", "start", metavar="VERSION", help="Begin at this text (a git revision or zip file) instead of at nothing.")
@click.option("--out", metavar="FOLDER", help="Write the rebuilt text to a new folder.")
@click.option("--rebase", is_flag=True, help="Put the second branch of a forked log after the first, then go on.")
@pass_app
def replay(app: App, store: str | None, until: str | None, start: str | None, out: str | None, rebase: bool) -> int:
    """Rebuild the text from history.log and prove it equal, record by record.

    Nothing of the project is written; --out writes the rebuilt text beside it. Exits with 1 when the text at the end is not the
    text that lies there.

    \b
    Examples:
      headwater tables replay
      headwater tables replay --until 12 --out then
    """
    opened = Opened.choose(app, store)
    if rebase:
        _rebase(opened)
    log = _log(opened)
    from assets.tables.replay import replay as run

    journal = opened.journal
    files = _start(opened, start) if start is not None else None
    with app.progress("replay", len(log.records)) as bar:
        made = run(
            log,
            opened.prefix + "history.log",
            until=until,
            fetch=journal.fetch,
            start=files,
            step=lambda record: bar.advance(f"record {record.seq}"),
        )
    if out is not None:
        _write(Path(out), made)
    now = journal.text().digest()
    equal = made.digest == now
    record = {"records": made.applied, "digest": made.digest, "text": now, "equal": equal, "out": out}
    proven = f"{counted(made.applied, 'record')} replayed, each leaving the text it says"
    if until is not None:
        app.emit(record, f"{proven}; the text then was {made.digest}")
        return 0
    if not log.records and not equal:
        app.emit(record, "nothing has been recorded yet: the text that lies here is no record's")
        return 1
    app.emit(record, f"{proven}; {'the text is exactly that' if equal else 'the text has changed since the last record'}")
    return 0 if equal else 1


def _start(opened: Opened, name: str) -> dict[str, bytes]:
    from assets.tables.versions import Version
    from orchestration.cli.tables_read import version

    found = version(opened, name)
    if not isinstance(found, Version):
        raise HeadwaterError(f"{name} is a database, not text", rule="version-text", fix="name a git revision or a zip file")
    return found.files()


def _write(folder: Path, made: Replayed) -> None:
    """Write the rebuilt text to a folder that does not exist yet or is empty."""
    from resources.storage import open_storage

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refused(f"{folder} is not empty", rule="not-empty", path=str(folder), fix="name a new folder")
    storage = open_storage(folder)
    for path, data in made.files.items():
        storage.write(path, data)


def _rebase(opened: Opened) -> None:
    from assets.tables.replay import rebase

    journal = opened.journal
    with opened.app.workspace().root.lock(f"tables {opened.store.name}"):
        log = _log(opened)
        data = opened.app.workspace().root.read(opened.prefix + "history.log")
        header = data.split(b"\n", 1)[0] + b"\n"
        journal.log.replace(data, rebase(log, header), header)
    with journal.open() as text:
        journal.catch_up(text.files())
        for line in journal.said:
            opened.app.note(line)
    opened.app.note("the second branch now follows the first; the log as it was is kept in history.log.forked")
