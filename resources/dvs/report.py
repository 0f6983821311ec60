"""What was tracked at a moment, and on whose word: each file with its hash, who added it, when and why, and its last proof.

The files are those of the last state until then: of the clone's log or of git, whichever is younger, or the text as it is now.
Who, when and why are told by the storage's audit log, whose lines are chained by hashes; where it knows nothing of a file, by the
file's sidecar. A proof is when the object was last known to be in a place: put into the storage, or proved at a remote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resources.dvs.gitignore import GitSide
from resources.git import GitError
from resources.remotes.ledger import Ledger
from schemas.dvs import manifest, sidecar
from schemas.dvs.oids import ALGORITHMS
from schemas.dvs.sidecar import Sidecar
from schemas.errors import HeadwaterError, UsageError

if TYPE_CHECKING:
    from resources.dvs.audit import AuditRecord
    from resources.dvs.repo import DvsRepo

SOURCES: Final = ("auto", "log", "git", "now")
SUMS: Final[Mapping[str, tuple[str, str]]] = {
    "blake3": ("B3SUMS", "b3sum -c"),
    "sha256": ("SHA256SUMS", "sha256sum -c"),
    "xxh3": ("XXH3SUMS", "xxhsum -c"),
}
"""How each algorithm's list of checksums is usually called, and the command that checks it."""
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}\Z")
_DROPPING: Final = frozenset({"remove", "gc", "trash-empty"})
"""Operations whose lines in the audit log put nothing into the storage."""
_NAMING: Final = frozenset({"add", "import", "merge", "rehash"})
"""Operations by which somebody answers for the bytes of a file; others bring back or move what was answered for."""


@dataclass(frozen=True, slots=True)
class Proof:
    """When an object was last known to be in a place: `storage`, or the URL of a remote."""

    place: str
    when: str

    def to_json(self) -> dict[str, Any]:
        return {"place": self.place, "when": self.when}


@dataclass(frozen=True, slots=True)
class FileRow:
    """One file at the moment. `told_by` says whose word who, when and why are: `audit` or `sidecar`."""

    path: str
    oid: str
    size: int
    who: str
    uid: int | None
    when: str
    why: str
    told_by: str
    operation_id: str | None
    proof: Proof | None

    def to_json(self) -> dict[str, Any]:
        """The row as `--json` prints it."""
        record = {name: getattr(self, name) for name in self.__slots__}
        return {**record, "proof": None if self.proof is None else self.proof.to_json()}


COLUMNS: Final = ("path", "oid", "size", "who", "uid", "when", "why", "told_by", "operation_id", "proof_place", "proof_when")
"""The columns of a report as CSV."""


@dataclass(slots=True)
class AsOf:
    """A report: the moment (RFC 3339), what told the files (`state`, `git` or `now`, its id and time), the rows by path."""

    moment: str
    source: str
    id: str | None
    when: str | None
    rows: list[FileRow] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    audit_lines: int = 0
    audit_problems: int = 0

    def to_json(self) -> dict[str, Any]:
        """What the report rests on."""
        return {
            "as_of": self.moment,
            "source": self.source,
            "id": self.id,
            "when": self.when,
            "files": len(self.rows),
            "bytes": sum(row.size for row in self.rows),
            "audit_lines": self.audit_lines,
            "audit_problems": self.audit_problems,
            "remarks": self.remarks,
        }


def moment_of(text: str) -> datetime:
    """A day (its end), or a day with a time, in UTC unless it says otherwise. Raises UsageError."""
    given = text.strip()
    try:
        if _DAY.match(given):
            return datetime.fromisoformat(given).replace(tzinfo=UTC) + timedelta(days=1, microseconds=-1)
        made = datetime.fromisoformat(given)
        return (made.replace(tzinfo=UTC) if made.tzinfo is None else made).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is no moment", rule="usage", fix="write it as 2026-01-31, or 2026-01-31T15:30 with Z or +01:00 behind it"
        ) from None


def _time(text: str | None) -> datetime | None:
    """A time as logs spell it; None for what is none."""
    try:
        made = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return made.replace(tzinfo=UTC) if made.tzinfo is None else made.astimezone(UTC)


