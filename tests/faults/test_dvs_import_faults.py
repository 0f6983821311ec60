"""Merging and imports, killed before every system call that changes something: nothing is lost, all can be given again.

After each kill the next command completes what was begun. Then the source is what it was, every byte that was there lies in the
working tree or in a store, every sidecar and manifest entry names an object that is whole, and the same command brings about what
it would have.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from resources import encoding
from resources.dvs.add import add
from resources.dvs.import_dvc import import_dvc
from resources.dvs.import_dvs import convert
from resources.dvs.import_lfs import import_lfs
from resources.dvs.import_url import import_url
from resources.dvs.incoming import OnConflict
from resources.dvs.init import init
from resources.dvs.merge_repo import merge_repo
from resources.dvs.operation import complete
from resources.dvs.repo import DvsRepo
from resources.dvs.snapshots import tracked_now
from resources.storage.local import LocalStorage
from schemas.dvs.config import RepoConfig
from schemas.errors import UsageError
from schemas.oid import bytes_oid
from tests.faults.harness import kill, needs_strace, points
from tests.faults.test_dvs_faults import holds, opened, result, stores, working

pytestmark = [pytest.mark.slow, needs_strace]

LARGE = bytes(range(256)) * 300
SMALL = b"theirs\n"
OURS = {"a.csv": b"ours\n", "kept.csv": b"kept\n"}
OPEN = """
from pathlib import Path
from resources.dvs.repo import DvsRepo
from resources.storage.local import LocalStorage
from resources.dvs.incoming import OnConflict
import resources.dvs.merge_repo, resources.dvs.import_dvs, resources.dvs.import_dvc, resources.dvs.import_lfs
import resources.dvs.import_url, resources.dvs.restore, resources.dvs.audit, resources.dvs.leases, resources.storage.incoming
import resources.storage.many, resources.encoding, schemas.toml_text, schemas.json_text, schemas.yaml_text, schemas.toml_write
import ruamel.yaml, sqlite3, configparser
from backports import zstd
here = Path.cwd()
schemas.yaml_text.read(b"a: 1", "warm")
repo = DvsRepo(LocalStorage(here / "repo", state=here / "state"), "", here / "local", actor="ann")
theirs = lambda: DvsRepo(LocalStorage(here / "source", state=here / "source-state"), "", here / "source-local", actor="bo")
repo.objects.present(["blake3:" + "0" * 64]), repo.cache.present(["blake3:" + "0" * 64]), repo.clone_id()
os.access(BEGIN, 0)
"""


@dataclass(frozen=True)
class Scenario:
    """One command, as a program and as a call."""

    name: str
    program: str
    call: Callable[[DvsRepo, Path], object]
    tracked: frozenset[str]


def theirs(folder: Path) -> DvsRepo:
    return DvsRepo(LocalStorage(folder / "source", state=folder / "source-state"), "", folder / "source-local", actor="bo")


TAKE = OnConflict.OVERWRITE


def lfs(repo: DvsRepo, folder: Path) -> None:
    # Outside of git there is nothing to see once every pointer has become its file.
    with suppress(UsageError):
        import_lfs(repo, folder / "repo", objects=[folder / "source"])


def merge(repo: DvsRepo, folder: Path) -> None:
    source = theirs(folder)
    merge_repo(repo, source, conflict=TAKE)
    source.close()


SCENARIOS = (
    Scenario(
        "merge",
        "resources.dvs.merge_repo.merge_repo(repo, theirs(), conflict=OnConflict.OVERWRITE)",
        merge,
        frozenset({*OURS, "deep/big.bin"}),
    ),
    Scenario(
        "merge-many",
        "resources.dvs.incoming._AS_ONE = 0\nresources.dvs.merge_repo.merge_repo(repo, theirs(), conflict=OnConflict.OVERWRITE)",
        merge,
        frozenset({*OURS, "deep/big.bin"}),
    ),
    Scenario(
        "dvc",
        "resources.dvs.import_dvc.import_dvc(repo, here / 'repo', conflict=OnConflict.OVERWRITE)",
        lambda repo, folder: import_dvc(repo, folder / "repo", conflict=TAKE),
        frozenset({*OURS, "deep/big.bin"}),
    ),
    Scenario(
        "lfs",
        "resources.dvs.import_lfs.import_lfs(repo, here / 'repo', objects=[here / 'source'])",
        lfs,
        frozenset({*OURS, "small.bin", "deep/big.bin"}),
    ),
    Scenario(
        "url",
        "resources.dvs.import_url.import_url(repo, str(here / 'source'), 'got')",
        lambda repo, folder: import_url(repo, str(folder / "source"), "got"),
        frozenset({*OURS, "got/small.bin", "got/deep/big.bin"}),
    ),
    Scenario(
        "convert",
        "resources.dvs.import_dvs.convert(repo, remove_old=True)",
        lambda repo, _folder: convert(repo, remove_old=True),
        frozenset({"a.csv", "deep/big.bin"}),
    ),
)


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def prepare(folder: Path, scenario: Scenario) -> None:
    """A repository with two files, one of which the source has otherwise, and the source."""
    root = folder / "repo"
    root.mkdir(parents=True)
    if scenario.name == "convert":
        _third(folder)
        return
    init(LocalStorage(root, state=folder / "state"), "", RepoConfig("../storage"), folder / "local", in_git=False)
    repo = opened(folder)
    for path, data in OURS.items():
        put(root / path, data)
    add(repo, [""])
    repo.close()
    if scenario.name.startswith("merge"):
        (folder / "source").mkdir()
        init(
            LocalStorage(folder / "source", state=folder / "source-state"),
            "",
            RepoConfig("../source-storage", metadata_format="toml"),
            folder / "source-local",
            in_git=False,
        )
        put(folder / "source/a.csv", SMALL)
        put(folder / "source/deep/big.bin", LARGE)
        source = theirs(folder)
        add(source, [""])
        source.close()
    elif scenario.name == "dvc":
        for path, data in (("a.csv", SMALL), ("deep/big.bin", LARGE)):
            digits = hashlib.md5(data, usedforsecurity=False).hexdigest()
            put(root / f".dvc/cache/files/md5/{digits[:2]}/{digits[2:]}", data)
            text = f"outs:\n- md5: {digits}\n  hash: md5\n  path: {path.rpartition('/')[2]}\n"
            put(root / f"{path}.dvc", text.encode())
        link = root / "deep/big.bin"
        link.symlink_to(root / f".dvc/cache/files/md5/{digits[:2]}/{digits[2:]}")
    elif scenario.name == "lfs":
        for path, data in (("small.bin", SMALL), ("deep/big.bin", LARGE)):
            digits = hashlib.sha256(data).hexdigest()
            put(folder / f"source/{digits[:2]}/{digits[2:4]}/{digits}", data)
            text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digits}\nsize {len(data)}\n"
            put(root / path, text.encode())
    else:
        put(folder / "source/small.bin", SMALL)
        put(folder / "source/deep/big.bin", LARGE)


def _third(folder: Path) -> None:
    """A repository of the third generation, one object compressed."""
    root = folder / "repo"
    put(root / "dvs.toml", f'compression = "zstd"\n[backend]\npath = "{folder.parent / "run"}/storage"\n'.encode())
    for path, data, packed in (("a.csv", SMALL, None), ("deep/big.bin", LARGE, encoding.compressed(LARGE))):
        digits = bytes_oid(data).partition(":")[2]
        put(folder / f"storage/{digits[:2]}/{digits[2:]}", packed or data)
        record = {"hashes": {"blake3": digits}, "size": len(data), "created_by": "ann", "add_time": "2026-01-01T00:00:00Z"}
        put(root / f".dvs/{path}.dvs", json.dumps({**record, "compression": "zstd" if packed else "none"}).encode())
        put(root / path, data)


def source_of(folder: Path) -> dict[str, bytes]:
    """Every file of the source, but for leases."""
    places = [folder / "source", folder / "source-storage", folder / "repo/.dvc"]
    found = {}
    for place in places:
        for path in place.rglob("*") if place.is_dir() else ():
            if path.is_file() and ".dvs" not in path.parts and "leases" not in path.parts:
                found[str(path.relative_to(folder))] = path.read_bytes()
    return found


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_before_any_call_loses_nothing(tmp_path: Path, scenario: Scenario) -> None:
    prepared = tmp_path / "prepared"
    prepare(prepared, scenario)
    before = working(prepared)
    source = source_of(prepared)
    program = OPEN + scenario.program
    folder = tmp_path / "run"  # one place for every run: some configurations name it in full
    shutil.copytree(prepared, folder, symlinks=True)
    found = points(program, folder, [])
    wanted = result(folder)
    assert wanted[0].keys() == scenario.tracked
    assert wanted[0] == wanted[1]
    assert len(found) > 5
    pointers = scenario.name == "lfs"
    for point in found:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(prepared, folder, symlinks=True)
        kill(program, folder, [], point)
        repo = opened(folder)
        repo.storage.recover()
        repo.objects.storage.recover()
        complete(repo)
        repo.storage.sweep()
        assert source_of(folder) == source, str(point)
        kept = stores(folder, repo)
        now = set(working(folder).values())
        for path, data in before.items():
            assert data in now or holds(kept, bytes_oid(data)) or (pointers and b"oid sha256" in data), f"{point}: {path} is lost"
        for file in tracked_now(repo):
            assert holds(kept, file.sidecar.oid), f"{point}: {file.path} names an object that is nowhere"
        for entry in repo.manifest().entries.values():
            assert holds(kept, entry.oid), f"{point}: the manifest's {entry.path} names an object that is nowhere"
        bad = [problem for problem in repo.audit_log.verify()[1] if problem.kind not in ("damaged", "cut")]
        assert bad == [], str(point)
        for store in kept:
            store.close()
        scenario.call(repo, folder)
        repo.close()
        assert result(folder) == wanted, str(point)
        assert len(list((folder / "repo").rglob("*.dvs*"))) - (folder / "repo/.dvs").exists() == len(wanted[0]), str(point)
        assert source_of(folder) == source, str(point)
