"""One flipped bit anywhere in objects, packs, manifests and snapshots: it is found, and what it changed is never handed out."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from resources.dvs.findings import text_findings
from resources.dvs.repo import DvsRepo
from resources.dvs.restore import materialize
from resources.packed import SMALL, PackedObjects
from resources.storage.local import LocalStorage
from schemas.dvs.manifest import Entry, read_manifest
from schemas.dvs.oids import oid_of
from schemas.dvs.sidecar import Sidecar, SidecarFormat, write_sidecar
from schemas.dvs.state import SNAPSHOTS, DamagedState, Snapshot, TrackedFile, write_snapshot
from schemas.errors import HeadwaterError

TIME = "2026-01-20T10:00:00Z"
TEXT = b"a line that is said again and again, number "


@contextmanager
def flipped(path: Path, chance: random.Random, start: int = 0, stop: int | None = None) -> Iterator[int]:
    """One bit of a stretch of the file is another one while the block runs; gives the place."""
    mode = path.stat().st_mode
    path.chmod(0o600)
    with path.open("r+b") as file:
        end = os.fstat(file.fileno()).st_size if stop is None else stop
        at = chance.randrange(start, end)
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ (1 << chance.randrange(8))]))
    try:
        yield at
    finally:
        with path.open("r+b") as file:
            file.seek(at)
            file.write(bytes([byte]))
        path.chmod(mode)


def contents(number: int, chance: random.Random) -> bytes:
    """Small and large ones, such that compress and such that do not."""
    if number % 20 == 0:
        return chance.randbytes(SMALL + chance.randrange(SMALL))
    if number % 20 == 1:
        return (TEXT + b"%d\n" % number) * 2000
    return chance.randbytes(chance.randrange(1, 3000)) if number % 2 else TEXT * chance.randrange(1, 60) + b"%d" % number


def is_served(store: PackedObjects, oid: str, data: bytes) -> bool:
    """Whether any way of reading gives the bytes; none may ever give others."""
    served = False
    try:
        found = store.get(oid)
    except (HeadwaterError, FileNotFoundError):
        pass
    else:
        assert found == data
        served = True
    for _oid, found in store.get_small([oid]):
        assert found == data
        served = True
    return served


def is_verified(store: PackedObjects, oid: str) -> bool:
    try:
        store.verify(oid)
    except (HeadwaterError, FileNotFoundError):
        return False
    return True


def objects_are_safe(tmp_path: Path, number: int, flips: int) -> None:
    chance = random.Random(number)
    storage = LocalStorage(tmp_path / "store", state=tmp_path / "state")

    def opened() -> PackedObjects:
        return PackedObjects(storage, tmp_path / "scratch", compress=True)

    data = {oid_of(made, "blake3"): made for made in (contents(at, chance) for at in range(number))}
    store = opened()
    with store.batch() as batch:
        for made in data.values():
            batch.put(made)
    ends: dict[str, int] = {}
    for oid, made in data.items():
        located = store.locate(oid)
        assert located is not None
        assert is_served(store, oid, made)
        path = tmp_path / "store" / located.path
        member = located.member
        start, stop = (0, None) if member is None else (member.offset, member.offset + member.stored)
        if stop is not None:
            ends[path.name] = max(ends.get(path.name, 0), stop)
        for _ in range(flips):
            with flipped(path, chance, start, stop) as at:
                assert not is_verified(store, oid), (oid, at)
                assert not is_served(store, oid, made), (oid, at)
    store.close()
    # What lies between and behind the members: the index and the ends of the packs.
    packs = sorted((tmp_path / "store/packs").iterdir())
    assert packs
    oids = [oid for oid, made in data.items() if len(made) < SMALL]
    for path in packs:
        for _ in range(flips * 20):
            with flipped(path, chance, ends[path.name]) as at:
                again = opened()
                assert not any(is_verified(again, oid) for oid in chance.sample(oids, 5)), at
                assert path.name in "".join(again.packs.damaged), at
                assert list(again.get_small(oids)) == []
                again.close()
    store = opened()
    assert all(is_verified(store, oid) for oid in data)
    store.close()


def test_a_flipped_bit_in_objects_is_found_and_never_served(tmp_path: Path) -> None:
    objects_are_safe(tmp_path, 60, 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_flipped_bit_in_a_thousand_objects_is_found_and_never_served(tmp_path: Path) -> None:
    objects_are_safe(tmp_path, 1000, 5)


def _file(number: int) -> TrackedFile:
    oid = oid_of(b"%d" % number, "blake3")
    return TrackedFile(f"data/file {number}.csv", Sidecar(oid, number, TIME, f"message {number}", "ann"), SidecarFormat.JSON)


def opened(tmp_path: Path) -> DvsRepo:
    root = tmp_path / "repo"
    root.mkdir(exist_ok=True)
    (root / "dvs.toml").write_text(f'storage_dir = "{tmp_path}/store"\n')
    return DvsRepo(LocalStorage(root, state=tmp_path / "state"), "", tmp_path / "local", actor="ann")


def snapshots_are_safe(tmp_path: Path, number: int, flips: int) -> None:
    repo = opened(tmp_path)
    chance = random.Random(number)
    folder = tmp_path / "repo" / SNAPSHOTS
    folder.mkdir(parents=True)
    for at in range(number):
        files = sorted((_file(one) for one in range(at, at + 1 + at % 7)), key=lambda file: file.path)
        snapshot = Snapshot(tuple(files), repo.manifest())
        state_id, data = write_snapshot(snapshot)
        path = folder / f"{state_id}.json"
        path.write_bytes(data)
        assert repo.snapshot(state_id) == snapshot
        for _ in range(flips):
            with flipped(path, chance) as place, pytest.raises(DamagedState):
                pytest.fail(f"{place}: {repo.snapshot(state_id)}")


def test_a_flipped_bit_in_snapshots_is_found(tmp_path: Path) -> None:
    snapshots_are_safe(tmp_path, 30, 3)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_flipped_bit_in_a_thousand_snapshots_is_found(tmp_path: Path) -> None:
    snapshots_are_safe(tmp_path, 1000, 5)


def manifests_are_safe(tmp_path: Path, files: int, flips: int) -> None:
    """A manifest is text that people and git edit, and has no checksum: the sidecars, which say the same, are its proof."""
    repo = opened(tmp_path)
    root = tmp_path / "repo"
    data = {f"data/file {number}.csv": b"bytes of %d" % number for number in range(files)}
    (root / "data").mkdir()
    with repo.objects.batch() as batch:
        for path, made in data.items():
            oid = batch.put(made)
            (root / f"{path}.dvs").write_bytes(write_sidecar(Sidecar(oid, len(made), TIME, "", "ann"), SidecarFormat.JSON))
    repo.update(
        lambda old: (old.put(Entry(path, oid_of(made, "blake3"), len(made)) for path, made in data.items()), []), label="test"
    )
    assert text_findings(repo.storage, "") == []
    chance = random.Random(files)
    lock = root / "dvs.lock"
    sound = read_manifest(lock.read_bytes(), "dvs.lock")
    for number in range(flips):
        with flipped(lock, chance) as at:
            try:
                read = read_manifest(lock.read_bytes(), "dvs.lock")
            except HeadwaterError:
                read = None
            if read != sound:
                assert text_findings(repo.storage, ""), (at, read)
            if read is not None and number % 50 == 0:
                # Whatever it says now, no file ever gets bytes under its name that are not those of an object that was named.
                materialize(repo, [])
                for path, made in data.items():
                    file = root / path
                    assert not file.exists() or file.read_bytes() in (made, *_named(read.entries.get(path), data.values()))
                    file.unlink(missing_ok=True)
    assert text_findings(repo.storage, "") == []
    repo.close()


def _named(entry: Entry | None, known: Iterable[bytes]) -> list[bytes]:
    return [made for made in known if entry is not None and oid_of(made, "blake3") == entry.oid]


def test_a_flipped_bit_in_a_manifest_is_found(tmp_path: Path) -> None:
    manifests_are_safe(tmp_path, 4, 100)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thousand_flipped_bits_in_a_manifest_are_found(tmp_path: Path) -> None:
    manifests_are_safe(tmp_path, 20, 1000)