def _spelled(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def as_of(repo: DvsRepo, moment: datetime | None = None, *, source: str = "auto", paths: Sequence[str] = ()) -> AsOf:
    """The report for a moment, None for now. `source` names where the files are looked up: the younger of log and git, or one.

    Raises HeadwaterError (rule `dvs-not-found`) when neither reaches back to the moment, or nothing is tracked at `paths`.
    """
    made, files = _files(repo, moment, source)
    if paths:
        from resources.dvs.choose import choose_tracked
        from resources.dvs.results import not_tracked

        chosen, nothing = choose_tracked(files, paths)
        for path in nothing:
            raise not_tracked(path)
        files = {path: held for path, held in files.items() if path in chosen}
    until = moment if moment is not None else datetime.now(UTC)
    evidence = _Evidence(repo, until, {held.oid for held in files.values()})
    made.rows = [evidence.row(path, held) for path, held in sorted(files.items())]
    made.remarks += evidence.remarks
    made.audit_lines, problems = repo.audit_log.verify()
    broken = [problem for problem in problems if problem.kind != "forked"]
    made.audit_problems = len(broken)
    if broken:
        first = f"line {broken[0].line}: {broken[0].message}"
        made.remarks.append(f"the audit log is not whole ({first}); `headwater dvs audit verify` says more")
    return made


def _files(repo: DvsRepo, moment: datetime | None, source: str) -> tuple[AsOf, dict[str, Sidecar]]:
    if moment is None or source == "now":
        from resources.dvs.snapshots import tracked_now

        text = _spelled(moment or datetime.now(UTC))
        return AsOf(text, "now", None, None), {file.path: file.sidecar for file in tracked_now(repo)}
    state = _state_until(repo, moment) if source in ("auto", "log") else None
    commit = commit_until(repo, moment) if source in ("auto", "git") else None
    if state is not None and (commit is None or state[1] >= commit[1]):
        snapshot = repo.snapshot(state[0])
        made = AsOf(_spelled(moment), "state", state[0], _spelled(state[1]))
        return made, {file.path: file.sidecar for file in snapshot.files}
    if commit is not None:
        from resources.dvs.diff import tracked_at

        side = GitSide(repo)
        files, unread = tracked_at(repo, commit[0], side)
        made = AsOf(_spelled(moment), "git", commit[0], _spelled(commit[1]))
        if unread:
            made.remarks.append(f"{len(unread):,} sidecars of that commit cannot be read: {', '.join(unread[:5])}")
        return made, files
    where = {"log": "the log of this clone begins", "git": "the history of git begins"}.get(source, "log and git begin")
    raise HeadwaterError(
        f"nothing is known of {_spelled(moment)}: {where} later",
        rule="dvs-not-found",
        fix="name a later moment, or ask in a clone that is older",
    )


def _state_until(repo: DvsRepo, moment: datetime) -> tuple[str, datetime] | None:
    """(id, time) of the last state of the log until the moment."""
    records, _problems = repo.log()
    for record in reversed(records):
        when = _time(record.ts)
        if when is not None and when <= moment:
            return record.new, when
    return None


def commit_until(repo: DvsRepo, moment: datetime) -> tuple[str, datetime] | None:
    """(id, time) of the last commit of this branch until the moment that touched the repository's text."""
    side = GitSide(repo)
    if side.git is None or side.git.head() is None:
        return None
    start = re.sub(r"([\\*?\[])", r"\\\1", side.prefix)
    endings = (sidecar.JSON_SUFFIX, sidecar.TOML_SUFFIX)
    below = [*(f":(glob){start}**/*{ending}" for ending in endings), f":(glob){start}{manifest.FILE}"]
    try:
        found = side.git.commit("HEAD", until=moment.isoformat(timespec="seconds"), below=below)
    except GitError:
        return None
    when = _time(found[1]) if found is not None else None
    return None if found is None or when is None else (found[0], when)


class _Evidence:
    """What the audit log and the proofs of remotes say about some objects until a moment."""

    def __init__(self, repo: DvsRepo, until: datetime, oids: set[str]) -> None:
        self.named: dict[tuple[str, str], AuditRecord] = {}
        """(path, oid) -> the last line by which somebody answered for it."""
        self.by_oid: dict[str, AuditRecord] = {}
        self.proofs: dict[str, Proof] = {}
        self.remarks: list[str] = []
        for record in repo.audit_log.records():
            when = _time(record.time)
            if when is None or when > until or record.operation in _DROPPING:
                continue
            for path, oid in record.files.items():
                if oid not in oids:
                    continue
                self._prove(oid, Proof("storage", _spelled(when)))
                if any(record.operation == one or record.operation.startswith(f"{one}-") for one in _NAMING):
                    self.named[path, oid] = record
                    self.by_oid[oid] = record
        later = 0
        for oid, places in Ledger(repo.local / "ledger.db").known(oids).items():
            for url, at in places:
                when = datetime.fromtimestamp(at, UTC)
                if when <= until:
                    self._prove(oid, Proof(url, _spelled(when)))
                else:
                    later += 1
        if later:
            self.remarks.append("remotes have proved objects since; of each only the last proof is kept")

    def _prove(self, oid: str, proof: Proof) -> None:
        held = self.proofs.get(oid)
        if held is None or held.when <= proof.when:
            self.proofs[oid] = proof

    def row(self, path: str, held: Sidecar) -> FileRow:
        record = self.named.get((path, held.oid)) or self.by_oid.get(held.oid)
        proof = self.proofs.get(held.oid)
        if record is None:
            return FileRow(path, held.oid, held.size, held.saved_by, None, held.add_time, held.message, "sidecar", None, proof)
        why = record.reason or held.message
        return FileRow(path, held.oid, held.size, record.user, record.uid, record.time, why, "audit", record.operation_id, proof)


# lists of checksums


def checksums(rows: Iterable[FileRow]) -> dict[str, list[str]]:
    """Algorithm -> the lines of a list that `b3sum -c`, `sha256sum -c` or `xxhsum -c` checks in the repository's folder."""
    made: dict[str, list[str]] = {}
    for row in rows:
        algorithm, _, digits = row.oid.partition(":")
        made.setdefault(algorithm, []).append(_line(algorithm, digits, row.path))
    return {algorithm: made[algorithm] for algorithm in ALGORITHMS if algorithm in made}


def _line(algorithm: str, digits: str, path: str) -> str:
    lead = "XXH3_" if algorithm == "xxh3" else ""
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == path else chr(92)}{lead}{digits}  {escaped}"


def write_checksums(rows: Iterable[FileRow], folder: Path) -> dict[str, Path]:
    """Write one list per algorithm into a local folder; algorithm -> file. Raises FileExistsError."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for algorithm, lines in checksums(rows).items():
        target = folder / SUMS[algorithm][0]
        with target.open("x", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
        made[algorithm] = target
    return made


def csv_rows(rows: Iterable[FileRow]) -> Iterator[list[object]]:
    """The rows as cells of COLUMNS."""
    for row in rows:
        proof = (row.proof.place, row.proof.when) if row.proof is not None else (None, None)
        yield [*(getattr(row, name) for name in COLUMNS[:9]), *proof]
