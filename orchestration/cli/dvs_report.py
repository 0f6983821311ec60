"""`headwater dvs report`: what was tracked at a moment, on whose word, and lists of checksums of it."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from orchestration.cli.app import App, command, counted, pass_app
from orchestration.cli.dvs_stores import opened_repo, repo_path, size_text, store_option
from schemas.errors import HeadwaterError, UsageError

if TYPE_CHECKING:
    from resources.dvs.report import AsOf

_SOURCES: Final = {"state": "the log of this clone", "git": "git", "now": "the text as it is now"}


@command("report")
@click.option("--as-of", metavar="DATE", help="The moment: a day (until its end) or a time, in UTC unless it says otherwise.")
@click.option("--path", "-p", "paths", multiple=True, metavar="PATH", help="Only this file, folder or glob; repeatable.")
@click.option("--checksums", is_flag=True, help="Print lines that b3sum -c or sha256sum -c check in the repository's folder.")
@click.option(
    "--algorithm", type=click.Choice(["blake3", "sha256", "xxh3"]), help="Only the checksums of this algorithm, with --checksums."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header.")
@click.option(
    "--output",
    "-o",
    type=click.Path(file_okay=False),
    metavar="FOLDER",
    help="With --checksums: write one list per algorithm into this folder (B3SUMS, SHA256SUMS) instead.",
)
@click.option(
    "--source",
    type=click.Choice(["auto", "log", "git", "now"]),
    default="auto",
    show_default=True,
    help="Where the files of that moment are looked up: the younger of both, the clone's log, git, or the present text.",
)
@store_option
@pass_app
def report(
    app: App,
    as_of: str | None,
    paths: tuple[str, ...],
    checksums: bool,
    algorithm: str | None,
    as_csv: bool,
    output: str | None,
    source: str,
    store: str | None,
) -> int:
    """Each file that was tracked at a moment: its hash, who added it, when and why, and its last proof until then.

    Without --as-of it is about now. Who, when and why are told by the audit log, where it knows nothing of a file by the file's
    sidecar. Ends with 1 when the audit log is not whole.

    \b
    Examples:
      headwater dvs report --as-of 2026-01-31
      headwater dvs report --as-of 2026-01-31 --csv > january.csv
      headwater dvs report --checksums | b3sum -c
    """
    from resources.dvs.report import as_of as run
    from resources.dvs.report import moment_of

    _check_options(app, checksums=checksums, algorithm=algorithm, as_csv=as_csv, output=output)
    moment = None if as_of is None else moment_of(as_of)
    with opened_repo(app, store) as repo:
        made = run(repo, moment, source=source, paths=[repo_path(app, repo, path) for path in paths])
    if checksums:
        _sums(app, made, algorithm, output)
    elif as_csv:
        _csv(app, made)
    else:
        _rows(app, made)
    for remark in made.remarks:
        app.note(remark)
    return int(bool(made.audit_problems))


def _check_options(app: App, *, checksums: bool, algorithm: str | None, as_csv: bool, output: str | None) -> None:
    if (algorithm or output) and not checksums:
        raise UsageError("--algorithm and --output are for --checksums", fix="pass --checksums too", rule="usage")
    if sum((checksums, as_csv, app.json)) > 1:
        raise UsageError("--checksums, --csv and --json exclude each other", fix="choose one", rule="usage")


def _sums(app: App, made: AsOf, algorithm: str | None, output: str | None) -> None:
    from resources.dvs.report import SUMS, checksums, write_checksums

    rows = [row for row in made.rows if algorithm is None or row.oid.startswith(f"{algorithm}:")]
    if output is not None:
        try:
            for name, path in write_checksums(rows, Path(output)).items():
                app.say(f"wrote {path}; check it with `{SUMS[name][1]}`")
        except FileExistsError as error:
            raise HeadwaterError(
                f"{error.filename} is there already", rule="file-exists", fix="name another folder, or remove it"
            ) from error
        return
    groups = checksums(rows)
    for name, lines in groups.items():
        if len(groups) > 1:
            app.write_text(f"# {SUMS[name][1]}\n")
        app.write_text("".join(f"{line}\n" for line in lines))
    if len(groups) > 1:
        app.note(f"these are of {len(groups)} algorithms: choose with --algorithm, or write a list for each with --output")


def _csv(app: App, made: AsOf) -> None:
    from resources.dvs.report import COLUMNS, csv_rows

    target = io.StringIO(newline="")
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(csv_rows(made.rows))
    app.write_text(target.getvalue())


def _rows(app: App, made: AsOf) -> None:
    if app.json:
        for row in made.rows:
            app.emit(row.to_json())
        app.emit({"summary": made.to_json()})
        return
    table = [
        [
            row.path,
            f"{row.oid.partition(':')[0]}:{row.oid.partition(':')[2][:12]}",
            size_text(row.size),
            row.who or "?",
            row.when,
            row.why,
            "never proved" if row.proof is None else f"{row.proof.place} {row.proof.when}",
        ]
        for row in made.rows
    ]
    app.table(table, header=["file", "hash", "size", "who", "when", "why", "last proof"])
    base = _SOURCES[made.source] + (f" ({made.id[:12]} of {made.when})" if made.id else "")
    total = size_text(sum(row.size for row in made.rows))
    app.say(f"{counted(len(made.rows), 'file')}, {total}, as of {made.moment}, by {base}")
    whole = "whole" if not made.audit_problems else app.style("not whole", "red")
    app.say(f"the audit log has {counted(made.audit_lines, 'line')} and is {whole}")
