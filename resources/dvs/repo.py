"""One repository of versioned data: where its text, its objects and its clone's state lie, and how its text is changed.

What commands do with it lies beside this module, one file per operation. Light until objects are needed.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resources.storage.base import ABSENT, Change, Expect, Storage
from schemas.dvs import config as configs
from schemas.dvs import local_config, manifest, sidecar, state
from schemas.dvs.local_config import LocalConfig
from schemas.dvs.manifest import Manifest
from schemas.dvs.sidecar import Sidecar, SidecarFormat
from schemas.dvs.state import LogRecord, Snapshot, TrackedFile
from schemas.errors import Conflict, HeadwaterError, InvalidText, UsageError
from schemas.findings import Finding, found
from schemas.oid import bytes_oid

if TYPE_CHECKING:
    from resources.dvs.audit import AuditLog
    from resources.packed import PackedObjects

CLONE: Final = ".dvs"
"""The folder of a clone's own state; never tracked."""
CACHE: Final = f"{CLONE}/cache"
_ATTEMPTS: Final = 50
_MANIFEST_LIMIT: Final = 1 << 30


class NotInitialized(HeadwaterError):
    """The folder is no repository of versioned data."""


def now() -> str:
    """The present second as RFC 3339 in UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def user_name(environment: Mapping[str, str] = os.environ) -> str:
    """Who runs this: USER, USERNAME or LOGNAME, else the password database, else `unknown`."""
    for name in ("USER", "USERNAME", "LOGNAME"):
        if environment.get(name):
            return environment[name]
    with suppress(ImportError, KeyError, OSError):
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    return "unknown"


@dataclass(frozen=True, slots=True)
class SidecarFile:
    """A sidecar where it lies: `path` (store-relative) of the text, its spelling, what it says, and the oid of its bytes."""

    path: str
    spelling: SidecarFormat
    sidecar: Sidecar
    oid: str


class DvsRepo:
    """The repository at the folder `root` of a storage ('' for the whole of it).

    `local` is a folder on this machine for what is on its way and for indexes that can be lost; `actor` is who operations are
    logged for. All paths are relative to the repository unless said otherwise. Raises NotInitialized, InvalidText.
    """

    def __init__(self, storage: Storage, root: str, local: Path, *, actor: str | None = None) -> None:
        self.storage = storage
        self.root = root
        self.local = local
        self.actor = actor or user_name()
        present = [name for name in configs.FILES if storage.stat(self.path(name)) is not None]
        if not present:
            raise NotInitialized(
                f"{root or 'the folder'} is no repository of versioned data",
                rule="dvs-not-initialized",
                fix="start one with `headwater dvs init STORAGE`",
            )
        if len(present) > 1:
            message = f"there are {' and '.join(present)}"
            raise InvalidText(
                [found(configs.CONFIG_TWICE, self.path(present[1]), message, fix=f"keep the one that is right, say {present[0]}")]
            )
        self.config_path = present[0]
        self.config, self.config_warnings = configs.read_config(
            storage.read(self.path(self.config_path)), self.path(self.config_path)
        )
        self._opened: list[PackedObjects] = []
        self._read_manifest: tuple[str, Manifest] | None = None
        """The manifest that was read or written last, by the oid of its bytes: reading a large one takes a second."""

    def path(self, inside: str) -> str:
        """A path of the repository as the storage knows it."""
        return f"{self.root}/{inside}" if self.root and inside else inside or self.root

    @property
    def folder(self) -> Path | None:
        """The repository's folder on this machine, None where it is not local."""
        above = self.storage.local_root
        return None if above is None else above / self.root

    def close(self) -> None:
        """Let go of open objects; the repository may be used again."""
        for opened in self._opened:
            opened.close()

    # where objects are

    @cached_property
    def storage_url(self) -> str | Path:
        """Where `storage_dir` is: a URL, or an absolute path (a relative one starts at the repository)."""
        from resources.dvs.init import storage_place

        return storage_place(self.storage, self.root, self.config.storage_dir, self.path(self.config_path))

    @cached_property
    def objects(self) -> PackedObjects:
        """The storage that `storage_dir` names, with the modes and the group of the configuration."""
        from resources.storage import open_storage
        from resources.storage.sharing import sharing_for

        config = self.config
        sharing = sharing_for(config.permissions, config.group)
        opened = open_storage(self.storage_url, state=self.local / "storage", sharing=sharing)
        return self._objects(opened, "")

    @cached_property
    def cache(self) -> PackedObjects:
        """The clone's own objects, below `.dvs/cache/objects`: what was pulled."""
        from resources.storage import open_storage

        if self.folder is None:
            return self._objects(self.storage, self.path(f"{CACHE}/objects"))
        return self._objects(open_storage(self.folder / CACHE, state=self.local / "cache"), "objects")

    def _objects(self, storage: Storage, prefix: str) -> PackedObjects:
        from resources.packed import PackedObjects

        config = self.config
        made = PackedObjects(
            storage, self.local / "scratch", prefix, packed=config.layout == "packed", compress=config.compression != "none"
        )
        self._opened.append(made)
        return made

    def find(self, oid: str) -> PackedObjects | None:
        """The first of storage and cache that holds the object; its bytes are not read."""
        return next((objects for objects in (self.objects, self.cache) if objects.has(oid)), None)

    # who does what to the storage

    def lease(self, operation: str, *, exclusive: bool = False) -> AbstractContextManager[None]:
        """Say in the storage that objects are being put there, while the block runs. Raises StorageBusy."""
        from resources.dvs.leases import hold

        self.require_storage()
        return hold(self.objects.storage, operation, self.actor, exclusive=exclusive)

    @property
    def audit_log(self) -> AuditLog:
        """The audit log of the storage."""
        from resources.dvs.audit import AuditLog

        return AuditLog(self.objects.storage, self.local / "audit-last")

    def audit(self, operation: str, files: Mapping[str, str], reason: str | None) -> None:
        """Write one line into the audit log of the storage: oids by path, and why. Raises AuditFailed."""
        from resources.dvs.audit import new_record

        self.require_storage()
        self.audit_log.append(new_record(operation, files, user=self.actor, when=now(), reason=reason, clone=self.clone_id()))

    def storage_trouble(self) -> str | None:
        """A sentence when files are tracked and the storage is a local folder that is not there or empty: a share that is not
        mounted looks like either. None otherwise."""
        place = self.storage_url
        if not isinstance(place, Path):
            return None
        try:
            there = place.is_dir()
            if there and next(place.iterdir(), None) is not None:
                return None
        except OSError:
            return None  # who may not look into it is told so where it is opened
        if not self._tracks_anything():
            return None  # it is about to begin
        return f"the storage {place} is {'empty' if there else 'not there'}"

    def _tracks_anything(self) -> bool:
        from resources.dvs.snapshots import sidecar_paths

        if self.storage.stat(self.path(manifest.FILE)) is not None:
            return True
        folder = self.folder
        return folder is not None and next(sidecar_paths(folder, self.config.metadata_folder), None) is not None

    def require_storage(self) -> None:
        """Raise HeadwaterError (rule `dvs-storage-absent`) where `storage_trouble` says something: nothing is put into a folder
        that only stands where the storage should be."""
        trouble = self.storage_trouble()
        if trouble is not None:
            raise HeadwaterError(
                f"{trouble}: is it mounted?",
                rule="dvs-storage-absent",
                fix="mount it; to start with an empty one on this machine, run `headwater dvs init STORAGE` again",
            )

    def require_reason(self, reason: str | None) -> None:
        """Raise UsageError (rule `dvs-reason`) when the configuration wants a reason and there is none."""
        if self.config.require_reason and not (reason or "").strip():
            raise UsageError(
                "this repository wants a reason for every change of its storage", rule="dvs-reason", fix="give one with --message"
            )

    def clone_id(self) -> str:
        """What this clone is called in storages that it shares: made once, kept in `.dvs/` beside where that was.

        A copy of a clone gets another one: two that share a name would take each other's objects for their own.
        """
        inside = f"{CLONE}/state/clone"
        if self.folder is not None:
            (self.folder / CLONE).mkdir(exist_ok=True)  # its file number is part of the name
        here = self._whereabouts()
        for _attempt in range(3):
            data = self.read(inside)
            lines = (data or b"").decode("ascii", "replace").split()
            if len(lines) == 1 or lines[1:] == [here]:
                return lines[0]
            expect = ABSENT if data is None else bytes_oid(data)
            with suppress(Conflict):
                self.storage.write(self.path(inside), f"{uuid.uuid4()}\n{here}\n".encode(), expect=expect)
        raise HeadwaterError(
            "the clone's name cannot be kept", rule="dvs-state-damaged", path=self.path(inside), fix="remove it and try again"
        )

    def _whereabouts(self) -> str:
        """What a copy of this clone has otherwise: the file number of its `.dvs/`, which a move within a file system keeps."""
        folder = self.folder
        with suppress(OSError):
            if folder is not None:
                return str((folder / CLONE).stat().st_ino)
        return "0"

    # text

    def read(self, inside: str, *, limit: int | None = None) -> bytes | None:
        """The bytes of a file of the repository, None when it is not there."""
        try:
            return self.storage.read(self.path(inside), limit=limit)
        except FileNotFoundError:
            return None

    @property
    def local_config(self) -> LocalConfig:
        """The settings of this clone."""
        return local_config.read_local_config(self.read(local_config.FILE), self.path(local_config.FILE))

    def manifest(self) -> Manifest:
        """`dvs.lock`, empty when there is none. Raises InvalidText, NewerFormat."""
        return self._manifest()[0]

    def manifest_base_url(self) -> str | None:
        """`base_url` of the manifest; the entries of a manifest that has none are not read. Raises InvalidText."""
        data = None if self._read_manifest is not None else self.read(manifest.FILE, limit=_MANIFEST_LIMIT)
        return None if data is not None and b"base_url" not in data else self.manifest().base_url

    def _manifest(self) -> tuple[Manifest, Expect]:
        data = self.read(manifest.FILE, limit=_MANIFEST_LIMIT)
        if data is None:
            return Manifest(), ABSENT
        oid = bytes_oid(data)
        if self._read_manifest is None or self._read_manifest[0] != oid:
            self._read_manifest = (oid, manifest.read_manifest(data, self.path(manifest.FILE)))
        return self._read_manifest[1], oid

    def sidecar_file(self, data_path: str) -> SidecarFile | None:
        """The sidecar of a data file, the TOML one where both are there; None when it is not tracked. Raises InvalidText."""
        for spelling in (SidecarFormat.TOML, SidecarFormat.JSON):
            path = self.sidecar_path(data_path, spelling)
            data = self.read(path, limit=sidecar.LIMITS.size)
            if data is not None:
                return SidecarFile(path, spelling, sidecar.read_sidecar(data, self.path(path)), bytes_oid(data))
        return None

    def sidecar_path(self, data_path: str, spelling: SidecarFormat) -> str:
        """Where the sidecar of a data file lies: beside it, or in the mirror tree of the third generation."""
        beside = sidecar.sidecar_path(data_path, spelling)
        return beside if self.config.metadata_folder is None else f"{self.config.metadata_folder}/{beside}"

    def data_path(self, sidecar_path: str) -> str | None:
        """The data file a path of the repository is the sidecar of; None when it is no sidecar."""
        folder = self.config.metadata_folder
        if folder is not None:
            if not sidecar_path.startswith(f"{folder}/"):
                return None
            sidecar_path = sidecar_path[len(folder) + 1 :]
        elif sidecar_path.startswith(f"{CLONE}/"):
            return None
        return sidecar.data_path(sidecar_path)

    # changing text

    def lock(self) -> AbstractContextManager[None]:
        """The polite lock under which one command after the other changes the repository's text."""
        return self.storage.lock(f"dvs {self.root}")

    def update(
        self,
        change: Callable[[Manifest], tuple[Manifest, Sequence[Change]]],
        *,
        label: str,
        then: Callable[[], object] = lambda: None,
    ) -> Manifest:
        """Change the manifest and whatever goes with it as one set; returns the new manifest.

        `then` is called under the same lock: who records the new state there has it alone, however many commands run at once.

        `change(manifest) -> (new manifest, changes of other files)` is asked again with what is there then when somebody else was
        quicker. Paths of the changes are the storage's. Raises Conflict after 50 attempts.
        """
        for attempt in range(_ATTEMPTS):
            with self.lock():
                try:
                    after = self._update(change, label)
                except Conflict:
                    if attempt == _ATTEMPTS - 1:
                        raise
                else:
                    then()
                    return after
        raise AssertionError("unreachable")

    def update_locked(self, change: Callable[[Manifest], tuple[Manifest, Sequence[Change]]], *, label: str) -> Manifest:
        """The same for a caller that holds the lock. Raises Conflict when somebody without the lock was quicker."""
        return self._update(change, label)

    def _update(self, change: Callable[[Manifest], tuple[Manifest, Sequence[Change]]], label: str) -> Manifest:
        before, expect = self._manifest()
        after, others = change(before)
        changes = list(others)
        written: bytes | None = None
        if after != before or (expect is ABSENT and after.entries):
            written = manifest.write_manifest(after)
            changes.append(Change(self.path(manifest.FILE), written, expect))
        if changes:
            self.storage.commit(changes, label=label)
        if written is not None:
            self._read_manifest = (bytes_oid(written), after)
        return after

    # history

    def head(self) -> str | None:
        """The id of the present state; None before the first operation."""
        return state.read_head(self.read(state.HEAD), self.path(state.HEAD))

    def snapshot(self, state_id: str) -> Snapshot:
        """A recorded state, verified. Raises HeadwaterError (rule `dvs-not-found`), DamagedState."""
        inside = f"{state.SNAPSHOTS}/{state.check_state_id(state_id)}.json"
        data = self.read(inside)
        if data is None:
            raise HeadwaterError(
                f"there is no state {state_id}", rule="dvs-not-found", fix="`headwater dvs log` lists the states of this clone"
            )
        return state.read_snapshot(data, state.check_state_id(state_id), self.path(inside))

    def log(self) -> tuple[list[LogRecord], list[state.DamagedState]]:
        """Every operation, oldest first, and the lines that cannot be read."""
        return state.read_log(self.read(state.LOG) or b"", self.path(state.LOG))

    def record(self, operation: str, files: Sequence[TrackedFile], paths: Sequence[str], message: str | None) -> str:
        """Keep the present state and log what led to it; returns its id. Without a change of state nothing is logged.

        `files` is every tracked file as it is now. Call it under `lock`.
        """
        state_id, data = state.write_snapshot(Snapshot(tuple(files), self.manifest()))
        old = self.head()
        if old == state_id:
            return state_id
        inside = self.path(f"{state.SNAPSHOTS}/{state_id}.json")
        if self.storage.stat(inside) is None:
            self.storage.write(inside, data)
        record = LogRecord(now(), self.actor, operation, state_id, old, message or None, tuple(sorted(paths)))
        self._repair_log_tail()
        self.storage.append(self.path(state.LOG), record.to_line())
        # HEAD last: a log entry without it is an operation that the next command completes.
        self.storage.write(self.path(state.HEAD), f"{state_id}\n".encode())
        return state_id

    def _repair_log_tail(self) -> None:
        """Take away what a killed writer left of a line; it was never acknowledged."""
        data = self.read(state.LOG)
        if data and not data.endswith(b"\n"):
            whole = data[: data.rfind(b"\n") + 1]
            self.storage.write(self.path(state.LOG), whole, expect=bytes_oid(data))

    # tracked files

    def tracked(self, enter: Callable[[str], bool] | None = None) -> Iterator[tuple[str, SidecarFile | Finding]]:
        """(data path, its sidecar, or the finding that keeps it from being read) of every tracked file, sorted by path.

        Where a JSON and a TOML sidecar lie side by side the TOML one counts; that they disagree is found elsewhere.
        """
        start = f"{self.root}/" if self.root else ""
        chosen: dict[str, str] = {}
        for stat in self.storage.scan(self.root, enter=enter):
            inside = stat.path[len(start) :]
            data_path = self.data_path(inside)
            if data_path is not None and not chosen.get(data_path, "").endswith(sidecar.TOML_SUFFIX):
                chosen[data_path] = inside
        for data_path in sorted(chosen):
            inside = chosen[data_path]
            try:
                data = self.storage.read(self.path(inside), limit=sidecar.LIMITS.size)
                held = sidecar.read_sidecar(data, self.path(inside))
            except FileNotFoundError:
                continue
            except InvalidText as invalid:
                yield data_path, invalid.findings[0]
                continue
            except HeadwaterError as error:
                yield data_path, found(sidecar.SIDECAR, self.path(inside), error.message, fix=error.fix)
                continue
            yield data_path, SidecarFile(inside, sidecar.format_of(inside), held, bytes_oid(data))
