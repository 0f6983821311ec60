"""What every storage promises, whatever is behind it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from resources.storage.base import ABSENT, Change, Storage
from schemas.errors import Conflict, HeadwaterError
from schemas.oid import bytes_oid


def paths(storage: Storage, folder: str = "") -> list[str]:
    return [found.path for found in storage.scan(folder)]


def content(storage: Storage) -> dict[str, bytes]:
    return {found.path: storage.read(found.path) for found in storage.scan()}


def test_what_is_written_is_read_back(storage: Storage) -> None:
    data = bytes(range(256)) * 40
    written = storage.write("a/b/c.bin", data)
    assert written.size == len(data)
    assert storage.read("a/b/c.bin") == data
    assert storage.stat("a/b/c.bin") == written
    assert storage.digest("a/b/c.bin") == bytes_oid(data)
    with storage.open("a/b/c.bin") as file:
        assert file.read(10) == data[:10]


def test_an_empty_file_is_a_file(storage: Storage) -> None:
    storage.write("empty", b"")
    assert storage.read("empty") == b""
    assert storage.stat("empty") is not None
    assert storage.digest("empty") == bytes_oid(b"")


def test_a_second_write_replaces_and_changes_the_signature(storage: Storage) -> None:
    first = storage.write("f.txt", b"one")
    second = storage.write("f.txt", b"two")
    assert storage.read("f.txt") == b"two"
    assert first.signature != second.signature


def test_a_file_says_when_it_was_written(storage: Storage) -> None:
    before = time.time()
    storage.write("f.txt", b"one")
    written = storage.modified("f.txt")
    assert written is not None
    # Stores count whole seconds, and file systems ticks.
    assert before - 2 <= written / 1e9 <= time.time() + 2


def test_missing_files(storage: Storage) -> None:
    assert storage.stat("none/at/all") is None
    assert storage.modified("none/at/all") is None
    assert paths(storage, "none") == []
    for act in (storage.read, storage.open, storage.digest):
        with pytest.raises(FileNotFoundError):
            act("none/at/all")
    storage.delete("none/at/all")


def test_a_folder_is_not_a_file(storage: Storage) -> None:
    storage.write("folder/file", b"x")
    assert storage.stat("folder") is None
    with pytest.raises((HeadwaterError, FileNotFoundError)):
        storage.read("folder")


def test_scan_is_sorted_by_path_and_complete(storage: Storage) -> None:
    names = ["b", "a/x", "a-b", "a.b", "a/x-y/z", "Ä/ö.csv", "a/x y", "zz/1/2/3"]
    for name in names:
        storage.write(name, name.encode())
    found = list(storage.scan())
    assert [stat.path for stat in found] == sorted(names)
    assert [stat.size for stat in found] == [len(name.encode()) for name in sorted(names)]
    assert paths(storage, "a") == ["a/x", "a/x y", "a/x-y/z"]


def test_names_that_urls_and_globs_would_read_differently(storage: Storage, tmp_path: Path) -> None:
    names = sorted(
        ["a?b", "a#b", "a%20b", "a+b", "a b", "ü/é", "a&b=c", "*.csv", "[x]", "{y}", "~z", "-rf", "ab:c", "x?y=3", "'q\""]
    )
    for name in names:
        storage.write(name, name.encode())
        scratch = tmp_path / "scratch"
        scratch.write_bytes(b"p" + name.encode())
        storage.publish(scratch, f"published/{name}")
        assert storage.add(f"objects/{name}", name.encode(), oid=bytes_oid(name.encode()))
    assert paths(storage) == sorted([*names, *(f"{folder}/{name}" for folder in ("published", "objects") for name in names)])
    for name in names:
        assert storage.read(name) == name.encode()
        with storage.open(f"published/{name}") as file:
            assert file.read() == b"p" + name.encode()
        storage.delete(name, expect=bytes_oid(name.encode()))
    assert paths(storage) == sorted(f"{folder}/{name}" for folder in ("published", "objects") for name in names)


def test_scan_enters_only_where_it_may(storage: Storage) -> None:
    for name in ("keep/1", "skip/2", "keep/skip/3", "keep/deep/4", ".git/config", ".headwater/state", "keep/.git/x"):
        storage.write(name, b"")
    asked: list[str] = []

    def enter(folder: str) -> bool:
        asked.append(folder)
        return not folder.endswith("skip")

    assert [found.path for found in storage.scan(enter=enter)] == ["keep/1", "keep/deep/4"]
    assert sorted(asked) == ["keep", "keep/deep", "keep/skip", "skip"]
    assert paths(storage, ".headwater") == [".headwater/state"]


def test_read_stops_at_its_limit(storage: Storage) -> None:
    storage.write("f", b"12345")
    assert storage.read("f", limit=5) == b"12345"
    with pytest.raises(HeadwaterError) as caught:
        storage.read("f", limit=4)
    assert caught.value.rule == "file-too-large"
    assert caught.value.path == "f"


def test_absent_writes_only_where_nothing_lies(storage: Storage) -> None:
    storage.write("f", b"one", expect=ABSENT)
    with pytest.raises(Conflict):
        storage.write("f", b"two", expect=ABSENT)
    assert storage.read("f") == b"one"
    with pytest.raises(Conflict):
        storage.delete("f", expect=ABSENT)


def test_an_oid_writes_only_over_those_bytes(storage: Storage) -> None:
    one, two = bytes_oid(b"one"), bytes_oid(b"two")
    with pytest.raises(Conflict):
        storage.write("f", b"two", expect=one)
    assert storage.stat("f") is None
    storage.write("f", b"one")
    storage.write("f", b"two", expect=one)
    with pytest.raises(Conflict):
        storage.write("f", b"three", expect=one)
    assert storage.read("f") == b"two"
    with pytest.raises(Conflict):
        storage.delete("f", expect=one)
    storage.delete("f", expect=two)
    assert storage.stat("f") is None
    with pytest.raises(Conflict):
        storage.delete("f", expect=two)


def test_a_commit_writes_and_deletes_together(storage: Storage) -> None:
    storage.write("old", b"old")
    storage.write("gone/away", b"gone")
    storage.commit(
        [
            Change("old", b"new", expect=bytes_oid(b"old")),
            Change("made/here", b"made", expect=ABSENT),
            Change("gone/away", None, expect=bytes_oid(b"gone")),
            Change("never/was", None),
        ],
        label="edit",
    )
    assert content(storage) == {"old": b"new", "made/here": b"made"}
    assert storage.recover() == []


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_commit_with_one_conflict_changes_nothing(storage: Storage, broken: int) -> None:
    before = {"a": b"1", "b": b"2", "c": b"3"}
    for path, data in before.items():
        storage.write(path, data)
    changes = [Change(path, b"new", expect=bytes_oid(data)) for path, data in before.items()]
    changes[broken] = Change("abc"[broken], b"new", expect=bytes_oid(b"something else"))
    with pytest.raises(Conflict):
        storage.commit(changes, label="edit")
    assert content(storage) == before
    assert storage.recover() == []


def test_a_large_commit(storage: Storage) -> None:
    storage.commit([Change(f"many/{index:03d}", str(index).encode()) for index in range(30)], label="import")
    assert content(storage) == {f"many/{index:03d}": str(index).encode() for index in range(30)}


def test_a_commit_names_each_path_once(storage: Storage) -> None:
    with pytest.raises(ValueError, match="twice"):
        storage.commit([Change("a", b"1"), Change("a", b"2")], label="edit")
    storage.commit([], label="nothing")
    assert paths(storage) == []


def test_many_files_are_written_each_by_itself(storage: Storage) -> None:
    storage.write("a/old.txt", b"old")
    storage.write("a/edited.txt", b"somebody's")
    storage.write("there.txt", b"there")
    changes = [
        Change("a/new.txt", b"new", ABSENT),
        Change("a/old.txt", b"newer", bytes_oid(b"old")),
        Change("a/edited.txt", b"ours", bytes_oid(b"what we read")),
        Change("there.txt", b"ours", ABSENT),
        Change("b/c/d.txt", b"deep"),
        Change("top.txt", b"top"),
        Change("gone.txt", b"ours", bytes_oid(b"what we read")),
    ]
    assert storage.write_many(changes) == ["a/edited.txt", "gone.txt", "there.txt"]
    assert content(storage) == {
        "a/new.txt": b"new",
        "a/old.txt": b"newer",
        "a/edited.txt": b"somebody's",
        "there.txt": b"there",
        "b/c/d.txt": b"deep",
        "top.txt": b"top",
    }
    assert storage.write_many([]) == []


def test_nothing_of_many_files_is_written_when_one_path_is_unsafe(storage: Storage) -> None:
    with pytest.raises(HeadwaterError):
        storage.write_many([Change("fine.txt", b"x"), Change("../outside.txt", b"x")])
    with pytest.raises(ValueError, match="deletes nothing"):
        storage.write_many([Change("fine.txt", b"x"), Change("gone.txt", None)])
    assert content(storage) == {}


def test_publish_moves_a_file(storage: Storage, tmp_path: Path) -> None:
    scratch = tmp_path / "made.db"
    scratch.write_bytes(b"database")
    storage.write("out/made.db", b"older")
    published = storage.publish(scratch, "out/made.db")
    assert storage.read("out/made.db") == b"database"
    assert published == storage.stat("out/made.db")
    assert not scratch.exists()


def test_publish_replaces_a_folder_as_a_set(storage: Storage, tmp_path: Path) -> None:
    storage.write("set/old.txt", b"old")
    storage.write("set/kept/a", b"older")
    storage.write("set/deep/er/b", b"old")
    storage.write("setting", b"untouched")
    scratch = tmp_path / "made"
    (scratch / "kept").mkdir(parents=True)
    (scratch / "kept" / "a").write_bytes(b"new")
    (scratch / "first").write_bytes(b"1")
    published = storage.publish(scratch, "set")
    assert content(storage) == {"set/first": b"1", "set/kept/a": b"new", "setting": b"untouched"}
    assert published.size == 4


def test_add_puts_immutable_bytes_once(storage: Storage, tmp_path: Path) -> None:
    oid = bytes_oid(b"object")
    assert storage.add("o/1", b"object", oid=oid) is True
    assert storage.add("o/1", b"object", oid=oid) is False
    source = tmp_path / "source"
    source.write_bytes(b"object")
    assert storage.add("o/2", source, oid=oid) is True
    assert source.read_bytes() == b"object"
    assert content(storage) == {"o/1": b"object", "o/2": b"object"}


def test_add_refuses_other_bytes(storage: Storage, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"something")
    for given in (b"something", source):
        with pytest.raises(HeadwaterError) as caught:
            storage.add("o/1", given, oid=bytes_oid(b"else"))
        assert caught.value.rule == "oid-mismatch"
    assert paths(storage) == []


def test_add_replaces_a_torn_object(storage: Storage) -> None:
    storage.write("o/1", b"obj")
    assert storage.add("o/1", b"object", oid=bytes_oid(b"object")) is True
    assert storage.read("o/1") == b"object"


def test_move_gives_another_name_and_replaces_what_lies_there(storage: Storage) -> None:
    storage.add("a/b/one", b"one", oid=bytes_oid(b"one"))
    storage.write("c/two", b"two")
    assert storage.move("a/b/one", "trash/new/one") is True
    assert storage.move("a/b/one", "c/two") is False
    assert storage.move("none/at/all", "c/two") is False
    assert content(storage) == {"trash/new/one": b"one", "c/two": b"two"}
    assert storage.move("trash/new/one", "c/two") is True
    assert content(storage) == {"c/two": b"one"}


def test_fetch_copies_to_a_local_path(storage: Storage, tmp_path: Path) -> None:
    data = b"0123456789" * 300_000
    storage.write("big", data)
    target = tmp_path / "below" / "copy"
    storage.fetch("big", target)
    assert target.read_bytes() == data
    storage.write("big", b"small")
    storage.fetch("big", target)
    assert target.read_bytes() == b"small"


UNSAFE = ["", "/etc/passwd", "../up", "a/../b", "a/./b", "a//b", "a/", "C:/x", "c:x", "a\\b", "a\0b", "..", ".", "a\nb"]


@pytest.mark.parametrize("path", UNSAFE)
def test_unsafe_paths_are_refused_by_every_call(storage: Storage, path: str, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.write_bytes(b"x")
    calls = [
        lambda: storage.stat(path),
        lambda: storage.read(path),
        lambda: storage.open(path),
        lambda: storage.digest(path),
        lambda: storage.fetch(path, tmp_path / "out"),
        lambda: storage.write(path, b"x"),
        lambda: storage.write(path, b"x", expect=ABSENT),
        lambda: storage.delete(path),
        lambda: storage.add(path, b"x", oid=bytes_oid(b"x")),
        lambda: storage.publish(scratch, path),
        lambda: storage.commit([Change("fine", b"x"), Change(path, b"x")], label="edit"),
    ]
    if path:
        calls.append(lambda: list(storage.scan(path)))
    for call in calls:
        with pytest.raises(HeadwaterError) as caught:
            call()
        assert str(caught.value.rule).startswith("path-")
    assert paths(storage) == []


def test_locks_exclude_and_are_freed(storage: Storage) -> None:
    with storage.lock("a"), storage.lock("b"), pytest.raises((HeadwaterError, RuntimeError)), storage.lock("a", timeout=0.05):
        pytest.fail("two holders of one lock")
    with storage.lock("a", timeout=0.05):
        assert storage.url
