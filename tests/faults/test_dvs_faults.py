"""Commands on versioned data, killed before every system call that changes something: nothing is lost, all can be given again.

After each kill the next command completes what was begun. Then every byte that was there before lies in the working tree or in a
store, every sidecar and manifest entry names an object that is whole, and the same command brings about what it would have.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from resources.dvs import trash
from resources.dvs.add import add
from resources.dvs.edit import remove
from resources.dvs.gc import Options, carry_out
from resources.dvs.init import init
from resources.dvs.operation import complete
from resources.dvs.repack import repack
from resources.dvs.repair import repair
from resources.dvs.repo import DvsRepo
from resources.dvs.scrub import scrub
from resources.dvs.snapshots import tracked_now
from resources.dvs.status import FileStatus, status
from resources.packed import PackedObjects
from resources.storage.local import LocalStorage
from schemas.dvs.config import RepoConfig
from schemas.oid import bytes_oid
from tests.faults.harness import kill, needs_strace, points

pytestmark = [pytest.mark.slow, needs_strace]

LARGE = bytes(range(256)) * 300
GARBAGE = {"old.csv": b"old\n", "old.bin": LARGE[::-1]}
"""Files that were added and removed again: their bytes are only in the storage."""
FILES = {"data/a.csv": b"one\n", "data/big.bin": LARGE, "b.csv": b"two\n"}
OPEN = """
from pathlib import Path
from resources.dvs.repo import DvsRepo
from resources.storage.local import LocalStorage
import resources.dvs.add, resources.dvs.edit, resources.dvs.history, resources.dvs.restore, resources.dvs.sync
import resources.dvs.audit, resources.dvs.leases, resources.storage.incoming, resources.storage.many, schemas.toml_text
import resources.dvs.gc, resources.dvs.repack, resources.dvs.repair, resources.dvs.scrub, resources.dvs.trash
import resources.encoding, resources.packed
import schemas.json_text, tenacity
here = Path.cwd()
repo = DvsRepo(LocalStorage(here / "repo", state=here / "state"), "", here / "local", actor="ann")
repo.objects.present(["blake3:" + "0" * 64]), repo.cache.present(["blake3:" + "0" * 64]), repo.clone_id()
os.access(BEGIN, 0)
"""


ALL = Options(expire=0.0, history=False, grace=0.0)


@dataclass(frozen=True)
class Scenario:
    """One command: what it does to the prepared repository, and the paths that are tracked afterwards."""

    name: str
    program: str
    tracked: frozenset[str]


SCENARIOS = (
    Scenario("add", 'resources.dvs.add.add(repo, ["new.csv", "data/new.bin", "b.csv"], message="m")',
             frozenset({*FILES, "new.csv", "data/new.bin"})),
    Scenario("remove", 'resources.dvs.edit.remove(repo, ["b.csv"], delete=True)', frozenset(FILES) - {"b.csv"}),
    Scenario("move", 'resources.dvs.edit.move(repo, "data", "moved/far")',
             frozenset({"moved/far/a.csv", "moved/far/big.bin", "b.csv"})),
    Scenario("get", 'resources.dvs.restore.get(repo, [], rescue=True)', frozenset(FILES)),
    Scenario("rollback", 'resources.dvs.history.rollback(repo, "1", rescue=True)', frozenset({"data/a.csv", "b.csv"})),
    Scenario("push", 'resources.dvs.sync.push(repo, ["data/a.csv", "b.csv"], remote=str(here / "remote"))', frozenset(FILES)),
    Scenario("gc", "resources.dvs.gc.carry_out(repo, resources.dvs.gc.Options(expire=0.0, history=False, grace=0.0))",
             frozenset(FILES)),
    Scenario("empty", "resources.dvs.gc.carry_out(repo, resources.dvs.gc.Options(expire=0.0, history=False, grace=0.0), "
             "keep_trash=0.0)", frozenset(FILES)),
    Scenario("repack", 'resources.dvs.repack.repack(repo, "loose"), resources.dvs.repack.repack(repo, "packed")',
             frozenset(FILES)),
    Scenario("repair", "resources.dvs.repair.repair(repo, list(resources.dvs.scrub.scrub(repo)))", frozenset(FILES)),
    Scenario("pull", 'resources.dvs.sync.pull(repo, remote=str(here / "filled"))', frozenset(FILES)),
)  # fmt: skip


def opened(folder: Path) -> DvsRepo:
    return DvsRepo(LocalStorage(folder / "repo", state=folder / "state"), "", folder / "local", actor="ann")


def spoil(storage: Path) -> None:
    """Flip a bit of the first object of every pack, and of the large object."""
    for path in storage.rglob("*"):
        if path.is_file() and (path.suffix == ".pack" or path.stat().st_size == len(LARGE)):
            damaged = bytearray(path.read_bytes())
            damaged[9 if path.suffix == ".pack" else 1000] ^= 1
            path.chmod(0o600)
            path.write_bytes(damaged)


def prepare(folder: Path, scenario: Scenario) -> None:
    """Three tracked files in two states, one of them edited since, two that are new."""
    root = folder / "repo"
    (root / "data").mkdir(parents=True)
    storage = LocalStorage(root, state=folder / "state")
    init(storage, "", RepoConfig("../storage"), folder / "local", in_git=False)
    # Without where it was made, so that the copies of this folder stay the same clone.
    storage.write(".dvs/state/clone", b"the-clone-of-the-tests\n")
    repo = opened(folder)
    for path in ("data/a.csv", "b.csv"):
        (root / path).write_bytes(FILES[path])
    add(repo, [""])
    (root / "data/big.bin").write_bytes(FILES["data/big.bin"])
    add(repo, [""])
    if scenario.name in ("gc", "empty"):
        for path, data in GARBAGE.items():
            (root / path).write_bytes(data)
        add(repo, [""])
        remove(repo, list(GARBAGE), delete=True)
    if scenario.name == "empty":
        carry_out(repo, ALL)
        # What the trash holds and is needed again must come back before the rest goes.
        text = {path: repo.storage.read(path) for path in ("data/big.bin.dvs", "data/a.csv.dvs", "dvs.lock")}
        remove(repo, ["data/big.bin", "data/a.csv"])
        carry_out(repo, ALL)
        for path, data in text.items():  # as git would bring them back
            repo.storage.write(path, data)
    repo.close()
    if scenario.name == "repair":
        spoil(folder / "storage")
    if scenario.name in ("get", "rollback"):
        (root / "b.csv").write_bytes(b"edited and saved nowhere\n")
        (root / "data/a.csv").unlink()
    if scenario.name == "get":
        (root / "data/big.bin").unlink()
    if scenario.name == "add":
        (root / "new.csv").write_bytes(b"new\n")
        (root / "data/new.bin").write_bytes(LARGE + b"!")
        (root / "b.csv").write_bytes(b"two, changed\n")
    if scenario.name == "pull":
        shutil.copytree(folder / "storage", folder / "filled")
        for path in [*(folder / "storage/packs").iterdir(), *(folder / "storage/blake3").rglob("*")]:
            if path.is_file() and path.stat().st_size < 10_000:
                path.unlink()


def working(folder: Path) -> dict[str, bytes]:
    root = folder / "repo"
    text = (".dvs", ".dvs.toml", ".gitignore", "dvs.toml", "dvs.lock", ".hwtmp")
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and ".dvs" not in path.relative_to(root).parts and not path.name.endswith(text)
    }


def stores(folder: Path, repo: DvsRepo) -> list[PackedObjects]:
    places = [folder / name for name in ("remote", "filled") if (folder / name).is_dir()]
    names = [f"trash/{name}" for name in trash.names(repo.objects.storage)]
    thrown = [PackedObjects(repo.objects.storage, folder / "scratch", name) for name in names]
    more = [PackedObjects(LocalStorage(place, state=folder / "other"), folder / "scratch") for place in places]
    return [repo.objects, repo.cache, *more, *thrown]


def holds(kept: list[PackedObjects], oid: str) -> bool:
    for store in kept:
        if store.has(oid):
            store.verify(oid)
            return True
    return False


def result(folder: Path) -> tuple[dict[str, str], dict[str, str], dict[str, bytes]]:
    """(oids of sidecars, oids of the manifest, bytes of the working tree)."""
    repo = opened(folder)
    try:
        sidecars = {file.path: file.sidecar.oid for file in tracked_now(repo)}
        manifest = {path: entry.oid for path, entry in repo.manifest().entries.items()}
        return sidecars, manifest, working(folder)
    finally:
        repo.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_killed_before_any_call_loses_nothing(tmp_path: Path, scenario: Scenario) -> None:
    prepared = tmp_path / "prepared"
    prepare(prepared, scenario)
    before = working(prepared)
    program = OPEN + scenario.program
    trace = tmp_path / "trace"
    shutil.copytree(prepared, trace)
    found = points(program, trace, [])
    wanted = result(trace)
    assert wanted[0].keys() == scenario.tracked
    assert wanted[0] == wanted[1]
    assert len(found) > 5
    for point in found:
        folder = tmp_path / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(prepared, folder)
        kill(program, folder, [], point)
        repo = opened(folder)
        repo.storage.recover()
        repo.objects.storage.recover()
        complete(repo)
        repo.storage.sweep()
        kept = stores(folder, repo)
        now = set(working(folder).values())
        for path, data in before.items():
            assert data in now or holds(kept, bytes_oid(data)), f"{point}: {path} is lost"
        named = {file.path: file.sidecar.oid for file in tracked_now(repo)}
        named |= {f"{entry.path} of the manifest": entry.oid for entry in repo.manifest().entries.values()}
        for path, oid in named.items() if scenario.name != "repair" else ():  # there the working files are what is whole
            assert holds(kept, oid), f"{point}: {path} names an object that is nowhere"
        if scenario.name == "gc":
            for path, data in GARBAGE.items():
                assert holds(kept, bytes_oid(data)), f"{point}: {path} was collected and is not in the trash"
        if scenario.name in ("gc", "repack"):
            for file in tracked_now(repo):
                repo.objects.verify(file.sidecar.oid)
        bad = [problem for problem in repo.audit_log.verify()[1] if problem.kind not in ("damaged", "cut")]
        assert bad == [], str(point)
        for store in kept:
            store.close()
        repo.close()
        again(folder, scenario)
        assert result(folder) == wanted, str(point)
        repo = opened(folder)
        expected = {FileStatus.CURRENT} if scenario.name != "pull" else {FileStatus.CURRENT, FileStatus.ERROR}
        assert {row.status for row in status(repo)} <= expected, str(point)
        repo.close()


def again(folder: Path, scenario: Scenario) -> None:
    """Give the same command again where it has not come to its end; what is done already says so, and is left alone."""

    from resources.dvs.edit import move
    from resources.dvs.history import rollback
    from resources.dvs.restore import get
    from resources.dvs.sync import pull, push

    repo = opened(folder)
    tracked = {file.path for file in tracked_now(repo)}
    if scenario.name == "add":
        add(repo, ["new.csv", "data/new.bin", "b.csv"], message="m")
    elif scenario.name == "remove":
        if "b.csv" in tracked:
            remove(repo, ["b.csv"], delete=True)
        elif (folder / "repo/b.csv").exists():
            (folder / "repo/b.csv").unlink()  # it was untracked, and is an ordinary file now
    elif scenario.name == "move":
        if "data/a.csv" in tracked:
            move(repo, "data", "moved/far")
    elif scenario.name == "get":
        assert not get(repo, [], rescue=True).failed
    elif scenario.name == "rollback":
        if "data/big.bin" in tracked:
            rollback(repo, "1", rescue=True)
        else:
            get(repo, [], rescue=True)
    elif scenario.name == "push":
        assert not push(repo, ["data/a.csv", "b.csv"], remote=str(folder / "remote")).failed
    elif scenario.name in ("gc", "empty"):
        carry_out(repo, ALL, keep_trash=0.0 if scenario.name == "empty" else 3600.0)
        names = {oid for oid, _ in repo.objects.list()}
        assert names == {file.sidecar.oid for file in tracked_now(repo)}
    elif scenario.name == "repair":
        repair(repo, list(scrub(repo)))
        assert {proof.result for proof in scrub(repo)} == {"ok"}
    elif scenario.name == "repack":
        assert repack(repo, "packed").damaged == ()
    else:
        assert not pull(repo, remote=str(folder / "filled")).failed
    repo.close()
