"""The stat cache: it saves hashing, and is never believed where it could be wrong."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from resources import statcache
from resources.statcache import StatCache
from resources.storage import open_storage
from resources.storage.local import LocalStorage
from schemas.oid import bytes_oid

LONG_AGO = 1_600_000_000


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    (tmp_path / "root").mkdir()
    return LocalStorage(tmp_path / "root", state=tmp_path / "state")


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file counts as old enough to be believed."""
    monkeypatch.setattr(statcache, "RACY_NS", -(10**18))


def fill(storage: LocalStorage) -> dict[str, bytes]:
    files = {f"{folder}/{number}.txt": f"{folder}{number}".encode() for folder in ("a", "b/c", "d") for number in range(4)}
    files["top"] = b""
    for path, data in files.items():
        storage.write(path, data)
    return files


def digests(cache: StatCache, storage: LocalStorage, folder: str = "") -> dict[str, str]:
    return {path: oid for path, _size, oid in cache.tree(storage, folder).files()}


def test_the_digests_are_those_of_the_bytes(storage: LocalStorage, tmp_path: Path) -> None:
    files = fill(storage)
    with StatCache(tmp_path / "cache" / "stat.sqlite") as cache:
        tree = cache.tree(storage)
        assert tree.files() == sorted((path, len(data), bytes_oid(data)) for path, data in files.items())
        assert len(tree) == len(files)


@pytest.mark.usefixtures("settled")
def test_what_did_not_change_is_not_read_again(storage: LocalStorage, tmp_path: Path) -> None:
    files = fill(storage)
    path = tmp_path / "stat.sqlite"
    with StatCache(path) as cache:
        first = cache.tree(storage)
    with StatCache(path) as cache:
        second = cache.tree(storage)
        assert (first.hashed, second.hashed) == (len(files), 0)
        assert second.digest == first.digest
        storage.write("b/c/1.txt", b"edited")
        storage.write("b/c/new.txt", b"new")
        storage.delete("a/0.txt")
        third = cache.tree(storage)
        assert third.hashed == 2
        assert third.digest != first.digest
        assert digests(cache, storage)["b/c/1.txt"] == bytes_oid(b"edited")


def test_the_digest_depends_on_paths_and_contents_only(storage: LocalStorage, tmp_path: Path) -> None:
    fill(storage)
    other = LocalStorage(tmp_path / "other", state=tmp_path / "other-state")
    fill(other)
    (tmp_path / "other" / "empty" / "folder").mkdir(parents=True)
    with StatCache(tmp_path / "1.sqlite") as one, StatCache(tmp_path / "2.sqlite") as two:
        assert one.tree(storage).digest == two.tree(other).digest
        (tmp_path / "other" / "a" / "0.txt").rename(tmp_path / "other" / "a" / "00.txt")
        assert one.tree(storage).digest != two.tree(other).digest


def test_an_edit_within_one_tick_of_the_clock_is_seen(storage: LocalStorage, tmp_path: Path) -> None:
    """Same size, same mtime: what a coarse clock does to two edits in a row. The entry is young, so it is not believed."""
    path = tmp_path / "root" / "f"
    path.write_bytes(b"one")
    now = time.time_ns()
    os.utime(path, ns=(now, now))
    with StatCache(tmp_path / "stat.sqlite") as cache:
        assert digests(cache, storage) == {"f": bytes_oid(b"one")}
        assert cache.digest(storage, "f") == bytes_oid(b"one")
        ctime = path.stat().st_ctime_ns
        with path.open("r+b") as file:
            file.write(b"two")
        os.utime(path, ns=(now, now))
        connection = sqlite3.connect(tmp_path / "stat.sqlite")
        _forge_ctime(connection, ctime, path.stat().st_ctime_ns)
        connection.close()
        assert digests(cache, storage) == {"f": bytes_oid(b"two")}
        assert cache.digest(storage, "f") == bytes_oid(b"two")


def _forge_ctime(connection: sqlite3.Connection, old: int, new: int) -> None:
    """Make the cached signatures equal to the file's present ones, as if the clock had not moved."""
    swap = (old.to_bytes(8, "little"), new.to_bytes(8, "little"))
    for table, column in (("folders", "signatures"), ("files", "signature")):
        for path, packed in connection.execute(f"select path, {column} from {table}").fetchall():
            assert swap[0] in packed
            connection.execute(f"update {table} set {column} = ? where path = ?", (packed.replace(*swap), path))
    connection.commit()


