"""Turning a repository of an older or later generation of DVS into what is written here: in place, or into another repository.

The third generation says `[backend]` in its configuration, keeps sidecars in a mirror tree below `.dvs/`, has no manifest, and
lays objects at `<2 hex>/<rest>`, some of them compressed. The first hides its own sidecars from git (`*.dvs` in `.gitignore`) and
may write digests in capitals; the second writes sidecars of the third beside the data. All of that stays readable until the text
has changed as one set; objects are copied to their new names before, each verified, and the old ones go only when asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from resources.dvs.carry import scratch_file
from resources.dvs.gitignore import FILE as GITIGNORE
from resources.dvs.gitignore import GitSide
from resources.dvs.incoming import OnConflict, check_prefix, placed, under
from resources.dvs.merge_repo import merge_repo
from resources.dvs.repo import CLONE, DvsRepo
from resources.dvs.results import Outcome, Report, Row
from resources.dvs.snapshots import tracked_now
from resources.encoding import MAGIC
from resources.packed import ZST
from resources.storage.base import ABSENT, Change, Expect
from schemas.dvs.config import RepoConfig, write_config
from schemas.dvs.manifest import Entry, Manifest
from schemas.dvs.sidecar import read_sidecar, sidecar_path, write_sidecar
from schemas.dvs.state import TrackedFile
from schemas.errors import HeadwaterError
from schemas.findings import Finding
from schemas.oid import bytes_oid

if TYPE_CHECKING:
    from resources.dvs.audit import AuditRecord
    from resources.dvs.repo import SidecarFile

SAID: Final = "converted from another generation of DVS"
_HIDES_SIDECARS: Final = frozenset({"*.dvs", "*.dvs.toml"})
_HIDES_CLONE: Final = f"/{CLONE}/"
_SHARED_MODE: Final = 0o660
"""With a group the third generation gives folders 2770, objects 0440 and the audit log 0660: what this mode means here."""
_LIMIT: Final = 64 << 20


# in place


@dataclass(slots=True)
class _Conversion:
    """What has to change: `files` with their new sidecar and the present one, flat `objects` by oid, `rows` of what is wrong."""

    files: list[tuple[TrackedFile, SidecarFile]] = field(default_factory=list)
    objects: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    missing: dict[str, HeadwaterError] = field(default_factory=dict)


def convert(
    repo: DvsRepo,
    *,
    remove_old: bool = False,
    message: str = "",
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Turn the repository into what is written here. One row per tracked file: PRESENT when nothing of it had to change.

    A sidecar that cannot be read keeps all text from being changed. A file whose object is missing or damaged is an ERROR, and
    its sidecar is converted all the same. With `remove_old` objects go from their old names once all is written. The repository
    must be opened anew afterwards.
    """
    report = Report("import")
    made = _look(repo)
    if any(row.outcome is Outcome.ERROR for row in made.rows):
        report.add(made.rows)
        return placed(report)
    entries = repo.manifest().entries
    config = converted_config(repo.config)
    changed = {
        file.path
        for file, old in made.files
        if old.path != _new_path(file)
        or not _is_ours(repo, old)
        or file.sidecar.oid in made.objects
        or (held := entries.get(file.path)) is None
        or (held.oid, held.bytes) != (file.sidecar.oid, file.sidecar.size)
    }
    ignore = _ignore_changes(repo, made)
    if not dry_run and (changed or ignore or config != repo.config or made.objects):
        target = DvsRepo(repo.storage, repo.root, repo.local, actor=repo.actor)
        # What is put into the storage has the modes that the new configuration says.
        target.config = config
        try:
            with target.lease("import"):
                if made.objects:
                    made.missing |= _copy_all(target, made.objects, progress)
                target.audit("import", {file.path: file.sidecar.oid for file, _old in made.files}, message or SAID)
                report.state = _write(repo, made, config, message or SAID)
                if remove_old:
                    for oid, flat in made.objects.items():
                        if oid not in made.missing:
                            target.objects.storage.delete(flat)
        finally:
            target.close()
    report.also = {"objects_copied": len(made.objects.keys() - made.missing.keys())}
    for file, _old in made.files:
        error = made.missing.get(file.sidecar.oid)
        outcome = Outcome.ERROR if error else Outcome.COPIED if file.path in changed else Outcome.PRESENT
        report.rows.append(Row(file.path, outcome, file.sidecar.oid, file.sidecar.size, error))
    report.add([])
    return placed(report)


