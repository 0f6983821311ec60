"""What only local files can do wrong: links, pipes, modes, killed processes, racing writers."""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.storage import folders, leftovers, staging
from resources.storage.base import ABSENT, Change
from resources.storage.folders import FdFolder
from resources.storage.local import LocalStorage
from schemas.errors import Conflict, HeadwaterError
from schemas.oid import bytes_oid


@pytest.fixture(params=["descriptors", "paths"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root folder, reached by directory descriptors and, as on systems without them, by checked paths."""
    monkeypatch.setattr(folders, "USES_DESCRIPTORS", request.param == "descriptors")
    made = tmp_path / "root"
    made.mkdir()
    return made


@pytest.fixture
def storage(root: Path, tmp_path: Path) -> LocalStorage:
    return LocalStorage(root, state=tmp_path / "state")


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_links_are_never_followed(storage: LocalStorage, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "file").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to("loop")
    (root / "inside").mkdir()
    (root / "inside" / "real").write_bytes(b"real")
    (root / "alias").symlink_to("inside")
    scratch = tmp_path / "scratch"
    scratch.write_bytes(b"x")
    for path in ("file", "folder/secret", "folder/new", "loop", "loop/x", "alias/real"):
        for call in (
            lambda path=path: storage.read(path),
            lambda path=path: storage.digest(path),
            lambda path=path: storage.write(path, b"evil"),
            lambda path=path: storage.append(path, b"evil\n"),
            lambda path=path: storage.publish(scratch, path),
            lambda path=path: storage.commit([Change("a", b"1"), Change(path, b"evil")], label="edit"),
        ):
            with pytest.raises(HeadwaterError) as caught:
                call()
            assert caught.value.rule == "path-symlink", path
    assert [found.path for found in storage.scan()] == ["inside/real"]
    assert (outside / "secret").read_bytes() == b"secret"
    assert sorted(os.listdir(outside)) == ["secret"]
    assert (root / "file").is_symlink()


def test_deleting_a_link_removes_the_link_only(storage: LocalStorage, root: Path, tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"x")
    (root / "link").symlink_to(tmp_path / "target")
    storage.delete("link")
    assert not (root / "link").is_symlink()
    assert (tmp_path / "target").read_bytes() == b"x"


def test_a_root_that_is_a_link_is_the_users_choice(root: Path, tmp_path: Path) -> None:
    alias = tmp_path / "alias"
    alias.symlink_to(root)
    LocalStorage(alias, state=tmp_path / "state").write("a/b", b"x")
    assert (root / "a" / "b").read_bytes() == b"x"


def test_pipes_and_folders_are_no_files(storage: LocalStorage, root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "folder").mkdir()
    for path in ("pipe", "folder"):
        for call in (
            storage.read,
            storage.digest,
            lambda path: storage.write(path, b"x"),
            lambda path: storage.append(path, b"x\n"),
        ):
            with pytest.raises(HeadwaterError) as caught:
                call(path)
            assert caught.value.rule == "path-not-a-file"
        assert storage.stat(path) is None
    assert list(storage.scan()) == []


def test_a_file_in_the_way_of_a_folder_says_so(storage: LocalStorage, root: Path) -> None:
    (root / "a").write_bytes(b"x")
    assert storage.stat("a/b") is None
    with pytest.raises(NotADirectoryError):
        storage.write("a/b", b"y")
    assert tree(root) == {"a": b"x"}


def test_an_unreadable_folder_is_an_error_and_not_empty(storage: LocalStorage, root: Path) -> None:
    if os.getuid() == 0:
        pytest.skip("root reads everything")
    (root / "closed").mkdir(mode=0)
    with pytest.raises(PermissionError):
        list(storage.scan())


def test_replacing_keeps_the_mode(storage: LocalStorage, root: Path, tmp_path: Path) -> None:
    for mode in (0o600, 0o640, 0o755):
        (root / "f").unlink(missing_ok=True)
        (root / "f").write_bytes(b"old")
        (root / "f").chmod(mode)
        storage.write("f", b"new")
        assert stat.S_IMODE((root / "f").stat().st_mode) == mode
        storage.commit([Change("f", b"newer"), Change("g", b"x")], label="edit")
        assert stat.S_IMODE((root / "f").stat().st_mode) == mode
        scratch = tmp_path / "scratch"
        scratch.write_bytes(b"published")
        storage.publish(scratch, "f")
        assert stat.S_IMODE((root / "f").stat().st_mode) == mode


def test_replacing_keeps_the_group(storage: LocalStorage, root: Path) -> None:
    groups = set(os.getgroups()) - {os.getgid()}
    if os.getuid() != 0 and not groups:
        pytest.skip("the user has one group only")
    group = 4711 if os.getuid() == 0 else groups.pop()
    (root / "f").write_bytes(b"old")
    os.chown(root / "f", -1, group)
    storage.write("f", b"new")
    assert (root / "f").stat().st_gid == group


def test_new_files_follow_the_umask_and_objects_are_read_only(storage: LocalStorage, root: Path) -> None:
    old = os.umask(0o027)
    try:
        storage.write("f", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((root / "f").stat().st_mode) == 0o640
    storage.add("o", b"x", oid=bytes_oid(b"x"))
    assert stat.S_IMODE((root / "o").stat().st_mode) == 0o444


def test_publish_works_across_file_systems(
    storage: LocalStorage, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object, source: str, name: str) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(FdFolder, "take", refuse)
    monkeypatch.setattr(folders.PathFolder, "take", refuse)
    scratch = tmp_path / "scratch"
    scratch.write_bytes(b"x" * 3_000_000)
    storage.publish(scratch, "out")
    assert (root / "out").read_bytes() == b"x" * 3_000_000
    (tmp_path / "set" / "a").mkdir(parents=True)
    (tmp_path / "set" / "a" / "b").write_bytes(b"y")
    (tmp_path / "set" / "empty").write_bytes(b"")
    storage.publish(tmp_path / "set", "set")
    assert tree(root / "set") == {"a/b": b"y", "empty": b""}


def test_publishing_a_hard_link_of_what_lies_there_leaves_nothing_behind(
    storage: LocalStorage, root: Path, tmp_path: Path
) -> None:
    """What a publication that is completed after a crash does: its file is in place already, under a second name."""
    storage.write("out", b"x")
    os.link(root / "out", tmp_path / "kept")
    storage.publish(tmp_path / "kept", "out")
    (tmp_path / "set").mkdir()
    os.link(root / "out", tmp_path / "set" / "out")
    storage.write("folder/out", b"y")
    (root / "folder" / "out").unlink()
    os.link(root / "out", root / "folder" / "out")
    storage.publish(tmp_path / "set", "folder")
    assert tree(root) == {"folder/out": b"x", "out": b"x"}


def test_publish_refuses_a_scratch_folder_with_links(storage: LocalStorage, root: Path, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to("/etc/passwd")
    with pytest.raises(HeadwaterError) as caught:
        storage.publish(tmp_path / "set", "set")
    assert caught.value.rule == "path-symlink"
    assert tree(root) == {}


def test_append_adds_whole_lines_in_order(storage: LocalStorage, root: Path) -> None:
    for number in range(5):
        storage.append("log/history.log", f"{number}\n".encode())
    assert (root / "log" / "history.log").read_bytes() == b"0\n1\n2\n3\n4\n"
    with pytest.raises(ValueError, match="line feed"):
        storage.append("log/history.log", b"torn")


def test_long_names_can_be_replaced(storage: LocalStorage, root: Path) -> None:
    name = "ä" * 120
    storage.write(name, b"1")
    storage.write(name, b"2")
    assert tree(root) == {name: b"2"}


class Broken:
    """Makes the nth call of an `os` function fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, number: int, code: int) -> None:
        self.real = getattr(os, name)
        self.left = number
        self.code = code
        monkeypatch.setattr(os, name, self)

    def __call__(self, *arguments: object, **named: object) -> object:
        self.left -= 1
        if self.left == 0:
            raise OSError(self.code, os.strerror(self.code))
        return self.real(*arguments, **named)


OPERATIONS = {
    "write": lambda storage, scratch: storage.write("a/f", b"new", expect=bytes_oid(b"old")),
    "commit": lambda storage, scratch: storage.commit(
        [Change("a/f", b"new"), Change("g", b"new"), Change("h", None)], label="edit"
    ),
    "publish": lambda storage, scratch: storage.publish(scratch, "a"),
}
BEFORE = {"a/f": b"old", "h": b"old"}
AFTER = {
    "write": {"a/f": b"new", "h": b"old"},
    "commit": {"a/f": b"new", "g": b"new"},
    "publish": {"a/f": b"new", "a/n": b"new", "h": b"old"},
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("call", ["fsync", "write", "rename"])
def test_the_nth_failing_call_leaves_old_or_new_and_no_temporary_file(
    operation: str, call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's way: fail the first call, the second, … until the operation succeeds."""
    for number in itertools.count(1):
        base = tmp_path / str(number)
        root, scratch = base / "root", base / "scratch"
        storage = LocalStorage(root, state=base / "state")
        for path, data in BEFORE.items():
            storage.write(path, data)
        scratch.mkdir()
        (scratch / "f").write_bytes(b"new")
        (scratch / "n").write_bytes(b"new")
        with monkeypatch.context() as patch:
            broken = Broken(patch, call, number, errno.EIO)
            with suppress(OSError):
                OPERATIONS[operation](storage, scratch)
        storage.recover()
        assert tree(root) in (BEFORE, AFTER[operation])
        assert LocalStorage(root, state=base / "state").recover() == []
        if broken.left > 0:
            assert tree(root) == AFTER[operation]
            assert number > 1
            return


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """RLIMIT_FSIZE gives a short write, then EFBIG: the file is old and no temporary file stays."""
    code = f"""
import resource, signal, sys
from resources.storage.local import LocalStorage
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
storage = LocalStorage({str(tmp_path / "root")!r}, state={str(tmp_path / "state")!r})
storage.write("f", b"old")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    storage.write("f", b"x" * 5000)
except OSError as error:
    sys.exit(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == errno.EFBIG
    assert tree(tmp_path / "root") == {"f": b"old"}


def test_a_failed_fsync_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def fail(fd: int) -> None:
        calls.append(fd)
        raise OSError(errno.EIO, "I/O error")

    (tmp_path / "root").mkdir()
    storage = LocalStorage(tmp_path / "root", state=tmp_path / "state")
    monkeypatch.setattr(staging, "sync_file", fail)
    with pytest.raises(OSError, match="I/O"):
        storage.write("f", b"x")
    assert len(calls) == 1
    assert tree(tmp_path / "root") == {}


CHILD = """
import os, signal, sys
from pathlib import Path
from resources.storage import intents, local
from resources.storage.base import Change
storage = local.LocalStorage(sys.argv[1], state=sys.argv[2])
real, left = os.rename, [int(sys.argv[3])]
def rename(*arguments, **named):
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    real(*arguments, **named)
os.rename = rename
storage.commit([Change("a", b"new"), Change("b/c", b"new"), Change("d", None), Change("e", b"new")], label="edit of four")
"""


def test_killed_between_renames_is_completed_or_undone(tmp_path: Path) -> None:
    before = {"a": b"old", "d": b"old", "e": b"old"}
    after = {"a": b"new", "b/c": b"new", "e": b"new"}
    outcomes = []
    for renames in range(5):
        root, state = tmp_path / f"root{renames}", tmp_path / f"state{renames}"
        storage = LocalStorage(root, state=state)
        for path, data in before.items():
            storage.write(path, data)
        done = subprocess.run([sys.executable, "-c", CHILD, str(root), str(state), str(renames)], check=False)
        outcomes.append(done.returncode)
        lines = storage.recover()
        assert [found.path for found in storage.scan()]  # also removes what a killed process left
        expected = before if renames == 0 else after
        assert tree(root) == expected, renames
        assert lines == ([] if done.returncode == 0 or renames == 0 else ["completed: edit of four"])
        assert storage.recover() == []
    assert outcomes == [-signal.SIGKILL] * 4 + [0]


def test_the_next_write_completes_a_set_first(tmp_path: Path) -> None:
    root, state = tmp_path / "root", tmp_path / "state"
    storage = LocalStorage(root, state=state)
    storage.write("d", b"old")
    subprocess.run([sys.executable, "-c", CHILD, str(root), str(state), "2"], check=False)
    with pytest.raises(Conflict):
        storage.write("d", b"x", expect=bytes_oid(b"old"))
    assert tree(root) == {"a": b"new", "b/c": b"new", "e": b"new"}


def test_recover_is_idempotent_for_every_prefix(storage: LocalStorage, root: Path) -> None:
    """A record may be carried out again after any part of it: what was done stays, what is left gets done."""
    for prefix in range(4):
        for name in ("x", "y", "z"):
            (root / name).write_bytes(b"old")
            (root / f".{name}.tmp").write_bytes(b"new")
        record = {
            "format": 1,
            "label": "set",
            "moves": [[f".{name}.tmp", name] for name in ("x", "y", "z")],
            "removals": ["gone"],
            "prune": ["none"],
        }
        storage.intents.mkdir(parents=True, exist_ok=True)
        (storage.intents / "1.json").write_text(json.dumps(record))
        for name in ("x", "y", "z")[:prefix]:
            (root / f".{name}.tmp").rename(root / name)
        assert storage.recover() == ["completed: set"]
        assert tree(root) == {"x": b"new", "y": b"new", "z": b"new"}
        assert os.listdir(storage.intents) == []


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"[]",
        b'{"format": 2}',
        b'{"format": 1, "label": "x", "moves": [["../a", "b"]], "removals": [], "prune": []}',
        b'{"format": 1, "label": "x", "moves": [], "removals": ["/etc/passwd"], "prune": []}',
    ],
)
def test_a_record_that_is_not_ours_is_left_alone(storage: LocalStorage, root: Path, record: bytes) -> None:
    (root / "f").write_bytes(b"x")
    storage.intents.mkdir(parents=True)
    (storage.intents / "9.json").write_bytes(record)
    assert storage.recover() == ["9.json: left alone, it was written by another version"]
    storage.write("f", b"y", expect=bytes_oid(b"x"))
    assert tree(root) == {"f": b"y"}


def test_a_target_that_became_a_folder_keeps_the_new_bytes(storage: LocalStorage, root: Path) -> None:
    (root / "x").mkdir()
    (root / ".x.tmp").write_bytes(b"new")
    storage.intents.mkdir(parents=True)
    record = {"format": 1, "label": "set", "moves": [[".x.tmp", "x"]], "removals": [], "prune": []}
    (storage.intents / "1.json").write_text(json.dumps(record))
    lines = storage.recover()
    assert lines[0] == "completed: set"
    assert "x.unfinished" in lines[1]
    assert tree(root) == {"x.unfinished": b"new"}
    assert storage.recover() == []


def _dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_leftovers_of_dead_processes_are_swept_by_a_scan(storage: LocalStorage, root: Path) -> None:
    ours, dead = leftovers.machine(), _dead_process()
    (root / "data").mkdir()
    names = {
        "dead": f".f.csv.{ours}-{dead}-1.hwtmp",
        "alive": f".f.csv.{ours}-{os.getppid()}-1.hwtmp",
        "elsewhere": ".f.csv.00000000-1-1.hwtmp",
        "old elsewhere": ".f.csv.00000000-1-2.hwtmp",
        "users": ".f.csv.hwtmp",
    }
    for name in names.values():
        (root / "data" / name).write_bytes(b"")
    long_ago = time.time() - 48 * 3600
    os.utime(root / "data" / names["old elsewhere"], (long_ago, long_ago))
    assert [found.path for found in storage.scan()] == ["data/" + names["users"]]
    assert sorted(os.listdir(root / "data")) == sorted([names["alive"], names["elsewhere"], names["users"]])


def test_leftovers_stay_while_a_set_still_needs_them(storage: LocalStorage, root: Path) -> None:
    temporary = f".x.{leftovers.machine()}-{_dead_process()}-1.hwtmp"
    (root / temporary).write_bytes(b"new")
    storage.intents.mkdir(parents=True)
    record = {"format": 1, "label": "set", "moves": [[temporary, "x"]], "removals": [], "prune": []}
    (storage.intents / "1.json").write_text(json.dumps(record))
    assert list(storage.scan()) == []
    assert storage.recover() == ["completed: set"]
    assert tree(root) == {"x": b"new"}


ADDER = """
import sys
from resources.storage.local import LocalStorage
from schemas.errors import Conflict
from schemas.oid import bytes_oid
storage = LocalStorage(sys.argv[1], state=sys.argv[2])
done = 0
while done < 50:
    old = storage.read("counter")
    try:
        storage.write("counter", str(int(old) + 1).encode(), expect=bytes_oid(old))
        done += 1
    except Conflict:
        pass
"""


def test_eight_processes_lose_no_update(tmp_path: Path) -> None:
    root, state = tmp_path / "root", tmp_path / "state"
    LocalStorage(root, state=state).write("counter", b"0")
    processes = [subprocess.Popen([sys.executable, "-c", ADDER, str(root), str(state)]) for _number in range(8)]
    assert [process.wait() for process in processes] == [0] * 8
    assert tree(root) == {"counter": b"400"}


def test_adding_one_object_from_many_processes_keeps_one(tmp_path: Path) -> None:
    root = tmp_path / "root"
    code = """
import sys
from resources.storage.local import LocalStorage
from schemas.oid import bytes_oid
storage = LocalStorage(sys.argv[1], state=sys.argv[2])
for number in range(40):
    data = str(number).encode() * 1000
    storage.add(f"o/{number}", data, oid=bytes_oid(data))
"""
    processes = [subprocess.Popen([sys.executable, "-c", code, str(root), str(tmp_path / "state")]) for _number in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert tree(root) == {f"o/{number}": str(number).encode() * 1000 for number in range(40)}


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(
        st.dictionaries(
            st.sampled_from(["a", "b/c", "b/d", "e/f/g"]), st.none() | st.binary(max_size=20), min_size=1, max_size=4
        ),
        max_size=8,
    )
)
def test_commits_behave_like_a_dictionary(steps: list[dict[str, bytes | None]]) -> None:
    """Batches of writes and deletions against a plain dictionary, each expecting what the dictionary holds."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "root")
        storage = LocalStorage(root, state=Path(folder, "state"))
        model: dict[str, bytes] = {}
        for step in steps:
            changes = [
                Change(path, data, expect=bytes_oid(model[path]) if path in model else ABSENT) for path, data in step.items()
            ]
            storage.commit(changes, label="step")
            for path, data in step.items():
                if data is None:
                    model.pop(path, None)
                else:
                    model[path] = data
            assert {found.path: storage.read(found.path) for found in storage.scan()} == model
            if model:
                path = random.choice(sorted(model))
                with pytest.raises(Conflict):
                    storage.write(path, b"x", expect=bytes_oid(model[path] + b"?"))


FOREIGN = """
import os, sys
for name in ("O_NOFOLLOW", "O_DIRECTORY", "O_NONBLOCK", "O_CLOEXEC", "fchmod", "fchown", "copy_file_range", "pread"):
    delattr(os, name)
os.supports_dir_fd.clear()
sys.modules["fcntl"] = None
from pathlib import Path
from resources.storage import folders
from resources.storage.base import ABSENT, Change
from resources.storage.local import LocalStorage
from resources.workspace import open_workspace
from schemas.oid import bytes_oid
assert not folders.USES_DESCRIPTORS
storage = LocalStorage(sys.argv[1], state=sys.argv[2])
storage.write("a/b", b"1")
storage.commit([Change("a/b", b"2"), Change("c", b"3")], label="set")
storage.append("log", b"line\\n")
storage.add("o", b"object", oid=bytes_oid(b"object"))
storage.fetch("c", Path(sys.argv[2], "copy"))
print({found.path: storage.read(found.path) for found in storage.scan()})
"""


def test_a_system_without_posix_calls_is_served_by_path(tmp_path: Path) -> None:
    """Nothing POSIX-only runs at import, and reading and writing work without it."""
    (tmp_path / "root").mkdir()
    arguments = [sys.executable, "-c", FOREIGN, str(tmp_path / "root"), str(tmp_path / "state")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str({"a/b": b"2", "c": b"3", "log": b"line\n", "o": b"object"})


def test_a_deep_tree_is_scanned(storage: LocalStorage, root: Path) -> None:
    path = "/".join(["d"] * 120) + "/file"
    storage.write(path, b"x")
    assert [found.path for found in storage.scan()] == [path]


def test_a_bottomless_tree_is_one_clear_error(storage: LocalStorage, root: Path) -> None:
    storage.write("/".join(["d"] * 400) + "/file", b"x")
    with pytest.raises(HeadwaterError) as caught:
        list(storage.scan())
    assert caught.value.rule == "path-too-deep"
    assert list(storage.scan(enter=lambda folder: folder.count("/") < 100)) == []


@pytest.fixture
def held_descriptors() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    yield
    if before:
        assert len(os.listdir("/proc/self/fd")) == before


def test_no_descriptor_leaks(storage: LocalStorage, root: Path, tmp_path: Path, held_descriptors: None) -> None:
    scratch = tmp_path / "scratch"
    storage.write("a/b", b"x")
    (root / "link").symlink_to("a")
    for _round in range(3):
        scratch.write_bytes(b"x")
        storage.publish(scratch, "out")
        storage.commit([Change("p", b"1"), Change("q/r", b"2")], label="edit")
        next(storage.scan())
        walking = storage.walk()
        next(walking)
        walking.close()
        for bad in ("link/x", "a", "none/none"):
            with pytest.raises((HeadwaterError, OSError)):
                storage.read(bad)
        with pytest.raises(Conflict):
            storage.write("a/b", b"y", expect=bytes_oid(b"z"))


def test_a_set_looks_at_its_files_again_once_it_has_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another command writes between the first look and the lock: nothing of the set is carried out."""
    storage = LocalStorage(tmp_path / "root", state=tmp_path / "state")
    storage.write("a", b"old")
    storage.write("b", b"old")
    locked = LocalStorage._locked

    def late(self: LocalStorage) -> object:
        (tmp_path / "root/b").write_bytes(b"theirs")
        return locked(self)

    monkeypatch.setattr(LocalStorage, "_locked", late)
    old = bytes_oid(b"old")
    with pytest.raises(Conflict):
        storage.commit([Change("a", b"new", old), Change("b", b"new", old)], label="edit")
    assert tree(tmp_path / "root") == {"a": b"old", "b": b"theirs"}
