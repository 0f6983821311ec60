"""Why an object is kept: everything that names it, and every place that holds it.

Names are sidecars, the manifest, states of the log, lines of the audit log, and commits, branches and tags of git; places are the
storage, the cache, working files, and remotes as they were last proved. Reads, and changes nothing; git is asked within a bound.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from resources.dvs.gitignore import GitSide
from resources.git import GitError
from resources.remotes.ledger import Ledger
from schemas.dvs import manifest, sidecar
from schemas.dvs import state as states
from schemas.dvs.oids import ALGORITHMS, oid_of_stream, read_oid
from schemas.errors import HeadwaterError
from schemas.oid import HEX_LENGTHS

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo

NAMES: Final = ("sidecar", "manifest", "state", "log", "audit", "commit", "branch", "tag")
"""Kinds of pointers that name an object."""
PLACES: Final = ("storage", "cache", "file", "remote", "trash")
"""Kinds of pointers that hold its bytes, or were proved to; from the trash nothing is read."""
KEEPING: Final = frozenset({"sidecar", "manifest", "state", "commit", "branch", "tag"})
"""Kinds that keep an object from being collected."""
COMMITS: Final = 20
REFERENCES: Final = 200
GIT_SECONDS: Final = 20.0
STATE_BYTES: Final = 4 << 30
"""States are read from the newest on until so many bytes have been looked at."""
_DIGITS: Final = re.compile(r"(?:(blake3|sha256|xxh3):)?([0-9a-f]{4,64})\Z")
_TEXT_LIMIT: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Pointer:
    """One thing that names or holds an object. `name` is the path, state, commit, branch, tag or URL; `paths` are the data files
    under which it is named there; `when` is RFC 3339."""

    kind: str
    name: str
    paths: tuple[str, ...] = ()
    when: str | None = None
    who: str | None = None
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "paths": list(self.paths),
            "when": self.when,
            "who": self.who,
            "note": self.note,
        }


@dataclass(slots=True)
class Why:
    """Everything that was found about one object; `remarks` say where the search was cut short."""

    oid: str
    size: int | None = None
    pointers: list[Pointer] = field(default_factory=list)
    retained: str | None = None
    """Until when the storage keeps it whatever happens (RFC 3339), None where no retention holds."""
    remarks: list[str] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Pointer]:
        """The pointers of some kinds."""
        return [pointer for pointer in self.pointers if pointer.kind in kinds]

    @property
    def verdict(self) -> str:
        """`kept`; `missing` (named, and no place is known), `loose` (held, and nothing keeps it), `trashed` (in the trash alone),
        `past` (the log and the audit log remember it), or `unknown`."""
        kinds = {pointer.kind for pointer in self.pointers}
        named = bool(kinds & KEEPING)
        if kinds & {"storage", "cache", "file", "remote"}:
            return "kept" if named or self.retained else "loose"
        if "trash" in kinds:
            return "trashed"
        return "missing" if named else "past" if kinds else "unknown"


def find_oid(repo: DvsRepo, text: str, path: str | None = None) -> str:
    """The oid that a person means: an oid or its beginning, or a tracked file (`PATH` or `PATH@STATE`), or a file that is not
    tracked, whose bytes are then read. `path` is `text` as a path of the repository.

    Raises HeadwaterError (rule `dvs-not-found`, `dvs-metadata-not-found`).
    """
    match = _DIGITS.match(text.lower())
    if match is not None and (match[1] or repo.sidecar_file(path or text) is None):
        return _by_digits(repo, match[1], match[2])
    from resources.dvs.history import find_object

    inside = path or text
    try:
        return find_object(repo, inside)[0]
    except HeadwaterError as unknown:
        folder = repo.folder
        full = None if folder is None else folder / inside
        if unknown.rule != "dvs-metadata-not-found" or full is None or full.is_symlink() or not full.is_file():
            raise
        with full.open("rb") as file:
            return oid_of_stream(file, repo.config.hash_algo)[0]


def _by_digits(repo: DvsRepo, algorithm: str | None, digits: str) -> str:
    """The one oid that is known here and begins so; a whole one need not be known."""
    if algorithm is not None and len(digits) == HEX_LENGTHS[algorithm]:
        return read_oid(f"{algorithm}:{digits}")
    if algorithm is not None and len(digits) > HEX_LENGTHS[algorithm]:
        return read_oid(f"{algorithm}:{digits}")  # says what is wrong
    starts = tuple(f"{name}:{digits}" for name in ([algorithm] if algorithm else ALGORITHMS))
    known = sorted(oid for oid in _known(repo) if oid.startswith(starts))
    if not known and algorithm is None and len(digits) == 64:
        known = [f"{repo.config.hash_algo if repo.config.hash_algo != 'xxh3' else 'blake3'}:{digits}"]
    if len(known) == 1:
        return known[0]
    what = "no object that is known here begins so" if not known else f"{len(known)} objects begin so: {', '.join(known[:3])}, …"
    raise HeadwaterError(f"{digits}: {what}", rule="dvs-not-found", fix="give more digits, or the path of a tracked file")


def _known(repo: DvsRepo) -> set[str]:
    from resources.dvs.scrub import named_objects

    known = set(named_objects(repo))
    for store in (repo.objects, repo.cache):
        known.update(oid for oid, _size in store.list())
    return known


def why(
    repo: DvsRepo,
    oid: str,
    *,
    commits: int = COMMITS,
    git: bool = True,
    ask: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Why:
    """Everything that names or holds the object. `commits` are at most shown of git; without `git` it is not asked. With `ask`
    the remotes of this clone are asked now; what they say is remembered as proofs are."""
    made = Why(oid)
    steps: list[tuple[str, Callable[[], Iterator[Pointer]]]] = [
        ("working tree", lambda: _files(repo, made)),
        ("manifest", lambda: _manifest(repo, made)),
        ("states", lambda: _states(repo, made)),
        ("audit log", lambda: _audit(repo, made)),
        ("stores", lambda: _stores(repo, made)),
        ("trash", lambda: _trash(repo, made)),
        *([("asking remotes", lambda: _asked(repo, made))] if ask else []),
        ("remotes", lambda: _remotes(repo, made)),
    ]
    if git:
        steps.append(("git", lambda: _git(repo, made, commits)))
    for name, step in steps:
        if progress is not None:
            progress(name)
        try:
            made.pointers += step()
        except (HeadwaterError, OSError) as error:
            made.remarks.append(f"{name}: {error.message if isinstance(error, HeadwaterError) else error}")
    return made


def _files(repo: DvsRepo, made: Why) -> Iterator[Pointer]:
    from resources.dvs.snapshots import tracked_now
    from resources.dvs.working import scan

    if repo.folder is None:  # nothing but the text is there to look at
        for tracked in tracked_now(repo):
            if tracked.sidecar.oid == made.oid:
                made.size = tracked.sidecar.size
                yield _sidecar(repo, tracked.path, repo.sidecar_path(tracked.path, tracked.spelling))
        return
    files = scan(repo).files
    for file in files:
        if file.recorded == made.oid:
            made.size = file.size
            yield _sidecar(repo, file.path, file.sidecar)
    for file in files:
        if file.actual == made.oid:
            made.size = file.actual_size
            note = "" if file.same else "its sidecar names other bytes"
            yield Pointer("file", file.path, (file.path,), note=note)


def _sidecar(repo: DvsRepo, path: str, place: str) -> Pointer:
    held = repo.sidecar_file(path)
    if held is None:
        return Pointer("sidecar", place, (path,))
    said = held.sidecar
    return Pointer("sidecar", place, (path,), said.add_time or None, said.saved_by or None, said.message)


def _manifest(repo: DvsRepo, made: Why) -> Iterator[Pointer]:
    for entry in repo.manifest().entries.values():
        if entry.oid == made.oid:
            made.size = entry.bytes
            yield Pointer("manifest", manifest.FILE, (entry.path,), note=f"remote {entry.remote or manifest.ORIGIN}")


def _states(repo: DvsRepo, made: Why) -> Iterator[Pointer]:
    """The states that name the object, and the operations that brought it in or took it out."""
    records, _problems = repo.log()
    newest = records[::-1]
    positions: dict[str, list[int]] = {}
    for index, record in enumerate(newest):
        positions.setdefault(record.new, []).append(index)
    start = len(repo.path(states.SNAPSHOTS)) + 1
    present = {stat.path[start:].removesuffix(".json"): stat.size for stat in repo.storage.scan(repo.path(states.SNAPSHOTS))}
    order = [*dict.fromkeys(record.new for record in newest if record.new in present), *sorted(present.keys() - positions.keys())]
    holding: set[str] = set()
    looked = 0
    for number, state_id in enumerate(order):
        looked += present[state_id]
        if looked > STATE_BYTES:
            made.remarks.append(f"{len(order) - number:,} older states were not looked at")
            break
        paths = _in_state(repo, state_id, made)
        if paths:
            holding.add(state_id)
            places = ", ".join(f"@{{{index}}}" for index in positions.get(state_id, [])[:5])
            yield Pointer("state", state_id, tuple(paths), note=places)
    for index, record in enumerate(newest):
        came, went = record.new in holding, record.old in holding
        if came != went:
            verb = "brought it in" if came else "took it out"
            note = f"{record.op}: {verb}" + (f" - {record.message}" if record.message else "")
            yield Pointer("log", f"@{{{index}}}", record.paths, record.ts, record.actor, note)


def _in_state(repo: DvsRepo, state_id: str, made: Why) -> list[str]:
    """The paths under which a state names the object; a state that cannot be read is remarked on."""
    algorithm, _, digits = made.oid.partition(":")
    data = repo.read(f"{states.SNAPSHOTS}/{state_id}.json", limit=_TEXT_LIMIT) or b""
    if digits.encode() not in data:
        return []
    try:
        snapshot = states.read_snapshot(data, state_id, repo.path(f"{states.SNAPSHOTS}/{state_id}.json"))
    except HeadwaterError as error:
        made.remarks.append(f"state {state_id[:12]}: {error.message}")
        return []
    entries = snapshot.manifest.entries.values() if snapshot.manifest is not None else ()
    named = {entry.path for entry in entries if entry.oid == made.oid}
    named |= {file.path for file in snapshot.files if file.sidecar.oid == f"{algorithm}:{digits}"}
    return sorted(named)


def _audit(repo: DvsRepo, made: Why) -> Iterator[Pointer]:
    from resources.dvs.roots import DROPS, retained_until

    first: str | None = None
    for record in repo.audit_log.records():
        if record.operation not in DROPS and made.oid in record.files.values():
            first = record.time if first is None else min(first, record.time)
            made.retained = retained_until({made.oid: first}, made.oid, repo.config.retain_seconds)
        paths = tuple(sorted(path for path, oid in record.files.items() if oid == made.oid))
        if paths:
            note = record.operation + (f" - {record.reason}" if record.reason else "")
            yield Pointer("audit", record.operation_id, paths, record.time, record.user, note)


def _stores(repo: DvsRepo, made: Why) -> Iterator[Pointer]:
    for kind, store in (("storage", repo.objects), ("cache", repo.cache)):
        found = store.locate(made.oid)
        if found is None:
            continue
        stored = found.member.stored if found.member is not None else found.stored
        if found.member is not None:
            made.size = found.member.size
        elif made.size is None and not found.zst:
            made.size = found.stored
        how = "in a pack" if found.member is not None else "a file"
        note = f"{how}, {stored:,} bytes{' compressed' if found.zst else ''}"
        yield Pointer(kind, found.path, note=note)


def _trash(repo: DvsRepo, made: Why) -> Iterator[Pointer]:
    from resources.dvs import trash

    for name in trash.names(repo.objects.storage):
        held = trash.objects_of(repo, name)
        try:
            found = held.locate(made.oid)
        finally:
            held.close()
        if found is not None:
            yield Pointer("trash", name, note="`headwater dvs trash restore` brings it back")


def _asked(repo: DvsRepo, made: Why) -> Iterator[Pointer]:
    """Ask each remote; those without an identity, about which nothing can be remembered, are told at once."""
    from resources.dvs.repo import now
    from resources.dvs.sync import open_remote, resolved_remotes

    ledger = Ledger(repo.local / "ledger.db")
    for setting in resolved_remotes(repo):
        try:
            opened = open_remote(repo, setting)
            try:
                held = made.oid in opened.present([made.oid])
                identity = opened.identity(make=False)
            finally:
                opened.close()
        except (HeadwaterError, OSError) as error:
            said = error.message if isinstance(error, HeadwaterError) else error.strerror or str(error)
            made.remarks.append(f"the remote {setting.name} cannot be asked: {said}")
            continue
        if not held:
            made.remarks.append(f"the remote {setting.name} does not hold it")
        if identity is None:
            if held:
                yield Pointer("remote", opened.url, when=now(), note="asked now")
        elif held:
            ledger.prove(identity, opened.url, [made.oid])
        else:
            ledger.forget(identity, [made.oid])


def _remotes(repo: DvsRepo, made: Why) -> Iterator[Pointer]:
    for url, at in Ledger(repo.local / "ledger.db").known([made.oid]).get(made.oid, []):
        yield Pointer("remote", url, when=datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), note="last proof")


def _git(repo: DvsRepo, made: Why, limit: int) -> Iterator[Pointer]:
    side = GitSide(repo)
    if side.git is None:
        return
    digits = made.oid.partition(":")[2]
    start = _literal(side.prefix)
    endings = (f"*{sidecar.JSON_SUFFIX}", f"*{sidecar.TOML_SUFFIX}")
    below = [*(f":(glob){start}**/{ending}" for ending in endings), f":(glob){start}{manifest.FILE}"]
    try:
        found_commits = side.git.commits_about(digits, below, limit=limit + 1, timeout=GIT_SECONDS)
        if len(found_commits) > limit:
            made.remarks.append(f"only the {limit} newest commits are named")
        for commit, when, who, subject in found_commits[:limit]:
            yield Pointer("commit", commit, (), when, who, subject)
    except GitError as error:
        made.remarks.append(f"commits: {error.message}")
    references = side.git.references(limit=REFERENCES + 1)
    if len(references) > REFERENCES:
        made.remarks.append(f"only the {REFERENCES} newest branches and tags were looked at")
    try:
        found = side.git.holding(digits, references[:REFERENCES], below, timeout=GIT_SECONDS)
    except GitError as error:
        made.remarks.append(f"branches and tags: {error.message}")
        return
    for reference, files in sorted(found.items()):
        kind = "tag" if reference.startswith("refs/tags/") else "branch"
        short = re.sub(r"\Arefs/(heads|tags|remotes)/", "", reference)
        named = {repo.data_path(file[len(side.prefix) :]) for file in files} - {None}
        yield Pointer(kind, short, tuple(sorted(str(path) for path in named)))


def _literal(prefix: str) -> str:
    """A path as a part of a glob pathspec."""
    return re.sub(r"([\\*?\[])", r"\\\1", prefix)