def test_young_entries_are_believed_once_taken_later(
    storage: LocalStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(storage)
    with StatCache(tmp_path / "stat.sqlite") as cache:
        assert cache.tree(storage).hashed == 13
        assert cache.tree(storage).hashed == 13
        real = time.time_ns
        monkeypatch.setattr(statcache.time, "time_ns", lambda: real() + 3_000_000_000)
        assert cache.tree(storage).hashed == 13
        assert cache.tree(storage).hashed == 0


def test_a_file_from_the_future_is_always_read(storage: LocalStorage, tmp_path: Path) -> None:
    storage.write("f", b"x")
    later = time.time() + 10_000
    os.utime(tmp_path / "root" / "f", (later, later))
    with StatCache(tmp_path / "stat.sqlite") as cache:
        assert [cache.tree(storage).hashed for _round in range(3)] == [1, 1, 1]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", ["garbage", "cut", "zeroed", "other format", "folder", "no table"])
def test_a_damaged_cache_is_made_anew(storage: LocalStorage, tmp_path: Path, damage: str) -> None:
    files = fill(storage)
    path = tmp_path / "stat.sqlite"
    with StatCache(path) as cache:
        expected = digests(cache, storage)
    if damage == "garbage":
        path.write_bytes(b"not a database at all" * 500)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "zeroed":
        path.write_bytes(path.read_bytes()[:4096] + b"\0" * (path.stat().st_size - 4096))
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        connection = sqlite3.connect(path)
        connection.execute("pragma user_version = 99" if damage == "other format" else "drop table folders")
        connection.commit()
        connection.close()
    with StatCache(path) as cache:
        assert digests(cache, storage) == expected
        assert cache.digest(storage, "top") == expected["top"]
    if damage != "folder":
        with StatCache(path) as cache:
            cache.tree(storage)
            assert cache.tree(storage).hashed == 0
    assert len(expected) == len(files)


@pytest.mark.usefixtures("settled")
def test_a_row_with_flipped_bits_is_not_believed(storage: LocalStorage, tmp_path: Path) -> None:
    fill(storage)
    path = tmp_path / "stat.sqlite"
    with StatCache(path) as cache:
        expected = digests(cache, storage)
    connection = sqlite3.connect(path)
    for folder, packed in connection.execute("select path, digests from folders").fetchall():
        connection.execute("update folders set digests = ? where path = ?", (bytes([packed[0] ^ 1]) + packed[1:], folder))
    connection.commit()
    connection.close()
    with StatCache(path) as cache:
        assert digests(cache, storage) == expected


def test_without_write_access_everything_still_works(storage: LocalStorage, tmp_path: Path) -> None:
    files = fill(storage)
    (tmp_path / "file").write_bytes(b"")
    with StatCache(tmp_path / "file" / "below" / "stat.sqlite") as cache:
        assert digests(cache, storage) == {path: bytes_oid(data) for path, data in files.items()}
        cache.set_memo("k", b"v")


@pytest.mark.usefixtures("settled")
def test_single_files(storage: LocalStorage, tmp_path: Path) -> None:
    written = storage.write("out/x.db", b"one")
    with StatCache(tmp_path / "stat.sqlite") as cache:
        with pytest.raises(FileNotFoundError):
            cache.digest(storage, "none")
        cache.remember(written, bytes_oid(b"a lie, to see that it is not read"))
        assert cache.digest(storage, "out/x.db") == bytes_oid(b"a lie, to see that it is not read")
        storage.write("out/x.db", b"two")
        assert cache.digest(storage, "out/x.db") == bytes_oid(b"two")
        assert cache.digest(storage, "out/x.db") == bytes_oid(b"two")
        assert cache.tree(storage).hashed == 0


def test_memos_are_kept_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statcache, "_MEMOS", 3)
    with StatCache(tmp_path / "stat.sqlite") as cache:
        assert cache.memo("0") is None
        for number in range(5):
            cache.set_memo(str(number), b"x" * number)
            time.sleep(0.001)
        assert [cache.memo(str(number)) for number in range(5)] == [None, None, b"xx", b"xxx", b"xxxx"]


def test_folders_that_are_not_entered_are_not_read(storage: LocalStorage, tmp_path: Path) -> None:
    fill(storage)
    with StatCache(tmp_path / "stat.sqlite") as cache:
        tree = cache.tree(storage, enter=lambda folder: folder != "b")
        assert [path for path, _size, _oid in tree.files()] == [
            f"{folder}/{number}.txt" for folder in "ad" for number in range(4)
        ] + ["top"]
        assert [path for path, _size, _oid in cache.tree(storage, "b").files()] == [f"b/c/{number}.txt" for number in range(4)]
        assert cache.tree(storage, "none").files() == []


