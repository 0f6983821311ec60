"""The objects of a local store in the order of their oids, from any place on: a page costs what it holds, no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from heapq import merge

from resources.packed import ZST, PackedObjects
from resources.packs import Pack
from resources.storage.local import LocalStorage
from schemas.errors import HeadwaterError
from schemas.oid import HEX_LENGTHS, parse_oid


def oids_behind(objects: PackedObjects, storage: LocalStorage, after: str | None) -> Iterator[str]:
    """Every oid behind `after` (None for all), sorted, each once, wherever it lies: in packs, as a file, in an older layout."""
    packs = [_members(pack, after) for pack in objects.packs.packs(again=True)]
    last = None
    for oid in merge(*packs, _files(storage, f"{objects.prefix}/" if objects.prefix else "", after)):
        if oid != last:
            last = oid
            yield oid


def _members(pack: Pack, after: str | None) -> Iterator[str]:
    for member in pack.behind(after):
        yield member.oid


def _files(storage: LocalStorage, prefix: str, after: str | None) -> Iterator[str]:
    old = set(_folders(storage, prefix.rstrip("/")))
    for algorithm in sorted(HEX_LENGTHS):
        if after is not None and algorithm < after.partition(":")[0]:
            continue
        folders = set(_folders(storage, f"{prefix}{algorithm}")) | (old if algorithm == "blake3" else set())
        for two in sorted(folders):
            if after is not None and f"{algorithm}:{two}\x7f" < after:
                continue
            names = {stat.path.rpartition("/")[2] for stat in storage.scan(f"{prefix}{algorithm}/{two}")}
            if algorithm == "blake3" and two in old:
                names |= {stat.path.rpartition("/")[2] for stat in storage.scan(f"{prefix}{two}")}
            oids = {f"{algorithm}:{two}{name.removesuffix(ZST)}" for name in names}
            yield from (oid for oid in sorted(oids) if (after is None or oid > after) and _is_oid(oid))


def _folders(storage: LocalStorage, path: str) -> Iterator[str]:
    """The two-digit folders in a folder."""
    parts = tuple(path.split("/")) if path else ()
    with suppress(FileNotFoundError, NotADirectoryError), storage.folder(parts) as folder:
        for entry in folder.entries():
            if len(entry.name) == 2 and entry.is_dir(follow_symlinks=False):
                yield entry.name


def _is_oid(text: str) -> bool:
    try:
        parse_oid(text)
    except HeadwaterError:
        return False
    return True
