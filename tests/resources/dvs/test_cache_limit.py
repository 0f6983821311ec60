"""The size of a clone's cache is kept after a pull, and nothing goes that might be the only copy."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest

from resources.dvs.add import add
from resources.dvs.cache_limit import enforce
from resources.dvs.init import init
from resources.dvs.repo import DvsRepo
from resources.dvs.restore import get
from resources.dvs.scrub import scrub
from resources.dvs.sync import pull, push
from resources.storage.local import LocalStorage
from schemas.dvs.config import RepoConfig
from schemas.dvs.local_config import FILE, set_local
from schemas.oid import bytes_oid

SIZE = 100_000
FILES = {f"f{number}.bin": os.urandom(SIZE) for number in range(5)}
OIDS = {name: bytes_oid(data) for name, data in FILES.items()}


def opened(folder: Path) -> DvsRepo:
    return DvsRepo(LocalStorage(folder / "repo", state=folder / "state"), "", folder / "local", actor="ann")


@pytest.fixture
def repo(tmp_path: Path) -> DvsRepo:
    """A clone whose storage is empty, with a remote that holds five objects of the same size and four small ones."""
    root = tmp_path / "repo"
    root.mkdir()
    init(LocalStorage(root, state=tmp_path / "state"), "", RepoConfig("../storage"), tmp_path / "local", in_git=False)
    made = opened(tmp_path)
    for name, data in FILES.items():
        (root / name).write_bytes(data)
    for number in range(4):
        (root / f"small{number}").write_bytes(b"%d" % number * 1000)
    add(made, [""])
    assert not push(made, remote=str(tmp_path / "remote")).failed
    made.close()
    (tmp_path / "storage").rename(tmp_path / "storage-of-another")
    (tmp_path / "storage").mkdir()
    (tmp_path / "local/ledger.db").unlink()
    made = opened(tmp_path)
    made.storage.write(FILE, set_local(None, "base_url", str(tmp_path / "remote")))
    return made


def limit(repo: DvsRepo, size: int) -> None:
    repo.storage.write(FILE, set_local(repo.read(FILE), "cache.max_size", str(size)))


def cached(repo: DvsRepo) -> set[str]:
    held = repo.cache.present(OIDS.values())
    return {name for name, oid in OIDS.items() if oid in held}


def at(repo: DvsRepo, name: str, moment: int) -> None:
    """The object of a file was used then."""
    located = repo.cache.locate(OIDS[name])
    assert located is not None
    assert repo.folder is not None
    path = repo.folder / ".dvs/cache" / located.path
    os.utime(path, (moment, path.stat().st_mtime))


def test_what_was_used_least_recently_goes_after_a_pull(repo: DvsRepo) -> None:
    names = sorted(FILES)
    assert not pull(repo, names[:4]).failed
    for moment, name in enumerate(["f2.bin", "f0.bin", "f3.bin", "f1.bin"]):
        at(repo, name, 1_000 + moment)
    limit(repo, 3 * SIZE + 50_000)
    report = pull(repo, ["f4.bin"])
    assert not report.failed
    assert report.counts["evicted"] == 2
    assert cached(repo) == {"f3.bin", "f1.bin", "f4.bin"}
    # What went comes again when it is asked for.
    assert [row.outcome for row in pull(repo, ["f2.bin"]).rows] == ["copied"]
    assert "f2.bin" in cached(repo)
    repo.close()


def test_making_files_of_objects_counts_as_using_them(repo: DvsRepo) -> None:
    assert not pull(repo, ["f0.bin", "f1.bin", "f2.bin"]).failed
    for name in ("f0.bin", "f1.bin", "f2.bin"):
        at(repo, name, 1_000)
    assert repo.folder is not None
    (repo.folder / "f0.bin").unlink()
    assert not get(repo, ["f0.bin"]).failed
    limit(repo, 2 * SIZE)
    assert not pull(repo, ["f4.bin"]).failed
    assert cached(repo) == {"f0.bin", "f4.bin"}
    repo.close()


def test_what_was_just_asked_for_stays_and_makes_room_the_next_time(repo: DvsRepo) -> None:
    limit(repo, SIZE)
    assert not pull(repo).failed
    assert cached(repo) == set(FILES)
    assert not pull(repo).failed
    assert len(cached(repo)) <= 1
    repo.close()


def test_what_nobody_else_is_proved_to_hold_is_never_evicted(repo: DvsRepo, tmp_path: Path) -> None:
    assert not pull(repo).failed
    only = repo.cache.put(os.urandom(SIZE))
    (tmp_path / "local/ledger.db").unlink()
    assert enforce(repo, 0).objects == 0
    assert cached(repo) == set(FILES)
    # The storage holds one of them by now.
    repo.objects.put(FILES["f3.bin"])
    assert enforce(repo, 0).objects == 1
    assert cached(repo) == set(FILES) - {"f3.bin"}
    # Proved again: all but the one that is nowhere else may go.
    assert not push(repo, recheck=True).failed
    enforce(repo, 0)
    assert cached(repo) == set()
    assert repo.cache.has(only)
    assert [row.outcome for row in pull(repo, ["f1.bin"]).rows] == ["copied"]
    repo.close()


def test_a_proof_that_is_not_true_any_more_keeps_the_object(repo: DvsRepo, tmp_path: Path) -> None:
    assert not pull(repo).failed
    digits = OIDS["f2.bin"].partition(":")[2]
    (tmp_path / "remote/blake3" / digits[:2] / digits[2:]).unlink()
    limit(repo, 0)
    assert not pull(repo).failed
    assert cached(repo) == {"f2.bin"}
    repo.close()


def test_a_remote_that_does_not_answer_or_is_not_set_any_more_proves_nothing(repo: DvsRepo, tmp_path: Path) -> None:
    assert not pull(repo).failed
    limit(repo, 0)
    (tmp_path / "remote").rename(tmp_path / "moved")
    repo.storage.write(FILE, set_local(repo.read(FILE), "base_url", str(tmp_path / "moved")))
    assert not pull(repo).failed
    assert cached(repo) == set(FILES)
    repo.close()


def test_small_objects_go_with_their_pack_and_others_of_it_stay(repo: DvsRepo, tmp_path: Path) -> None:
    assert not pull(repo).failed
    small = {bytes_oid(b"%d" % number * 1000) for number in range(4)}
    with repo.cache.batch() as batch:
        mine = batch.put(b"in no other place")
    packs = list((tmp_path / "repo/.dvs/cache/objects/packs").iterdir())
    assert len(packs) == 2
    # Gather them: the pack that holds a member which must stay is written anew.
    repo.cache.rewrite(lambda _oid: True, repo.cache.packs.packs())
    enforce(repo, 0)
    assert repo.cache.present(small) == set()
    assert repo.cache.get(mine) == b"in no other place"
    repo.close()


def test_a_kill_between_two_steps_leaves_every_object_somewhere(repo: DvsRepo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step deletes a file whose objects are all elsewhere, or a pack after its successor is durable: so stop after each."""
    assert not pull(repo).failed
    only = repo.cache.put(b"in no other place")
    real = LocalStorage.delete
    for steps in range(8):
        left = [steps]

        def delete(storage: LocalStorage, path: str, *, expect: object = None, left: list[int] = left) -> None:
            if ".dvs/cache" in str(storage.root) and "objects" in path:
                if not left[0]:
                    raise KeyboardInterrupt
                left[0] -= 1
            real(storage, path)

        monkeypatch.setattr(LocalStorage, "delete", delete)
        with suppress(KeyboardInterrupt):
            enforce(repo, 0)
        monkeypatch.undo()
        repo.close()
        assert repo.cache.get(only) == b"in no other place"
        remote = LocalStorage(repo.folder.parent / "remote", state=repo.local / "look")  # type: ignore[union-attr]
        from resources.packed import PackedObjects

        there = PackedObjects(remote, repo.local / "scratch")
        for oid in OIDS.values():
            there.verify(oid)
            if repo.cache.has(oid):
                repo.cache.verify(oid)
        there.close()
        assert not pull(repo).failed
    repo.close()


def test_what_is_also_a_working_file_takes_no_room(repo: DvsRepo) -> None:
    repo.storage.write(FILE, set_local(repo.read(FILE), "cache.link", "hardlink"))
    assert not pull(repo).failed
    assert repo.folder is not None
    for name in FILES:
        (repo.folder / name).unlink()
    assert not get(repo, []).failed
    assert (repo.folder / "f0.bin").stat().st_nlink == 2
    assert enforce(repo, 10 * SIZE).left < SIZE
    enforce(repo, 0)
    assert cached(repo) == set(FILES)
    repo.close()


def test_a_copy_in_the_storage_that_was_found_damaged_is_no_other_copy(repo: DvsRepo, tmp_path: Path) -> None:
    assert not pull(repo).failed
    (tmp_path / "local/ledger.db").unlink()
    repo.objects.put(FILES["f3.bin"])
    path = tmp_path / "storage" / repo.objects.files.path(OIDS["f3.bin"])
    path.chmod(0o600)
    path.write_bytes(b"x" * SIZE)
    list(scrub(repo))
    assert enforce(repo, 0).objects == 0
    assert cached(repo) == set(FILES)
    repo.close()
