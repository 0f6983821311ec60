"""Files that come out of a store without a copy: as second names of objects, or sharing their blocks; and that this is safe."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from resources.dvs.add import add
from resources.dvs.init import init
from resources.dvs.repo import DvsRepo
from resources.dvs.restore import get, materialize
from resources.dvs.results import Outcome
from resources.dvs.scrub import scrub
from resources.dvs.status import FileStatus, status
from resources.storage import linking
from resources.storage.local import LocalStorage
from schemas.dvs.config import RepoConfig
from schemas.dvs.local_config import FILE, set_local
from schemas.dvs.oids import oid_of

LARGE = os.urandom(200_000)
SMALL = b"small\n"


def opened(tmp_path: Path) -> DvsRepo:
    return DvsRepo(LocalStorage(tmp_path / "repo", state=tmp_path / "state"), "", tmp_path / "local", actor="ann")


def prepared(tmp_path: Path, link: str | None, layout: str = "packed") -> DvsRepo:
    """Two files that were added and deleted, in a clone that wants links of a kind."""
    root = tmp_path / "repo"
    root.mkdir()
    init(
        LocalStorage(root, state=tmp_path / "state"),
        "",
        RepoConfig("../storage", layout=layout),
        tmp_path / "local",
        in_git=False,
    )
    repo = opened(tmp_path)
    if link is not None:
        repo.storage.write(FILE, set_local(None, "cache.link", link))
    (root / "large.bin").write_bytes(LARGE)
    (root / "small.csv").write_bytes(SMALL)
    add(repo, [""])
    for name in ("large.bin", "small.csv"):
        (root / name).unlink()
    return repo


def stored(tmp_path: Path, data: bytes) -> Path:
    digits = oid_of(data, "blake3").partition(":")[2]
    return tmp_path / "storage/blake3" / digits[:2] / digits[2:]


def outcomes(report) -> dict[str, Outcome]:  # type: ignore[no-untyped-def]  # any report
    return {row.path: row.outcome for row in report.rows}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("link", [None, "copy", "reflink", "hardlink"])
@pytest.mark.parametrize("layout", ["packed", "loose"])
def test_every_kind_brings_the_bytes_back(tmp_path: Path, link: str | None, layout: str) -> None:
    repo = prepared(tmp_path, link, layout)
    root = tmp_path / "repo"
    assert set(outcomes(get(repo, [])).values()) == {Outcome.COPIED}
    assert (root / "large.bin").read_bytes() == LARGE
    assert (root / "small.csv").read_bytes() == SMALL
    assert {row.status for row in status(repo)} == {FileStatus.CURRENT}
    assert set(outcomes(materialize(repo, [])).values()) == {Outcome.PRESENT}
    linked = (root / "large.bin").samefile(stored(tmp_path, LARGE))
    assert linked == (link == "hardlink")
    if layout == "loose":
        assert (root / "small.csv").samefile(stored(tmp_path, SMALL)) == (link == "hardlink")
    if linked:
        assert mode(root / "large.bin") == 0o444
    else:
        assert mode(root / "large.bin") & 0o200
    assert not [path for path in root.rglob("*") if "hwtmp" in path.name]
    repo.close()


def test_a_linked_file_that_is_replaced_leaves_the_object_alone(tmp_path: Path) -> None:
    repo = prepared(tmp_path, "hardlink")
    path = tmp_path / "repo/large.bin"
    get(repo, [])
    assert path.samefile(stored(tmp_path, LARGE))
    # As editors save: a new file in the place of the old one.
    new = tmp_path / "repo/new"
    new.write_bytes(LARGE[::-1])
    new.rename(path)
    assert outcomes(add(repo, ["large.bin"])) == {"large.bin": Outcome.COPIED}
    assert stored(tmp_path, LARGE).read_bytes() == LARGE
    assert not path.samefile(stored(tmp_path, LARGE[::-1]))
    assert stored(tmp_path, LARGE[::-1]).read_bytes() == LARGE[::-1]
    # Going back puts the link there again, and writes through nothing.
    old = repo.snapshot(repo.log()[0][0].new)
    (tmp_path / "repo/large.bin.dvs").unlink()
    from schemas.dvs.sidecar import SidecarFormat, write_sidecar

    (file,) = [file for file in old.files if file.path == "large.bin"]
    (tmp_path / "repo/large.bin.dvs").write_bytes(write_sidecar(file.sidecar, SidecarFormat.JSON))
    assert outcomes(get(repo, ["large.bin"])) == {"large.bin": Outcome.COPIED}
    assert path.read_bytes() == LARGE
    assert stored(tmp_path, LARGE[::-1]).read_bytes() == LARGE[::-1]
    repo.close()


def test_an_edit_through_a_link_is_kept_by_add_and_found_in_the_object(tmp_path: Path) -> None:
    """Somebody makes the file writable and writes into it: its new bytes are added as any others, under a name of their own, and
    the object whose bytes they were written over is never served."""
    repo = prepared(tmp_path, "hardlink")
    path = tmp_path / "repo/large.bin"
    get(repo, [])
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.write(b"edited")
    edited = b"edited" + LARGE[6:]
    refused = get(repo, ["large.bin"])
    assert [row.error.rule for row in refused.rows if row.error is not None] == ["dvs-unsaved"]
    assert path.read_bytes() == edited
    assert {proof.result for proof in scrub(repo)} == {"ok", "damaged"}
    assert outcomes(add(repo, ["large.bin"])) == {"large.bin": Outcome.COPIED}
    kept = stored(tmp_path, edited)
    assert kept.read_bytes() == edited
    assert not kept.samefile(path)
    assert mode(kept) == 0o444
    # What the edit destroyed is out of the way: it is missing, not wrong, and can be pulled again.
    assert not stored(tmp_path, LARGE).exists()
    assert {proof.result for proof in scrub(repo)} == {"ok"}
    with path.open("r+b") as file:
        file.write(b"EDITED")
    assert kept.read_bytes() == edited
    repo.close()


def test_get_over_an_edited_link_with_rescue_keeps_both(tmp_path: Path) -> None:
    repo = prepared(tmp_path, "hardlink")
    path = tmp_path / "repo/large.bin"
    get(repo, [])
    path.unlink()
    path.write_bytes(b"x" * 100_000)
    assert outcomes(get(repo, ["large.bin"], rescue=True)) == {"large.bin": Outcome.COPIED}
    assert path.samefile(stored(tmp_path, LARGE))
    assert path.read_bytes() == LARGE
    assert stored(tmp_path, b"x" * 100_000).read_bytes() == b"x" * 100_000
    repo.close()


def test_an_object_that_somebody_may_write_to_is_not_linked(tmp_path: Path) -> None:
    repo = prepared(tmp_path, "hardlink")
    stored(tmp_path, LARGE).chmod(0o664)
    get(repo, [])
    path = tmp_path / "repo/large.bin"
    assert path.read_bytes() == LARGE
    assert path.stat().st_nlink == 1
    repo.close()


def test_a_damaged_object_is_not_linked(tmp_path: Path) -> None:
    repo = prepared(tmp_path, "hardlink")
    held = stored(tmp_path, LARGE)
    held.chmod(0o644)
    with held.open("r+b") as file:
        file.write(b"rotten")
    held.chmod(0o444)
    report = get(repo, ["large.bin"])
    assert [row.error.rule for row in report.rows if row.error is not None] == ["object-rotten"]
    assert not (tmp_path / "repo/large.bin").exists()
    assert not [path for path in (tmp_path / "repo").rglob("*") if "hwtmp" in path.name]
    repo.close()


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP])
def test_where_links_cannot_be_made_files_are_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    repo = prepared(tmp_path, "hardlink")

    def refused(*_arguments: object, **_named: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refused)
    get(repo, ["large.bin"])
    path = tmp_path / "repo/large.bin"
    assert path.read_bytes() == LARGE
    assert path.stat().st_nlink == 1
    assert mode(path) & 0o200
    repo.close()


def test_shared_blocks_are_verified_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where blocks can be shared the file is never written by us; its bytes are looked at all the same."""
    asked = []

    def clone(source: int, target: int) -> bool:
        asked.append(source)
        os.lseek(source, 0, os.SEEK_SET)
        while block := os.read(source, 1 << 20):
            os.write(target, block)
        return True

    monkeypatch.setattr(linking, "try_clone", clone)
    repo = prepared(tmp_path, None)
    path = tmp_path / "repo/large.bin"
    get(repo, ["large.bin"])
    assert (path.read_bytes(), len(asked)) == (LARGE, 1)
    assert not path.samefile(stored(tmp_path, LARGE))
    path.chmod(0o755)
    path.write_bytes(LARGE[::-1])
    get(repo, ["large.bin"], rescue=True)
    assert (path.read_bytes(), mode(path)) == (LARGE, 0o755)
    held = stored(tmp_path, LARGE)
    held.chmod(0o644)
    held.write_bytes(b"y" * len(LARGE))
    path.unlink()
    assert [row.error.rule for row in get(repo, ["large.bin"]).rows if row.error is not None] == ["object-rotten"]
    assert not path.exists()
    repo.close()


def test_going_back_to_copies_makes_files_writable_again(tmp_path: Path) -> None:
    repo = prepared(tmp_path, "hardlink")
    path = tmp_path / "repo/large.bin"
    get(repo, [])
    repo.storage.write(FILE, set_local(None, "cache.link", "copy"))
    # Other bytes are recorded now, such as after a git checkout.
    other = repo.objects.put(b"z" * 90_000)
    from schemas.dvs.sidecar import Sidecar, SidecarFormat, write_sidecar

    (tmp_path / "repo/large.bin.dvs").write_bytes(
        write_sidecar(Sidecar(other, 90_000, "2026-01-20T10:00:00Z"), SidecarFormat.JSON)
    )
    assert outcomes(get(repo, ["large.bin"])) == {"large.bin": Outcome.COPIED}
    assert path.read_bytes() == b"z" * 90_000
    assert mode(path) & 0o200
    assert stored(tmp_path, LARGE).read_bytes() == LARGE
    assert mode(stored(tmp_path, LARGE)) == 0o444
    repo.close()
