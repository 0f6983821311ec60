"""Importing what DVC tracks: `.dvc` files and the outputs of `dvc.lock`, from DVC's cache, verified by MD5.

Read are the formats of DVC 1.0 to 3.x: single files, `.dir` lists of folders, lists of files kept in a bucket (`files:`); caches
with `files/md5/<2>/<30>` (3.x) and `<2>/<30>` (before, where MD5 takes CRLF in text for LF). Bytes come from the cache that
`.dvc/config` names, from remotes that are folders, or from the working file when it still has that MD5. DVC's own files stay as
they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from resources.dvs.add import local_root
from resources.dvs.dvc_files import (
    DIR,
    LISTED,
    LOCK,
    MD5,
    TEXT_BYTES,
    Out,
    object_folders,
    odd,
    read_list,
    read_lock,
    read_parts,
    read_pointer,
)
from resources.dvs.foreign import Item, foreign_hasher, import_items
from resources.dvs.incoming import (
    OnConflict,
    check_prefix,
    check_source,
    under,
)
from resources.dvs.results import Outcome, Report, Row
from resources.dvs.working import NEVER_ENTERED
from schemas.dvs.config import FILES
from schemas.errors import HeadwaterError, UsageError
from schemas.paths import check_path, escaped

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo

OWN: Final = ".dvc"
"""DVC's folder, at the root of its repository."""
SAID: Final = "imported from DVC"
FETCH: Final = "fetch it with `dvc fetch`, or name the cache that holds it with --cache"


@dataclass(slots=True)
class _Found:
    """What the source tracks: files, folders whose line in `.gitignore` goes, rows for what cannot be read."""

    items: list[Item] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    kept_by_git: int = 0


def import_dvc(
    repo: DvsRepo,
    folder: Path,
    *,
    prefix: str = "",
    caches: Sequence[Path] = (),
    conflict: OnConflict = OnConflict.ABORT,
    message: str = "",
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
    note: Callable[[str], None] = lambda _line: None,
) -> Report:
    """Track here what DVC tracks at and below `folder`. One row per file.

    A folder of this repository is taken over in place, any other below the folder `prefix`. Files whose bytes are missing or
    damaged become rows while the others go on; with ABORT a clash means that no text is written. Raises UsageError where there is
    nothing of DVC's, HeadwaterError for what concerns everything.
    """
    root = local_root(repo)
    source = check_source(folder)
    in_place = source.is_relative_to(root.resolve())
    looking = _Look(source, root.resolve() if in_place else source, check_prefix(prefix), [path.absolute() for path in caches])
    found = looking.run()
    if not looking.seen:
        raise UsageError(
            f"nothing in {folder} is tracked by DVC",
            rule="dvs-no-files-matched",
            fix="name a folder with .dvc files or a dvc.lock",
        )
    if found.kept_by_git:
        note(f"{found.kept_by_git} outputs that DVC leaves to git (cache: false) are left to git")
    return import_items(
        repo,
        found.items,
        found.rows,
        said=message or SAID,
        fix=FETCH,
        show=found.folders if in_place and not prefix else [],
        conflict=conflict,
        dry_run=dry_run,
        progress=progress,
        after=lambda tracked, oids: _give_files(repo, root, found.items, tracked, oids),
    )


def _give_files(repo: DvsRepo, root: Path, items: Sequence[Item], tracked: set[str], oids: Mapping[str, tuple[str, int]]) -> None:
    """Working files that are links into DVC's cache become files: the cache may go, and links are not followed here."""
    from resources.dvs.restore import Wanted, restore
    from resources.storage.folders import split_path
    from resources.storage.local import LocalStorage

    storage = repo.storage
    assert isinstance(storage, LocalStorage)  # the working tree is local
    wanted = []
    for item in items:
        full = root / item.path
        if item.path not in tracked or not full.is_symlink():
            continue
        leads = os.path.realpath(full)
        if any(os.path.realpath(place) == leads for place in item.places if place != full):
            parts = split_path(repo.path(item.path))
            with storage.folder(parts[:-1]) as above:
                above.unlink(parts[-1])
            wanted.append(Wanted(item.path, *oids[item.digest]))
    if wanted:
        restore(repo, wanted, {}, "get")


