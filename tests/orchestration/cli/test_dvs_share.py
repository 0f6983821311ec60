"""Two people of one group, and one who is not in it, work with one storage through the commands; only root can act as them."""

from __future__ import annotations

import grp
import json
import os
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.cli.conftest import Ran

GROUP = "users"
LARGE = os.urandom(200_000)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as two users of one group")


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@dataclass
class Person:
    """Somebody with a folder of their own, in which their clone and their state lie."""

    name: str
    uid: int
    groups: list[int]
    home: Path

    @property
    def clone(self) -> Path:
        return self.home / "clone"

    def own(self) -> None:
        """What root put into the folder belongs to them."""
        for path in [self.home, *self.home.rglob("*")]:
            os.chown(path, self.uid, self.uid, follow_symlinks=False)

    def put(self, path: str, data: bytes) -> None:
        target = self.clone / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        self.own()

    def run(self, *words: str, umask: int = 0o077) -> Ran:
        """A command line as this person types it, with a umask that would keep everybody else out."""
        out, err = self.home / "out", self.home / "err"
        child = os.fork()
        if child == 0:
            code = 70
            try:
                os.environ.update(HOME=str(self.home), USER=self.name, HEADWATER_CACHE_DIR=str(self.home / "cache"))
                for number, path in ((1, out), (2, err)):
                    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), number)
                sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
                os.setgroups(self.groups)
                os.setgid(self.uid)
                os.setuid(self.uid)
                os.umask(umask)
                os.chdir(self.clone)
                from orchestration.cli.main import main

                code = main(["dvs", *words])
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        ran = Ran(code, out.read_text(), err.read_text())
        out.unlink()
        err.unlink()
        return ran

    def takes_text_of(self, other: Person) -> None:
        """What a git pull brings: configuration, sidecars, manifest."""
        for path in other.clone.rglob("*"):
            inside = path.relative_to(other.clone)
            if (
                path.is_file()
                and ".dvs" not in inside.parts
                and path.name.endswith((".dvs", "dvs.lock", "dvs.toml", ".gitignore"))
            ):
                (self.clone / inside).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, self.clone / inside)
        self.own()


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder of the group, and a way to it."""
    group = grp.getgrnam(GROUP)
    folder = tmp_path / "shared"
    folder.mkdir()
    os.chown(folder, -1, group.gr_gid)
    folder.chmod(0o2770)
    for above in [tmp_path, *tmp_path.parents]:
        if above.owner() == "root" and above != Path("/"):
            above.chmod(_mode(above) | 0o111)
    return folder


@pytest.fixture
def people(tmp_path: Path, shared: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Person]:
    _warm_up(tmp_path / "warm", run, monkeypatch)
    gid = grp.getgrnam(GROUP).gr_gid
    made = {
        name: Person(name, uid, groups, tmp_path / name)
        for name, uid, groups in (("ann", 54321, [gid]), ("bob", 54322, [gid]), ("eve", 54323, []))
    }
    for person in made.values():
        person.clone.mkdir(parents=True)
        person.own()
        person.home.chmod(0o755)
    return made


def _warm_up(folder: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load all that the commands need: the folder of this interpreter may be closed to the others."""
    clone = folder / "clone"
    clone.mkdir(parents=True)
    monkeypatch.chdir(clone)
    (clone / "a").write_bytes(LARGE)
    (clone / "b").write_bytes(b"b")
    for words in (
        ("init", "../store", "--group", GROUP, "--permissions", "660"),
        ("add", "."),
        ("status",),
        ("verify",),
        ("rm", "a", "--delete"),
        ("gc", "--expire", "0", "--no-history", "--grace", "0", "--all-clones", "--yes"),
        ("trash", "restore"),
        ("get",),
        ("add", "missing"),
        ("log",),
        ("audit", "verify"),
        ("audit", "show"),
        ("rollback", "1"),
    ):
        run("dvs", *words)
    monkeypatch.undo()


def _outcomes(ran: Ran) -> dict[str, str]:
    return {record["path"]: record["outcome"] for record in ran.records if "outcome" in record}


def _everything_is_the_groups(store: Path) -> None:
    gid = grp.getgrnam(GROUP).gr_gid
    for path in [store, *store.rglob("*")]:
        assert path.stat().st_gid == gid, path
        mode = _mode(path)
        if path.is_dir():
            assert oct(mode) == "0o2770", path
        elif path.name.endswith(".pack") or "blake3" in path.parts:
            assert oct(mode) == "0o440", path
        else:
            assert oct(mode) == "0o660", path


