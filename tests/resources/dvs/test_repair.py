"""Damaged and missing objects are put in order from any whole copy, and never replaced by anything else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from resources.dvs.add import add
from resources.dvs.init import init
from resources.dvs.repair import repair
from resources.dvs.repo import DvsRepo
from resources.dvs.scrub import scrub
from resources.dvs.sync import pull, push
from resources.storage.local import LocalStorage
from schemas.dvs.config import RepoConfig
from schemas.oid import bytes_oid
from tests.dvs_server import running_server

FILES = {"big.bin": os.urandom(200_000), "one.csv": b"one\n", "two.csv": b"two\n"}
BIG, ONE, TWO = (bytes_oid(data) for data in FILES.values())


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[DvsRepo]:
    root = tmp_path / "repo"
    root.mkdir()
    storage = LocalStorage(root, state=tmp_path / "state")
    init(storage, "", RepoConfig("../store"), tmp_path / "local", in_git=False)
    made = DvsRepo(storage, "", tmp_path / "local", actor="ann")
    for path, data in FILES.items():
        (root / path).write_bytes(data)
    assert not add(made, [""]).failed
    yield made
    made.close()


def spoil(repo: DvsRepo) -> None:
    """Flip a byte of every object of the storage but that of two.csv, and of nothing else."""
    root = repo.objects.storage.local_root
    assert root is not None
    for path in [*(root / "packs").iterdir(), root / repo.objects.files.path(BIG)]:
        data = bytearray(path.read_bytes())
        at = bytes(data).find(b"one\n") if path.suffix == ".pack" else len(data) // 2
        data[at] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)
    repo.close()


def results(repo: DvsRepo) -> dict[str, str]:
    return {proof.oid: proof.result for proof in scrub(repo)}


def mended(repo: DvsRepo) -> dict[str, str | None]:
    return {one.oid: one.source for one in repair(repo, list(scrub(repo)))}


def test_working_files_that_are_still_whole_mend_the_storage(repo: DvsRepo) -> None:
    spoil(repo)
    assert results(repo) == {BIG: "damaged", ONE: "damaged", TWO: "ok"}
    assert mended(repo) == {BIG: "big.bin", ONE: "one.csv"}
    assert set(results(repo).values()) == {"ok"}
    assert repo.objects.get(TWO) == b"two\n"
    assert [record.operation for record in repo.audit_log.records()][-1] == "repair"
    assert mended(repo) == {}


def test_a_remote_mends_what_no_file_has(repo: DvsRepo, tmp_path: Path) -> None:
    assert not push(repo, remote=str(tmp_path / "remote")).failed
    repo.storage.write(".dvs/config.toml", f'[remotes]\norigin = "{tmp_path / "remote"}"\n'.encode())
    spoil(repo)
    assert repo.folder is not None
    for path in FILES:
        (repo.folder / path).write_bytes(b"edited since")
    assert mended(repo) == dict.fromkeys((BIG, ONE), str(tmp_path / "remote"))
    for path, data in FILES.items():
        assert repo.objects.get(bytes_oid(data)) == data, path
        assert (repo.folder / path).read_bytes() == b"edited since"


def test_the_cache_and_the_storage_mend_each_other(repo: DvsRepo, tmp_path: Path) -> None:
    assert not push(repo, remote=str(tmp_path / "remote")).failed
    root = repo.objects.storage.local_root
    assert root is not None
    (root / repo.objects.files.path(BIG)).unlink()
    repo.close()
    assert not pull(repo, remote=str(tmp_path / "remote")).failed
    assert repo.cache.has(BIG)
    (repo.folder / "big.bin").unlink()  # type: ignore[operator]
    assert results(repo)[BIG] == "ok"  # the cache has it
    repo.objects.put(FILES["big.bin"])
    held = tmp_path / "repo/.dvs/cache" / repo.cache.files.path(BIG)
    held.chmod(0o600)
    held.write_bytes(b"x" * len(FILES["big.bin"]))
    assert mended(repo) == {BIG: "the storage"}
    assert held.read_bytes() == FILES["big.bin"]


def test_what_nobody_has_stays_as_it_is(repo: DvsRepo) -> None:
    spoil(repo)
    assert repo.folder is not None
    for path in FILES:
        (repo.folder / path).unlink()
    root = repo.objects.storage.local_root
    assert root is not None
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and "leases" not in path.parts}
    assert mended(repo) == {BIG: None, ONE: None}
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and "leases" not in path.parts} == before


def test_what_is_damaged_beside_it_and_not_asked_for_stays_where_it_is(repo: DvsRepo) -> None:
    root = repo.objects.storage.local_root
    assert root is not None
    (pack,) = (root / "packs").iterdir()
    pack.chmod(0o600)
    pack.write_bytes(pack.read_bytes().replace(b"one\n", b"oNe\n").replace(b"two\n", b"tWo\n"))
    repo.close()
    found = [proof for proof in scrub(repo) if proof.oid == ONE]
    assert [one.source for one in repair(repo, found)] == ["one.csv"]
    assert results(repo) == {BIG: "ok", ONE: "ok", TWO: "damaged"}
    assert repo.objects.get(ONE) == b"one\n"
    assert b"tWo\n" in pack.read_bytes()
    assert mended(repo) == {TWO: "two.csv"}
    assert set(results(repo).values()) == {"ok"}


def test_an_object_server_mends_too(repo: DvsRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_server(tmp_path / "server") as server:
        repo.storage.write(".dvs/config.toml", f'base_url = "{server.url}"\n\n[auth]\ntoken = "{server.token}"\n'.encode())
        assert not push(repo).failed
        spoil(repo)
        assert repo.folder is not None
        for path in FILES:
            (repo.folder / path).write_bytes(b"edited since")
        assert mended(repo) == dict.fromkeys((BIG, ONE), server.url)
        assert set(results(repo).values()) == {"ok"}
