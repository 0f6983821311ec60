"""Objects in packs and as files: kept, found in every layout, verified, rewritten."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources import encoding, packed
from resources.objects import RottenObject
from resources.packed import SMALL, PackedObjects
from resources.packs import Member, Pack
from resources.storage import open_storage
from resources.storage.base import Storage
from resources.storage.local import LocalStorage
from schemas.dvs.oids import oid_of
from schemas.errors import HeadwaterError
from schemas.oid import bytes_oid

TEXT = b"a line that is said again and again\n"
LARGE = TEXT * 4000
RANDOM = os.urandom(SMALL + 1)


@pytest.fixture(params=["local", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "local":
        (tmp_path / "store").mkdir()
        yield LocalStorage(tmp_path / "store", state=tmp_path / "state")
    else:
        yield open_storage(f"memory://{tmp_path.name}-{os.getpid()}")


_OPENED: list[PackedObjects] = []


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    while _OPENED:
        _OPENED.pop().close()


def _store(storage: Storage, tmp_path: Path, *, packed: bool = True, compress: bool = False) -> PackedObjects:
    made = PackedObjects(storage, tmp_path / "scratch", packed=packed, compress=compress)
    _OPENED.append(made)
    return made


def _files(storage: Storage) -> list[str]:
    return [stat.path for stat in storage.scan()]


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("as_packs", [False, True])
def test_what_is_put_comes_back(storage: Storage, tmp_path: Path, as_packs: bool, compress: bool) -> None:
    store = _store(storage, tmp_path, packed=as_packs, compress=compress)
    objects = [b"", b"x", TEXT * 10, LARGE, RANDOM]
    source = tmp_path / "source"
    oids = []
    with store.batch() as batch:
        for data in objects:
            oids.append(batch.put(data))
            source.write_bytes(data + b"as a file")
            oids.append(batch.put(source, algorithm="sha256"))
    assert oids[::2] == [bytes_oid(data) for data in objects]
    expected = [part for data in objects for part in (data, data + b"as a file")]
    for fresh in (store, _store(storage, tmp_path)):
        assert [fresh.get(oid) for oid in oids] == expected
        assert fresh.present([*oids, bytes_oid(b"absent")]) == set(oids)
        assert {oid for oid, _ in fresh.list()} == set(oids)
        for number, oid in enumerate(oids):
            fresh.verify(oid)
            target = tmp_path / f"out-{number}"
            assert fresh.fetch(oid, target) == len(expected[number])
            assert target.read_bytes() == expected[number]
            target.unlink()
    paths = _files(storage)
    assert sum(path.startswith("packs/") for path in paths) == (1 if as_packs else 0)
    # Large objects are files in either layout; small ones only where there are no packs.
    assert len(paths) == (5 if as_packs else 10)
    assert any(path.endswith(".zst") for path in paths) is compress
    assert list((tmp_path / "scratch").glob("*")) == []


def test_putting_again_writes_nothing(storage: Storage, tmp_path: Path) -> None:
    store = _store(storage, tmp_path)
    for _ in range(2):
        store.put(b"small")
        store.put(LARGE)
    before = _files(storage)
    _store(storage, tmp_path).put(b"small")
    assert _files(storage) == before
    assert len(before) == 2


def test_an_error_inside_a_batch_stores_no_pack(storage: Storage, tmp_path: Path) -> None:
    store = _store(storage, tmp_path)

    def fail() -> None:
        with store.batch() as batch:
            batch.put(b"small")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert _files(storage) == []
    assert list((tmp_path / "scratch").glob("*")) == []
    assert not store.has(bytes_oid(b"small"))


def test_other_bytes_than_promised_are_refused(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for data in (b"small", LARGE, RANDOM):
        source.write_bytes(data)
        for compress in (False, True):
            for given in (data, source):
                with pytest.raises(HeadwaterError) as caught:
                    _store(storage, tmp_path, compress=compress).put(given, oid=bytes_oid(b"other"))
                assert caught.value.rule == "oid-mismatch"
    assert _files(storage) == []


def test_packs_of_other_processes_are_found(storage: Storage, tmp_path: Path) -> None:
    mine = _store(storage, tmp_path)
    assert not mine.has(bytes_oid(b"theirs"))
    _store(storage, tmp_path).put(b"theirs")
    assert mine.get(bytes_oid(b"theirs")) == b"theirs"


def test_a_missing_object_is_no_file(storage: Storage, tmp_path: Path) -> None:
    store = _store(storage, tmp_path)
    with pytest.raises(FileNotFoundError):
        store.get(bytes_oid(b"absent"))
    with pytest.raises(FileNotFoundError):
        store.fetch(bytes_oid(b"absent"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(HeadwaterError):
        store.has("blake3:../../etc/passwd")


@pytest.mark.parametrize("data", [TEXT * 10, LARGE, RANDOM], ids=["small", "large", "random"])
@pytest.mark.parametrize("compress", [False, True])
def test_damaged_bytes_are_never_served(tmp_path: Path, data: bytes, compress: bool) -> None:
    root = tmp_path / "store"
    root.mkdir()
    storage = LocalStorage(root, state=tmp_path / "state")
    oid = _store(storage, tmp_path, compress=compress).put(data)
    (path,) = (root / name for name in _files(storage))
    path.chmod(0o644)
    good = path.read_bytes()
    for position in (8, 9, len(good) // 2, len(good) - 20):
        bad = bytearray(good)
        bad[position] ^= 0x40
        path.write_bytes(bad)
        store = _store(storage, tmp_path)
        if store.locate(oid) is None:  # the pack itself is damaged, and says so
            assert store.packs.damaged
            continue
        with pytest.raises(RottenObject) as caught:
            store.get(oid)
        assert caught.value.path
        target = tmp_path / "out"
        with pytest.raises(RottenObject):
            store.fetch(oid, target)
        assert not target.exists()


def test_one_damaged_pack_hides_no_other(tmp_path: Path) -> None:
    root = tmp_path / "store"
    root.mkdir()
    storage = LocalStorage(root, state=tmp_path / "state")
    first = _store(storage, tmp_path).put(b"first")
    (damaged,) = root.glob("packs/*")
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-1])
    second = _store(storage, tmp_path).put(b"second")
    store = _store(storage, tmp_path)
    assert store.get(second) == b"second"
    assert not store.has(first)
    assert list(store.packs.damaged) == [f"packs/{damaged.name}"]
    store.put(b"first")
    assert store.get(first) == b"first"


@pytest.mark.parametrize("stored_as", ["raw", "zstd"])
@pytest.mark.parametrize("data", [TEXT * 10, encoding.MAGIC + b" is how a file may well begin" * 9])
def test_the_layout_of_the_third_generation_is_read(storage: Storage, tmp_path: Path, data: bytes, stored_as: str) -> None:
    oid = bytes_oid(data)
    digits = oid.partition(":")[2]
    stored = data if stored_as == "raw" else encoding.compressed(data)
    assert stored is not None
    storage.write(f"{digits[:2]}/{digits[2:]}", stored)
    storage.write("audit.log.jsonl", b"{}\n")
    store = _store(storage, tmp_path)
    assert store.get(oid) == data
    assert store.present([oid]) == {oid}
    assert [listed for listed, _ in store.list()] == [oid]


def test_listing_and_asking_agree_for_many(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _store(storage, tmp_path, packed=False)
    oids = {store.put(bytes([number])) for number in range(20)}
    store.packed = True
    oids |= {store.put(b"packed %d" % number) for number in range(20)}
    asked = oids | {bytes_oid(b"absent")}
    assert store.present(asked) == oids
    monkeypatch.setattr(packed, "_LIST_FROM", 1)
    assert store.present(asked) == oids


def test_rewriting_drops_what_is_not_kept(storage: Storage, tmp_path: Path) -> None:
    store = _store(storage, tmp_path, compress=True)
    with store.batch() as batch:
        oids = [batch.put(TEXT * number) for number in range(10)]
    store.put(b"a pack of its own")
    kept = set(oids[::2])
    assert store.rewrite(kept.__contains__, store.packs.packs()) == 6
    assert {oid for oid, _ in store.list()} == kept
    assert len(_files(storage)) == 1
    for oid in kept:
        store.verify(oid)
    # Nothing to drop: the pack is the same, and stays.
    assert store.rewrite(kept.__contains__, store.packs.packs()) == 0
    assert len(_files(storage)) == 1
    assert store.rewrite(lambda oid: False, store.packs.packs()) == len(kept)
    assert _files(storage) == []


def test_a_full_pack_is_followed_by_another(storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "PACK_BYTES", 500)
    store = _store(storage, tmp_path)
    with store.batch() as batch:
        oids = [batch.put(b"%d" % number * 100) for number in range(20)]
    assert len(_files(storage)) >= 4
    assert store.present(oids) == set(oids)


def test_limits_hold(storage: Storage, tmp_path: Path) -> None:
    store = _store(storage, tmp_path, compress=True)
    oid = store.put(LARGE)
    assert store.get(oid, limit=len(LARGE)) == LARGE
    with pytest.raises(HeadwaterError) as caught:
        store.get(oid, limit=len(LARGE) - 1)
    assert caught.value.rule == "file-too-large"


def test_many_threads_may_read(storage: Storage, tmp_path: Path) -> None:
    store = _store(storage, tmp_path)
    with store.batch() as batch:
        oids = [batch.put(b"object %d" % number) for number in range(200)]
    wrong: list[object] = []

    def read() -> None:
        for number, oid in enumerate(oids):
            if store.get(oid) != b"object %d" % number:
                wrong.append(number)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_other_algorithms_name_other_objects(storage: Storage, tmp_path: Path) -> None:
    store = _store(storage, tmp_path)
    for algorithm in ("sha256", "xxh3"):
        oid = store.put(b"data", algorithm=algorithm)
        assert oid == oid_of(b"data", algorithm)
        assert store.get(oid) == b"data"


def test_what_somebody_else_took_away_is_put_again(storage: Storage, tmp_path: Path) -> None:
    one, other = _store(storage, tmp_path), _store(storage, tmp_path)
    oid = one.put(b"small")
    assert one.has(oid)
    other.rewrite(lambda _oid: False, other.packs.packs())
    assert one.put(b"small") == oid
    assert _store(storage, tmp_path).get(oid) == b"small"


def test_a_pack_that_is_let_go_while_it_is_read_is_looked_for_again(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = _store(storage, tmp_path), _store(storage, tmp_path)
    oids = [one.put(b"first " * 9), one.put(b"second " * 99)]
    real = Pack.stored
    moved: list[bool] = []

    def stored(pack: Pack, member: Member) -> bytes:
        if not moved:
            # Another process repacks, and another thread of this one looks at the packs: the file that was open is closed, and
            # its descriptor may belong to another one by now.
            moved.append(True)
            other.rewrite(lambda _oid: True, other.packs.packs(again=True))
            one.packs.packs(again=True)
        return real(pack, member)

    monkeypatch.setattr(Pack, "stored", stored)
    assert one.get(oids[1]) == b"second " * 99
    moved.clear()
    one.put(b"third")
    assert dict(one.get_small(oids)).items() <= {oids[0]: b"first " * 9, oids[1]: b"second " * 99}.items()


class _Full:
    """A storage that fails to take a pack once, as a full disk does that still has room for a smaller one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, storage: Storage) -> None:
        real = storage.add
        self.failed = False

        def add(path: str, source: bytes | Path, **more: object) -> bool:
            if path.endswith(".pack") and not self.failed:
                self.failed = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(path, source, **more)  # type: ignore[arg-type]  # as the storage takes them

        monkeypatch.setattr(storage, "add", add)