def converted_config(config: RepoConfig) -> RepoConfig:
    """The configuration as it is written here; one of the first generation is that already."""
    if config.generation == 1 and config.metadata_folder is None:
        return config
    mode = _SHARED_MODE if config.permissions is None and config.group is not None else config.permissions
    return replace(config, permissions=mode, metadata_folder=None, generation=1)


def _look(repo: DvsRepo) -> _Conversion:
    made = _Conversion()
    oids = set()
    for path, held in repo.tracked():
        if isinstance(held, Finding):
            error = HeadwaterError(
                f"the sidecar cannot be read: {held.message}",
                rule="dvs-metadata-not-found",
                path=held.path,
                line=held.line,
                fix="repair it, or restore it from git; nothing is converted before",
            )
            made.rows.append(Row(path, Outcome.ERROR, error=error))
            continue
        sidecar = replace(held.sidecar, compression=None)
        file = TrackedFile(path, sidecar, held.spelling)
        beside = repo.read(_new_path(file), limit=_LIMIT) if held.path != _new_path(file) else None
        if beside is not None and not _says_the_same(beside, file):
            made.rows.append(Row(path, Outcome.ERROR, sidecar.oid, sidecar.size, _two_sidecars(_new_path(file))))
            continue
        made.files.append((file, held))
        oids.add(sidecar.oid)
    present = repo.objects.present(oids)
    cached = repo.cache.present(oids - present)
    made.missing = {oid: _missing(oid) for oid in oids - present - cached}
    for oid in sorted(present):
        flat = _flat(repo, oid)
        if flat is not None:
            made.objects[oid] = flat
    return made


def _says_the_same(data: bytes, file: TrackedFile) -> bool:
    try:
        return read_sidecar(data, _new_path(file)).says_the_same(file.sidecar)
    except HeadwaterError:
        return False


def _new_path(file: TrackedFile) -> str:
    return sidecar_path(file.path, file.spelling)


def _is_ours(repo: DvsRepo, held: SidecarFile) -> bool:
    """Whether the sidecar has the keys of the first generation, and its digest in small letters."""
    data = repo.read(held.path, limit=_LIMIT) or b""
    return b"hashes" not in data and held.sidecar.oid.partition(":")[2].encode() in data


def _flat(repo: DvsRepo, oid: str) -> str | None:
    """Where the third generation keeps the object, when it lies nowhere else."""
    algorithm, _, digits = oid.partition(":")
    located = repo.objects.locate(oid) if algorithm == "blake3" else None
    return located.path if located is not None and located.path == f"{digits[:2]}/{digits[2:]}" else None


# objects


def _copy_all(repo: DvsRepo, objects: Mapping[str, str], progress: Callable[[str], None] | None) -> dict[str, HeadwaterError]:
    """Copy objects to their names in the first generation, verified; returns what is wrong with those that could not be."""
    errors: dict[str, HeadwaterError] = {}
    for oid, flat in objects.items():
        if progress is not None:
            progress(oid)
        try:
            _copy(repo, oid, flat)
        except FileNotFoundError:
            errors[oid] = _missing(oid)
        except HeadwaterError as error:
            if error.rule not in ("object-rotten", "oid-mismatch"):
                raise
            errors[oid] = error
    return errors


def _copy(repo: DvsRepo, oid: str, flat: str) -> None:
    """One object, as it is stored where the configuration compresses, else raw."""
    objects = repo.objects
    storage = objects.storage
    with storage.open(flat) as file:
        encoded = file.read(len(MAGIC)) == MAGIC
    stored = storage.digest(flat) if encoded else oid
    with scratch_file(repo) as local:
        if encoded and stored != oid and objects.compress:
            objects.verify(oid)
            storage.fetch(flat, local)
            storage.add(objects.files.path(oid) + ZST, local, oid=stored)
        else:
            objects.fetch(oid, local)
            storage.add(objects.files.path(oid), local, oid=oid)


# text


