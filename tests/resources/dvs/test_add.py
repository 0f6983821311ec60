"""Adding files: what is tracked afterwards is in the storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources import packed
from resources.dvs.add import add
from resources.dvs.init import init
from resources.dvs.repo import DvsRepo
from resources.storage.local import LocalStorage
from schemas.dvs.config import RepoConfig
from tests.resources.remotes.test_store_remote import full_once


def test_a_disk_that_is_full_for_one_pack_tracks_nothing_that_lay_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path / "repo", state=tmp_path / "state")
    init(storage, "", RepoConfig("../store"), tmp_path / "local", in_git=False)
    repo = DvsRepo(storage, "", tmp_path / "local", actor="ann")
    names = [f"file-{number:02}" for number in range(30)]
    for name in names:
        (tmp_path / "repo" / name).write_bytes(name.encode() * 20)
    monkeypatch.setattr(packed, "PACK_BYTES", 2_000)
    full_once(monkeypatch, repo.objects.storage, 0)
    with pytest.raises(OSError, match="No space"):
        add(repo, names)
    assert not list((tmp_path / "repo").glob("*.dvs"))
    assert repo.manifest().entries == {}
    # Once there is room, the same command does it all.
    report = add(repo, names)
    assert not report.failed
    held = repo.objects.present({entry.oid for entry in repo.manifest().entries.values()})
    assert len(held) == len(names)
    repo.close()