class _Look:
    """Everything DVC tracks below a folder. `top` is what the paths of the items are relative to, before the prefix."""

    def __init__(self, source: Path, top: Path, prefix: str, caches: Sequence[Path]) -> None:
        self.source = source
        self.top = top
        self.prefix = prefix
        self.given = tuple(caches)
        self.found = _Found()
        self.seen = 0
        self._caches: dict[Path, tuple[Path, ...]] = {}

    def run(self) -> _Found:
        for folder, names in self._walk():
            for name in names:
                if name.endswith(".dvc") and name != ".dvc":
                    self._file(folder / name, read_pointer)
                elif name == LOCK:
                    self._file(folder / name, read_lock)
        return self.found

    def _walk(self) -> Iterator[tuple[Path, list[str]]]:
        for above, folders, names in os.walk(self.source):
            folders[:] = sorted(
                name
                for name in folders
                if name not in NEVER_ENTERED
                and name not in (OWN, ".dvs")
                and not any((Path(above) / name / config).is_file() for config in FILES)
            )
            yield Path(above), sorted(names)

    def _file(self, path: Path, read: Callable[[Path, Any], Iterator[Out]]) -> None:
        """Take every output of one file; what is wrong with the file is one row."""
        self.seen += 1
        shown = path.relative_to(self.source).as_posix()
        try:
            if path.is_symlink() or not path.is_file():
                raise HeadwaterError("it is no regular file", rule="dvs-io-error", fix="replace it by the file itself")
            if path.stat().st_size > TEXT_BYTES:
                raise odd(f"it is larger than {TEXT_BYTES >> 20} MiB")
            for value in read_parts(path.read_bytes(), shown):
                for out in read(path.parent, value):
                    self._take(out)
        except OSError as error:
            self._row(shown, HeadwaterError(f"it cannot be read: {error.strerror}", rule="dvs-io-error", fix="make it readable"))
        except HeadwaterError as error:
            self._row(shown, error)

    def _row(self, path: str, error: HeadwaterError) -> None:
        self.found.rows.append(Row(escaped(path), Outcome.ERROR, error=error))

    # outputs

    def _take(self, out: Out) -> None:
        if not out.cached:
            self.found.kept_by_git += 1
            return
        try:
            target = self._target(out)
            if out.files:
                for inside, digits, size in out.files:
                    self._item(under(target, check_path(inside, portable=False)), out.path / inside, digits, out, size)
                self._folder(target)
            elif out.digits is None:
                raise HeadwaterError(
                    "DVC does not name it by an MD5",
                    rule="dvs-import-hash",
                    fix="bring it into DVC's cache with `dvc update` or `dvc add`, or add the file with `headwater dvs add`",
                )
            elif out.digits.endswith(DIR):
                for inside, digits in self._listed(out):
                    self._item(under(target, check_path(inside, portable=False)), out.path / inside, digits, out, None)
                self._folder(target)
            else:
                self._item(target, out.path, out.digits, out, out.size)
        except HeadwaterError as error:
            self._row(out.shown, error)

    def _target(self, out: Out) -> str:
        """Where the output is tracked here. Raises HeadwaterError for one that lies outside."""
        full = Path(os.path.normpath(out.path))
        if "://" in out.shown or not full.is_relative_to(self.top) or full == self.top:
            raise HeadwaterError(
                "it lies outside of the repository",
                rule="dvs-file-outside-repo",
                fix="copy it into the repository, then add it with `headwater dvs add`",
            )
        return under(self.prefix, check_path(full.relative_to(self.top).as_posix(), portable=False))

    def _folder(self, target: str) -> None:
        self.found.folders.append(target)

    def _item(self, target: str, full: Path, digits: str, out: Out, size: int | None) -> None:
        if not MD5.match(digits):
            raise odd(f"{escaped(digits)!r} is no MD5")
        places = [*self._objects(full, digits), full]
        self.found.items.append(Item(target, f"{out.algorithm}:{digits}", size, tuple(places)))

    def _listed(self, out: Out) -> list[tuple[str, str]]:
        """(path in the folder, MD5) of a folder's files, from its verified list."""
        assert out.digits is not None
        digits = out.digits.removesuffix(DIR)
        if not MD5.match(digits):
            raise odd(f"{escaped(out.digits)!r} is no MD5")
        for place in self._objects(out.path, digits):
            path = place.with_name(place.name + DIR)
            if not path.is_file():
                continue
            if path.stat().st_size > LISTED.size:
                raise odd(f"the list of the folder is larger than {LISTED.size >> 20} MiB")
            data = path.read_bytes()
            made = foreign_hasher("md5")
            made.update(data)
            if made.hexdigest() != digits:
                raise HeadwaterError(
                    f"the bytes of {path} are not those of md5:{digits}",
                    rule="dvs-hash-mismatch",
                    fix="remove the damaged list, then fetch it anew with `dvc fetch`",
                )
            return read_list(data, str(path))
        raise HeadwaterError(
            f"the list of the folder, md5:{out.digits}, is not on this machine", rule="dvs-storage-missing", fix=FETCH
        )

    # caches

    def _objects(self, inside: Path, digits: str) -> Iterator[Path]:
        """Where an object may lie, the newer layout first."""
        for cache in (*self.given, *self._caches_of(inside.parent)):
            yield cache / "files" / "md5" / digits[:2] / digits[2:]
            yield cache / digits[:2] / digits[2:]

    def _caches_of(self, folder: Path) -> tuple[Path, ...]:
        """The caches and the remotes on this machine of the DVC repository around a folder."""
        folder = Path(os.path.normpath(folder))
        if folder not in self._caches:
            own = folder / OWN
            if own.is_dir():
                self._caches[folder] = tuple(object_folders(own))
            elif folder.parent == folder or (folder / ".git").exists():
                self._caches[folder] = ()
            else:
                self._caches[folder] = self._caches_of(folder.parent)
        return self._caches[folder]
