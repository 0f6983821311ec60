"""Importing what git-lfs tracks: pointers in git, their bytes from the objects of the checkout, verified by SHA-256.

Bytes come from the objects of git-lfs, or from the working file where it has them. A working file that is still a pointer becomes
the file itself; any other stays as it is. Git goes on tracking the files until they are taken out of its index.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resources.dvs.add import local_root
from resources.dvs.foreign import Item, import_items
from resources.dvs.incoming import OnConflict, check_prefix, check_source, under
from resources.dvs.lfs_pointers import Pointer, in_folder, in_git, object_path, objects_of, pointer_at, untrack
from resources.dvs.results import Outcome, Report, Row
from resources.git import top_level
from resources.packed import SMALL
from resources.storage.base import Change
from schemas.errors import HeadwaterError, UsageError
from schemas.oid import bytes_oid

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo

SAID: Final = "imported from git-lfs"
FETCH: Final = "fetch it with `git lfs fetch`, or name the folder that holds it with --objects"
_BATCH_BYTES: Final = 64 << 20


def import_lfs(
    repo: DvsRepo,
    folder: Path,
    *,
    revision: str | None = None,
    prefix: str = "",
    objects: Sequence[Path] = (),
    conflict: OnConflict = OnConflict.ABORT,
    take_out: bool = False,
    message: str = "",
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
    note: Callable[[str], None] = lambda _line: None,
) -> Report:
    """Track here what git-lfs tracks at and below `folder`, in the index or at a revision. One row per file.

    A folder of this repository is taken over in place, any other comes in below the folder `prefix`; outside of git the files
    themselves are looked at. With `take_out` the files that are tracked afterwards leave git's index. Raises UsageError where
    there is no pointer, GitError for an unknown revision, HeadwaterError for what concerns everything.
    """
    root = local_root(repo).resolve()
    source = check_source(folder)
    in_place = source.is_relative_to(root)
    looked = _look(source, source.relative_to(root).as_posix() if in_place else "", check_prefix(prefix), revision, objects)
    items, rows = [], []
    for path, item, pointer in looked:
        if pointer.extended:
            rows.append(Row(path, Outcome.ERROR, error=_extended(path)))
        else:
            items.append(item)
    if not items and not rows:
        raise UsageError(
            f"nothing in {folder} is tracked by git-lfs",
            rule="dvs-no-files-matched",
            fix="name a folder of a checkout with pointers of git-lfs, or a revision that has them with --at",
        )
    in_place = in_place and not prefix
    pointers = _in_index(root, source) if in_place else {}
    same = {item.path for item in items if pointers.get(item.path) == item.digest}

    def after(tracked: set[str], oids: Mapping[str, tuple[str, int]]) -> None:
        if in_place:
            _give_files(repo, root, [item for item in items if item.path in tracked], oids)
            top = top_level(root)
            if take_out and top is not None:
                untrack(top, [(root / path).relative_to(top.resolve()).as_posix() for path in sorted(tracked & same)])

    report = import_items(
        repo,
        items,
        rows,
        said=message or SAID,
        fix=FETCH,
        conflict=conflict,
        from_git=pointers,
        dry_run=dry_run,
        progress=progress,
        after=after,
    )
    if same and not take_out and report.of(Outcome.COPIED):
        note(
            "git still tracks the files themselves: take them out of it with --untrack, then remove their lines in .gitattributes"
        )
    return report


def _in_index(root: Path, source: Path) -> dict[str, str]:
    """Path in the repository -> digest of every pointer that git has in its index at and below the source."""
    top = top_level(root)
    if top is None:
        return {}
    above = root.relative_to(top.resolve()).as_posix()
    start = "" if above == "." else f"{above}/"
    below = source.relative_to(top.resolve()).as_posix()
    found = in_git(top, "" if below == "." else below)
    return {path[len(start) :]: f"sha256:{pointer.digits}" for path, pointer in found}


def _look(
    source: Path, above: str, prefix: str, revision: str | None, objects: Sequence[Path]
) -> Iterator[tuple[str, Item, Pointer]]:
    """Every pointer at or below the source, as an item of this repository; `above` is where the source lies in it."""
    top = top_level(source)
    if top is None:
        if revision is not None:
            raise UsageError(
                f"{source} lies in no checkout", rule="git-revision", fix="name a folder of a git checkout, or leave --at away"
            )
        found, inside, places = in_folder(source), "", list(objects)
    else:
        inside = source.relative_to(top.resolve()).as_posix()
        inside = "" if inside == "." else inside
        found, places = in_git(top, inside, revision), [*objects, objects_of(top)]
    for path, pointer in found:
        below = path[len(inside) + 1 :] if inside else path
        target = under(prefix, under("" if above == "." else above, below))
        wanted = [*(object_path(place, pointer.digits) for place in places), source / below]
        yield target, Item(target, f"sha256:{pointer.digits}", pointer.size, tuple(wanted)), pointer


def _give_files(repo: DvsRepo, root: Path, items: Sequence[Item], oids: Mapping[str, tuple[str, int]]) -> None:
    """Working files that are the pointer still become what it stands for; whatever else lies there stays."""
    from resources.storage.incoming import place
    from resources.storage.local import LocalStorage

    storage = repo.storage
    assert isinstance(storage, LocalStorage)  # the working tree is local
    waiting: list[Change] = []
    gathered = 0
    for item in items:
        full = root / item.path
        held = pointer_at(full)
        if held is None or f"sha256:{held[0].digits}" != item.digest:
            continue
        oid, size = oids[item.digest]
        expect = bytes_oid(held[1])
        # What may be run stays so; many files at once do not keep that.
        if size < SMALL and not full.stat().st_mode & 0o111:
            waiting.append(Change(repo.path(item.path), repo.objects.get(oid, limit=SMALL), expect))
            gathered += size
            if gathered >= _BATCH_BYTES:
                storage.write_many(waiting)
                waiting, gathered = [], 0
        else:
            place(storage, repo.path(item.path), repo.objects.blocks(oid), expect=expect)
    if waiting:
        storage.write_many(waiting)


def _extended(path: str) -> HeadwaterError:
    return HeadwaterError(
        "the pointer uses extensions of git-lfs, which change the bytes",
        rule="dvs-import-format",
        path=path,
        fix="check the file out with git-lfs, then add it with `headwater dvs add`",
    )