def test_what_one_adds_the_other_gets_and_the_other_way_round(shared: Path, people: dict[str, Person]) -> None:
    ann, bob = people["ann"], people["bob"]
    store = shared / "store"
    assert ann.run("init", str(store), "--group", GROUP, "--permissions", "660").code == 0
    ann.put("large.bin", LARGE)
    ann.put("data/small.csv", b"1,2\n")
    added = ann.run("add", ".", "-m", "ann's", "--json")
    assert _outcomes(added) == {"data/small.csv": "added", "large.bin": "added"}, added.err
    _everything_is_the_groups(store)

    bob.takes_text_of(ann)
    got = bob.run("get", "--json")
    assert _outcomes(got) == {"data/small.csv": "retrieved", "large.bin": "retrieved"}, got.err
    assert (bob.clone / "large.bin").read_bytes() == LARGE
    assert (bob.clone / "large.bin").stat().st_uid == bob.uid
    bob.put("data/small.csv", b"3,4\n")
    bob.put("new.bin", LARGE[::-1])
    assert _outcomes(bob.run("add", ".", "-m", "bob's", "--json")) == {
        "data/small.csv": "added",
        "large.bin": "already_tracked",
        "new.bin": "added",
    }
    assert bob.run("verify").code == 0
    _everything_is_the_groups(store)

    ann.takes_text_of(bob)
    back = ann.run("get", "--json")
    assert _outcomes(back) == {"data/small.csv": "retrieved", "large.bin": "up_to_date", "new.bin": "retrieved"}, back.err
    assert (ann.clone / "data/small.csv").read_bytes() == b"3,4\n"
    assert (ann.clone / "new.bin").read_bytes() == LARGE[::-1]
    assert {record["status"] for record in ann.run("status", "--json").records if "status" in record} == {"current"}
    shown = ann.run("audit", "show", "--json")
    assert [(record["operation"], record["reason"], record["user"]) for record in shown.records if "user" in record] == [
        ("add", "ann's", "ann"),
        ("add", "bob's", "bob"),
    ]
    lines = [json.loads(line) for line in (store / "audit.log.jsonl").read_text().splitlines()]
    assert [line["uid"] for line in lines] == [ann.uid, bob.uid]
    assert ann.run("audit", "verify").code == 0


def test_one_collects_what_the_other_put_and_it_comes_back(shared: Path, people: dict[str, Person]) -> None:
    ann, bob = people["ann"], people["bob"]
    store = shared / "deep/er/store"
    assert ann.run("init", str(store), "--group", GROUP, "--permissions", "660").code == 0
    ann.put("old.bin", LARGE)
    ann.put("small.csv", b"1\n")
    ann.put("other.csv", b"2\n")
    assert ann.run("add", ".").code == 0
    assert ann.run("rm", "old.bin", "small.csv", "--delete").code == 0
    bob.takes_text_of(ann)
    for name in ("old.bin.dvs", "small.csv.dvs"):
        (bob.clone / name).unlink(missing_ok=True)
    now = ("gc", "--expire", "0", "--no-history", "--grace", "0", "--yes", "--json")
    spared = bob.run(*now)
    assert (spared.code, spared.records[-1]["summary"]["collected"]) == (0, 0), spared.err
    collected = bob.run(*now, "--all-clones", "-m", "room")
    assert (collected.code, collected.records[-1]["summary"]["collected"]) == (0, 2), collected.err
    _everything_of_the_trash_is_the_groups(store)
    assert bob.run("get").code == 0
    restored = ann.run("trash", "restore", "--json")
    assert (restored.code, restored.records[-1]["summary"]["restored"]) == (0, 2), restored.err
    assert ann.run("rollback", "1").code == 0
    assert (ann.clone / "old.bin").read_bytes() == LARGE
    assert (ann.clone / "small.csv").read_bytes() == b"1\n"
    assert bob.run("audit", "verify").code == 0


def _everything_of_the_trash_is_the_groups(store: Path) -> None:
    gid = grp.getgrnam(GROUP).gr_gid
    trashed = list((store / "trash").rglob("*"))
    assert trashed
    for path in trashed:
        assert path.stat().st_gid == gid, path
        assert _mode(path) & 0o007 == 0, path
        assert _mode(path) & 0o040, path


def test_who_is_not_in_the_group_is_refused_before_anything_is_written(shared: Path, people: dict[str, Person]) -> None:
    ann, eve = people["ann"], people["eve"]
    store = shared / "store"
    assert eve.run("init", str(store), "--group", GROUP, "--permissions", "660", "--json").records[-1]["error"]["rule"] == (
        "group-not-member"
    )
    assert not store.exists()
    assert not (eve.clone / "dvs.toml").exists()
    assert ann.run("init", str(store), "--group", GROUP, "--permissions", "660").code == 0
    ann.put("a.csv", b"1\n")
    assert ann.run("add", ".").code == 0
    before = sorted(path.as_posix() for path in store.rglob("*"))
    eve.takes_text_of(ann)
    eve.put("b.csv", b"2\n")
    for words in (("add", "b.csv"), ("get",), ("status",)):
        ran = eve.run(*words, "--json")
        assert ran.code == 1, (words, ran)
        assert "Traceback" not in ran.err
        assert ran.records[-1]["error"]["rule"] == "group-not-member", words
    assert sorted(path.as_posix() for path in store.rglob("*")) == before
    assert not (eve.clone / "b.csv.dvs").exists()
    assert not (eve.clone / "a.csv").exists()
