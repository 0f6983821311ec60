"""Modes and groups of what a shared storage creates: whatever the umask says, from the moment a name appears."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resources.storage.base import Change
from resources.storage.local import LocalStorage
from resources.storage.sharing import Sharing, sharing_for
from schemas.errors import HeadwaterError
from schemas.oid import bytes_oid

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="only root may act as two users of one group")


@pytest.fixture(params=[0o077, 0o000], ids=["strict-umask", "no-umask"])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    old = os.umask(request.param)
    yield
    os.umask(old)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _write_everything(storage: LocalStorage) -> None:
    storage.write("a/text", b"text")
    storage.add("a/b/object", b"object", oid=bytes_oid(b"object"))
    storage.append("log", b"line\n")
    storage.commit([Change("c/one", b"1"), Change("c/two", b"2")], label="two files")


def test_modes_follow_the_configuration_not_the_umask(tmp_path: Path, umask: None) -> None:
    storage = LocalStorage(tmp_path / "store", state=tmp_path / "state", sharing=Sharing(0o664))
    _write_everything(storage)
    root = tmp_path / "store"
    assert {name: oct(_mode(root / name)) for name in ("a/text", "log", "c/one", "c/two")} == dict.fromkeys(
        ("a/text", "log", "c/one", "c/two"), "0o664"
    )
    assert oct(_mode(root / "a/b/object")) == "0o444"
    assert {oct(_mode(root / name)) for name in ("a", "a/b", "c")} == {"0o775"}
    storage.append("log", b"another\n")
    assert (root / "log").read_bytes() == b"line\nanother\n"


@pytest.mark.parametrize(
    ("sharing", "folder", "objects"),
    [
        (Sharing(0o664), 0o775, 0o444),
        (Sharing(0o640), 0o750, 0o440),
        (Sharing(0o600), 0o700, 0o400),
        (Sharing(0o660, 1), 0o2770, 0o440),
        (Sharing(None, 1), 0o2770, None),
        (Sharing(0o444), 0o755, 0o444),
    ],
)
def test_modes_of_folders_and_objects(sharing: Sharing, folder: int, objects: int | None) -> None:
    assert (sharing.folder_mode, sharing.object_mode) == (folder, objects)


def test_nothing_asked_for_is_nothing() -> None:
    assert sharing_for(None, None) is None
    assert sharing_for(0o664, None) == Sharing(0o664)


def test_an_unknown_group_is_refused_before_anything_is_written() -> None:
    with pytest.raises(HeadwaterError) as caught:
        sharing_for(0o664, "no-such-group-anywhere")
    assert caught.value.rule == "group-unknown"


def _as_user(uid: int, groups: list[int], work: Callable[[], None]) -> int:
    """Run `work` as another user in a child process; returns its exit code."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setgroups(groups)
            os.setgid(uid)
            os.setuid(uid)
            os.umask(0o077)
            work()
            code = 0
        except HeadwaterError as error:
            code = 3 if error.rule == "group-not-member" else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@needs_root
def test_two_users_share_a_store_through_a_group(tmp_path: Path) -> None:
    group = grp.getgrnam("users")
    shared = tmp_path / "shared"
    shared.mkdir()
    os.chown(shared, -1, group.gr_gid)
    shared.chmod(0o2770)
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.owner() == "root" and folder != Path("/"):
            folder.chmod(_mode(folder) | 0o111)

    for name in ("ann", "bob", "eve"):
        (tmp_path / f"state-{name}").mkdir()
        (tmp_path / f"state-{name}").chmod(0o777)

    def write(name: str) -> Callable[[], None]:
        def work() -> None:
            sharing = sharing_for(0o660, group.gr_name)
            storage = LocalStorage(shared / "store", state=tmp_path / f"state-{name}", sharing=sharing)
            storage.add(f"objects/{name}", name.encode(), oid=bytes_oid(name.encode()))
            storage.append("audit", f"{name}\n".encode())
            storage.write("state", name.encode())

        return work

    assert _as_user(54321, [group.gr_gid], write("ann")) == 0
    assert _as_user(54322, [group.gr_gid], write("bob")) == 0
    assert _as_user(54323, [], write("eve")) == 3
    store = shared / "store"
    assert (store / "audit").read_text() == "ann\nbob\n"
    assert (store / "state").read_text() == "bob"
    assert sorted(path.name for path in (store / "objects").iterdir()) == ["ann", "bob"]
    for path in store.rglob("*"):
        assert path.stat().st_gid == group.gr_gid
        assert oct(_mode(path)) == ("0o2770" if path.is_dir() else "0o440" if path.parent.name == "objects" else "0o660")