def _write(repo: DvsRepo, made: _Conversion, config: RepoConfig, message: str) -> str | None:
    """Sidecars, configuration, manifest and `.gitignore`; the sidecars beside the data first, where nobody reads them yet."""
    moved = [(file, old) for file, old in made.files if old.path != _new_path(file)]
    repo.storage.write_many(
        [Change(repo.path(_new_path(file)), write_sidecar(file.sidecar, file.spelling), ABSENT) for file, _old in moved]
    )
    rewritten = [
        Change(repo.path(old.path), write_sidecar(file.sidecar, file.spelling), old.oid)
        for file, old in made.files
        if old.path == _new_path(file) and not _is_ours(repo, old)
    ]
    others = [*rewritten, *(Change(repo.path(old.path), None, old.oid) for _file, old in moved)]
    if config != repo.config:
        path = repo.path(repo.config_path)
        others.append(Change(path, write_config(config, repo.config_path), bytes_oid(repo.storage.read(path))))
    for file, _old in moved:
        data = repo.read(_new_path(file), limit=_LIMIT)
        if data is None or not _says_the_same(data, file):
            raise _two_sidecars(_new_path(file))

    def change(before: Manifest) -> tuple[Manifest, list[Change]]:
        after = before.put(_entry(before, file) for file, _old in made.files)
        return after, [*others, *_ignore_changes(repo, made)]

    states: list[str] = []

    def log() -> None:
        now = DvsRepo(repo.storage, repo.root, repo.local, actor=repo.actor)
        states.append(now.record("import", tracked_now(now), sorted(file.path for file, _old in made.files), message))

    repo.update(change, label=f"convert {len(made.files)} files", then=log)
    return states[0]


def _entry(before: Manifest, file: TrackedFile) -> Entry:
    old = before.entries.get(file.path)
    if old is None:
        return Entry(file.path, file.sidecar.oid, file.sidecar.size)
    return Entry(file.path, file.sidecar.oid, file.sidecar.size, None, old.remote, old.extra)


def _ignore_changes(repo: DvsRepo, made: _Conversion) -> list[Change]:
    """The `.gitignore` files that name every data file and the clone's state, and no sidecar."""
    git = GitSide(repo)
    if git.git is None:
        return []
    changes = git.changes(hide=[file.path for file, _old in made.files])
    root = repo.path(GITIGNORE)
    mine = next((change for change in changes if change.path == root), None)
    present = repo.read(GITIGNORE, limit=_LIMIT)
    text = ((mine.data if mine is not None else present) or b"").decode("utf-8", "surrogateescape")
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = text.splitlines()
    kept = [line for line in lines if line.strip() not in _HIDES_SIDECARS]
    if not {_HIDES_CLONE, f"{CLONE}/", CLONE, f"/{CLONE}"} & {line.strip() for line in kept}:
        kept.append(_HIDES_CLONE)
    if kept == lines:
        return changes
    expect: Expect = ABSENT if present is None else bytes_oid(present)
    data = newline.join([*kept, ""]).encode("utf-8", "surrogateescape")
    return [*(change for change in changes if change is not mine), Change(root, data, expect)]


# from elsewhere


def import_dvs(
    repo: DvsRepo,
    source: DvsRepo,
    *,
    prefix: str = "",
    conflict: OnConflict = OnConflict.ABORT,
    message: str = "",
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Track here what a repository of any generation tracks, as `merge_repo`; its audit log comes too, operation by operation."""
    inside = check_prefix(prefix)
    return merge_repo(
        repo,
        source,
        prefix=inside,
        conflict=conflict,
        dry_run=dry_run,
        message=message or f"imported from {source.folder.name if source.folder else 'elsewhere'}",
        operation="import",
        progress=progress,
        before=lambda: _bring_audit(repo, source, inside),
    )


def _bring_audit(repo: DvsRepo, source: DvsRepo, prefix: str) -> None:
    """Append what the source's audit log says to ours, once: who added what, when and why, under the paths they have here."""
    if str(source.storage_url) == str(repo.storage_url):
        return
    log = repo.audit_log
    known = {record.operation_id for record in log.records()}
    gathered: dict[str, list[AuditRecord]] = {}
    for record in source.audit_log.records():
        if record.operation_id not in known:
            gathered.setdefault(record.operation_id, []).append(record)
    for records in gathered.values():
        log.append(_as_one(records, prefix))


def _as_one(records: Sequence[AuditRecord], prefix: str) -> AuditRecord:
    """The third generation writes a line per file; here an operation is one."""
    files = {under(prefix, path): oid for record in records for path, oid in record.files.items()}
    return replace(records[0], files=files, prev=None, chained=True)


# what is said


def _missing(oid: str) -> HeadwaterError:
    return HeadwaterError(
        f"neither the storage nor the cache holds {oid}",
        rule="dvs-storage-missing",
        fix="bring it back from a copy of the storage, or add the file again where it is still there",
    )


def _two_sidecars(path: str) -> HeadwaterError:
    return HeadwaterError(
        "conflict: another sidecar lies where this one would go",
        rule="dvs-merge-conflict",
        path=path,
        fix="remove the one that is wrong, then run the command again",
    )