def test_nothing_of_a_batch_counts_when_one_of_its_packs_could_not_be_kept(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "PACK_BYTES", 2_000)
    store = _store(storage, tmp_path)
    full = _Full(monkeypatch, storage)
    refused = 0
    batch = store.batch()
    for number in range(30):
        try:
            batch.put(b"%d" % number * 100)
        except OSError:
            refused += 1  # a caller that goes on with the next file
    assert full.failed
    with pytest.raises(OSError, match="No space"):
        batch.__exit__(None, None, None)
    # From the first failure on nothing is taken: what lay in the lost pack is gone as well, and the caller cannot tell.
    assert 10 < refused < 30
    assert list(store.list()) == []
    assert not any(path.name.endswith(".pack") for path in (tmp_path / "scratch").iterdir())


def test_a_whole_file_stands_in_for_a_damaged_member_of_a_pack(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "store", state=tmp_path / "state")
    store = _store(storage, tmp_path)
    oid = store.put(TEXT)
    (pack,) = (tmp_path / "store/packs").iterdir()
    pack.chmod(0o600)
    pack.write_bytes(pack.read_bytes().replace(TEXT, TEXT[:-2] + b"?\n"))
    store.close()
    with pytest.raises(RottenObject):
        store.get(oid)
    with store.batch(packed=False) as batch:
        batch.put(TEXT)
    assert store.get(oid) == TEXT
    store.verify(oid)
    store.fetch(oid, tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == TEXT
