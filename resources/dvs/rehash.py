"""Naming tracked files by another hash: each object is read once, verified under its old name and kept under the new one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from resources.dvs.results import Outcome, Report, Row
from resources.dvs.snapshots import tracked_now
from resources.packed import SMALL
from resources.storage.base import Change
from schemas.dvs.config import write_config
from schemas.dvs.manifest import Entry, Manifest
from schemas.dvs.oids import hasher
from schemas.dvs.sidecar import write_sidecar
from schemas.dvs.state import TrackedFile
from schemas.errors import HeadwaterError
from schemas.oid import bytes_oid

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.packed import Batch


def rehash(
    repo: DvsRepo,
    algorithm: str,
    *,
    message: str = "",
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Give every tracked file an oid of `algorithm`. One row per file; nothing of the text changes when one cannot be read.

    The configuration's `hash_algo` follows. Objects under their old names stay, for older states.
    """
    report = Report("add")
    made: list[TrackedFile] = []
    rows: list[Row] = []
    new: dict[str, str] = {}
    with repo.lease("rehash"), repo.objects.batch() as batch:
        for file in tracked_now(repo):
            old = file.sidecar.oid
            if old.startswith(f"{algorithm}:"):
                rows.append(Row(file.path, Outcome.PRESENT, old, file.sidecar.size))
                continue
            if progress is not None:
                progress(file.path)
            if old not in new:
                try:
                    new[old] = _again(repo, old, algorithm, batch, dry_run=dry_run)
                except (HeadwaterError, FileNotFoundError) as error:
                    held = error if isinstance(error, HeadwaterError) else _gone(file.path, old)
                    rows.append(Row(file.path, Outcome.ERROR, old, file.sidecar.size, held))
                    continue
            rows.append(Row(file.path, Outcome.COPIED, new[old], file.sidecar.size))
            made.append(replace(file, sidecar=replace(file.sidecar, oid=new[old])))
    report.add(rows)
    if dry_run or report.failed or (not made and repo.config.hash_algo == algorithm):
        return report

    def change(before: Manifest) -> tuple[Manifest, list[Change]]:
        others = []
        for file in made:
            present = repo.sidecar_file(file.path)
            if present is not None:
                data = write_sidecar(file.sidecar, present.spelling)
                others.append(Change(repo.path(present.path), data, present.oid))
        if repo.config.hash_algo != algorithm and repo.config.generation != 3:
            path = repo.path(repo.config_path)
            held = repo.storage.read(path)
            others.append(
                Change(path, write_config(replace(repo.config, hash_algo=algorithm), repo.config_path), bytes_oid(held))
            )
        entries = [_entry(before, file) for file in made]
        return before.put(entries), others

    def log() -> None:
        repo.audit("rehash", {file.path: file.sidecar.oid for file in made}, message or f"to {algorithm}")
        said = message or f"rehash to {algorithm}"
        report.state = repo.record("add", tracked_now(repo), [file.path for file in made], said)

    repo.update(change, label=f"rehash {len(made)} files", then=log)
    return report


def _entry(before: Manifest, file: TrackedFile) -> Entry:
    old = before.entries.get(file.path)
    remote, extra = (old.remote, old.extra) if old is not None else (None, {})
    return Entry(file.path, file.sidecar.oid, file.sidecar.size, None, remote, extra)


def _again(repo: DvsRepo, old: str, algorithm: str, batch: Batch, *, dry_run: bool) -> str:
    """Keep the object under its new name; returns that. Raises RottenObject, FileNotFoundError."""
    store = repo.find(old)
    if store is None:
        raise FileNotFoundError(old)
    made = hasher(algorithm)
    repo.objects.scratch.mkdir(parents=True, exist_ok=True)
    target = repo.objects.scratch / f"rehash-{old.partition(':')[2]}"
    target.unlink(missing_ok=True)
    try:
        size = 0
        with target.open("xb") as file:
            for block in store.blocks(old):
                made.update(block)
                size += len(block)
                if not dry_run:
                    file.write(block)
        oid = f"{algorithm}:{made.hexdigest()}"
        if not dry_run:
            batch.put(target.read_bytes() if size < SMALL else target, oid=oid)
        return oid
    finally:
        target.unlink(missing_ok=True)


def _gone(path: str, oid: str) -> HeadwaterError:
    return HeadwaterError(
        f"neither the storage nor the cache holds {oid}",
        rule="dvs-storage-missing",
        path=path,
        fix="fetch it with `headwater dvs pull`",
    )