def test_rows_of_removed_folders_go(storage: LocalStorage, tmp_path: Path) -> None:
    fill(storage)
    with StatCache(tmp_path / "stat.sqlite") as cache:
        cache.tree(storage)
        for number in range(4):
            storage.delete(f"d/{number}.txt")
        (tmp_path / "root" / "d").rmdir()
        cache.tree(storage, enter=lambda folder: folder != "a")
    connection = sqlite3.connect(tmp_path / "stat.sqlite")
    assert [row[0] for row in connection.execute("select path from folders order by path")] == ["", "a", "b/c"]
    connection.close()


def test_names_that_are_no_utf8_are_entered(storage: LocalStorage, tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path / "root") + b"/caf\xe9\n.txt", "wb") as file:
        file.write(b"x")
    with StatCache(tmp_path / "stat.sqlite") as cache:
        for _round in range(2):
            assert [oid for _path, _size, oid in cache.tree(storage).files()] == [bytes_oid(b"x")]


@pytest.mark.s3
def test_remote_files_are_believed_by_version(s3_url: str, tmp_path: Path) -> None:
    storage = open_storage(s3_url, state=tmp_path / "state")
    for number in range(3):
        storage.write(f"a/{number}", str(number).encode())
    with StatCache(tmp_path / "stat.sqlite") as cache:
        first = cache.tree(storage)
        assert first.files() == [(f"a/{number}", 1, bytes_oid(str(number).encode())) for number in range(3)]
        assert (first.hashed, cache.tree(storage).hashed) == (3, 0)
        storage.write("a/1", b"9")
        second = cache.tree(storage)
        assert (second.hashed, second.files()[1][2]) == (1, bytes_oid(b"9"))
        assert cache.digest(storage, "a/1") == bytes_oid(b"9")


def test_two_processes_share_one_cache(storage: LocalStorage, tmp_path: Path) -> None:
    files = fill(storage)
    code = """
import sys
from pathlib import Path
from resources.statcache import StatCache
from resources.storage.local import LocalStorage
storage = LocalStorage(sys.argv[1], state=sys.argv[2])
for _round in range(20):
    with StatCache(Path(sys.argv[3])) as cache:
        print(len(cache.tree(storage)), cache.tree(storage).digest)
"""
    arguments = [sys.executable, "-c", code, str(tmp_path / "root"), str(tmp_path / "state"), str(tmp_path / "stat.sqlite")]
    processes = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _number in range(4)]
    outputs = [process.communicate()[0].splitlines() for process in processes]
    assert {line for lines in outputs for line in lines} == {
        f"{len(files)} {StatCache(tmp_path / 'x.sqlite').tree(storage).digest}"
    }
    assert [process.returncode for process in processes] == [0] * 4


def test_threads_share_one_cache(storage: LocalStorage, tmp_path: Path) -> None:
    files = fill(storage)
    with StatCache(tmp_path / "stat.sqlite") as cache, ThreadPoolExecutor(8) as pool:

        def work(number: int) -> dict[str, str]:
            cache.set_memo(str(number), b"x")
            for path in files:
                cache.digest(storage, path)
            return digests(cache, storage)

        expected = {path: bytes_oid(data) for path, data in files.items()}
        assert list(pool.map(work, range(40))) == [expected] * 40
        assert [cache.memo(str(number)) for number in range(40)] == [b"x"] * 40


class Edits(RuleBasedStateMachine):
    """Random edits, with times pushed into the past or left young: the cache always says what the bytes say."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.root = Path(self.folder.name, "root")
        self.root.mkdir()
        self.storage = LocalStorage(self.root, state=Path(self.folder.name, "state"))
        self.cache = StatCache(Path(self.folder.name, "stat.sqlite"))
        self.model: dict[str, bytes] = {}

    @rule(
        path=st.sampled_from(["a", "b/c", "b/d", "e/f/g"]), data=st.sampled_from([b"aa", b"bb", b"ccc", b""]), old=st.booleans()
    )
    def edit(self, path: str, data: bytes, old: bool) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)  # in place: same inode
        if old:
            os.utime(target, (LONG_AGO, LONG_AGO))
        self.model[path] = data

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.model)))
        (self.root / path).unlink()
        del self.model[path]

    @rule()
    def reopen(self) -> None:
        self.cache.close()

    @invariant()
    def says_what_the_bytes_say(self) -> None:
        expected = {path: bytes_oid(data) for path, data in self.model.items()}
        assert digests(self.cache, self.storage) == expected
        for path, oid in expected.items():
            assert self.cache.digest(self.storage, path) == oid

    def teardown(self) -> None:
        self.cache.close()
        self.folder.cleanup()


TestEdits = Edits.TestCase
TestEdits.settings = settings(max_examples=25, stateful_step_count=15, deadline=None)
