"""`headwater dvs verify`, `audit`: whether what is kept is whole, and who kept it."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import click

from orchestration.cli.app import App, command, counted, group, pass_app
from orchestration.cli.dvs_stores import opened_repo, store_option


@command("verify")
@click.option("--subset", metavar="N/T", default="1/1", help="Only the N-th of T parts, such as 1/7 on every day of a week.")
@click.option(
    "--minutes",
    metavar="N",
    type=click.FloatRange(0),
    help="Stop after so long: what was bad comes first, then what was never read here, then the oldest proof.",
)
@click.option(
    "--repair",
    "mend",
    is_flag=True,
    help="Put in order what is damaged or missing, from the cache, working files or remotes that have it whole.",
)
@store_option
@pass_app
def verify(app: App, subset: str, minutes: float | None, mend: bool, store: str | None) -> int:
    """Read back every object that the text names and compare it with its name, in the storage and in this clone's cache.

    This machine remembers when what was read; the end says how old the oldest proof is. Ends with 1 when an object is damaged or
    missing; nothing is changed, but for what --repair puts in order.
    """
    from resources.dvs.repair import repair
    from resources.dvs.scrub import named_objects, read_subset, scrub, standing

    part = read_subset(subset)
    with opened_repo(app, store) as repo:
        results: Counter[str] = Counter()
        named = named_objects(repo)
        seconds = None if minutes is None else 60 * minutes
        with app.progress("verifying") as bar:
            bad = []
            for proof in scrub(repo, subset=part, seconds=seconds, named=named, progress=bar.advance):
                results[proof.result] += 1
                if proof.result != "ok":
                    bad.append(proof)
                if proof.result != "ok" or app.json:
                    where = f"in the {proof.place}" if proof.place else "in no place on this machine"
                    more = f", … {counted(len(proof.paths), 'file')}" if len(proof.paths) > 3 else ""
                    shown = ", ".join(proof.paths[:3]) + more
                    app.emit(proof.to_json(), f"{app.style(proof.result, 'red')}  {proof.oid}  {where}  {shown}")
        for path, error in sorted(repo.objects.packs.damaged.items()):
            results["damaged"] += 1
            app.emit({"pack": path, "result": "damaged", "error": error.to_json()}, f"damaged  {path}: {error.message}")
        said = ", ".join(f"{number:,} {word}" for word, number in sorted(results.items()))
        known = standing(repo, named)
        app.emit({"summary": dict(results), "proofs": known.to_json()}, said or "nothing is tracked")
        if known.oldest is not None:
            never = f"; {counted(known.never, 'object')} never read back here" if known.never else ""
            app.say(f"the oldest proof is of {datetime.fromtimestamp(known.oldest).astimezone():%Y-%m-%d %H:%M}{never}")
        if mend and bad:
            with app.progress("repairing", total=len(bad)) as bar:
                made = repair(repo, bad, progress=bar.advance)
            for one in made:
                text = f"from {one.source}" if one.source is not None else "no whole copy was found"
                word = app.style("repaired", "green") if one.source is not None else app.style("damaged", "red")
                app.emit(one.to_json(), f"{word}  {one.oid}  {text}")
            return int(any(one.source is None for one in made) or len(repo.objects.packs.damaged) > 0)
        if results["damaged"] or results["missing"]:
            app.say("fix: `headwater dvs verify --repair` looks for whole copies in the cache, the working tree and the remotes")
        return int(bool(results["damaged"] or results["missing"]))


@group("audit")
def audit() -> None:
    """The audit log of the storage: who put, dropped or restored what, when and why, as a chain of hashes."""


@audit.command("show")
@click.option("--path", metavar="PATH", help="Only what concerns this file.")
@click.option("--limit", "-n", type=click.IntRange(1), help="Only the newest so many.")
@store_option
@pass_app
def show(app: App, path: str | None, limit: int | None, store: str | None) -> None:
    """The records, oldest first."""
    with opened_repo(app, store) as repo:
        records = [record for record in repo.audit_log.records() if path is None or path in record.files]
        for record in records[-limit:] if limit else records:
            app.emit(
                {
                    "operation_id": record.operation_id,
                    "time": record.time,
                    "user": record.user,
                    "uid": record.uid,
                    "operation": record.operation,
                    "files": dict(record.files),
                    "reason": record.reason,
                    "clone": record.clone,
                },
                f"{record.time} {record.user} {app.style(record.operation, 'bold')} {counted(len(record.files), 'file')}"
                + (f" - {record.reason}" if record.reason else ""),
            )
        if not records:
            app.say("nothing is recorded")


@audit.command("verify")
@store_option
@pass_app
def audit_verify(app: App, store: str | None) -> int:
    """Check the chain: whether a line was changed, removed, put in, or cut off the end. Ends with 1 when one was."""
    with opened_repo(app, store) as repo:
        count, problems = repo.audit_log.verify()
        for problem in problems:
            app.emit(
                {"line": problem.line, "kind": problem.kind, "message": problem.message},
                f"audit.log.jsonl:{problem.line}: {problem.kind}: {problem.message}",
            )
        bad = [problem for problem in problems if problem.kind != "forked"]
        app.emit({"summary": {"lines": count, "problems": len(bad)}}, f"{counted(count, 'line')}, {counted(len(bad), 'problem')}")
        return int(bool(bad))
