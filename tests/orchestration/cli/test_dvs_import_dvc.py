"""`headwater dvs import-dvc`: what DVC tracks, from caches of both layouts, verified by MD5."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.orchestration.cli.conftest import Ran
from tests.orchestration.cli.test_dvs import git, objects, outcomes, put, statuses
from tests.orchestration.cli.test_dvs_import import audited, lock, rules, tree

Run = Callable[..., Ran]

BIG = os.urandom(150_000)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@dataclass
class Dvc:
    """A folder as DVC leaves it; `new` is the layout of 3.x. The formats are those of dvc 3.67 and 2.58."""

    root: Path
    new: bool = True

    def __post_init__(self) -> None:
        put(self.root, ".dvc/config", "")

    def object(self, digits: str, name: str = "") -> Path:
        above = self.root / ".dvc/cache" / ("files/md5" if self.new else "")
        return above / digits[:2] / (digits[2:] + name)

    def keep(self, data: bytes, digits: str | None = None, name: str = "") -> str:
        digits = digits or md5(data)
        path = self.object(digits, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o444)
        return digits

    @property
    def named(self) -> str:
        return "  hash: md5\n" if self.new else ""

    def file(self, path: str, data: bytes, *, digits: str | None = None, work: bool = True) -> None:
        """`dvc add` of one file."""
        digits = self.keep(data, digits)
        name = path.rpartition("/")[2]
        put(self.root, f"{path}.dvc", f"outs:\n- md5: {digits}\n  size: {len(data)}\n{self.named}  path: {name}\n")
        if work:
            put(self.root, path, data)
        self.hide(path)

    def hide(self, path: str) -> None:
        above, _, name = path.rpartition("/")
        ignore = self.root / above / ".gitignore"
        ignore.write_text((ignore.read_text() if ignore.exists() else "") + f"/{name}\n")

    def list(self, files: Mapping[str, bytes]) -> str:
        entries = [{"md5": self.keep(data), "relpath": path} for path, data in sorted(files.items())]
        return self.keep(json.dumps(entries).encode(), name=".dir")

    def folder(self, path: str, files: Mapping[str, bytes], *, work: bool = True) -> None:
        """`dvc add` of a folder."""
        digits = self.list(files)
        name = path.rpartition("/")[2]
        text = f"outs:\n- md5: {digits}.dir\n  size: {sum(map(len, files.values()))}\n  nfiles: {len(files)}\n"
        put(self.root, f"{path}.dvc", f"{text}{self.named}  path: {name}\n")
        for inside, data in files.items() if work else ():
            put(self.root, f"{path}/{inside}", data)
        self.hide(path)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    root = tmp_path / "work"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    monkeypatch.chdir(root)
    assert run("dvs", "init", "../store").code == 0
    return root


IMAGES = {"a b.png": b"\x89PNG", "deep/z.bin": BIG, "empty": b""}
TRACKED = {"data/one.csv": b"1,2\n", **{f"data/img/{path}": data for path, data in IMAGES.items()}}


@pytest.fixture(params=[True, False], ids=["3.x", "2.x"])
def dvc(root: Path, request: pytest.FixtureRequest) -> Dvc:
    """One file and one folder that DVC tracks."""
    made = Dvc(root, request.param)
    made.file("data/one.csv", b"1,2\n")
    made.folder("data/img", IMAGES)
    return made


def test_files_and_folders_are_taken_over_in_place(root: Path, dvc: Dvc, run: Run) -> None:
    before = tree(root / ".dvc")
    ran = run("dvs", "import-dvc", "--json", "-m", "from DVC")
    assert (ran.code, outcomes(ran)) == (0, dict.fromkeys(TRACKED, "imported"))
    assert lock(root) == {path: len(data) for path, data in TRACKED.items()}
    assert statuses(run) == dict.fromkeys(TRACKED, "current")
    assert json.loads((root / "data/one.csv.dvs").read_text())["message"] == "from DVC"
    # Git keeps the sidecars, also those in the folder that it ignored as a whole before, and none of the data.
    shown = git(root, "status", "--short", "-uall", "-z").split("\0")
    assert all(f"?? {path}.dvs" in shown and f"?? {path}" not in shown for path in TRACKED)
    assert tree(root / ".dvc") == before
    lines = audited(root.parent / "store")
    assert [(line["operation"], line["reason"]) for line in lines] == [("import", "from DVC")]
    assert run("dvs", "log", "--json").records[0]["op"] == "import"
    assert run("dvs", "verify").code == 0


def test_again_changes_nothing_and_needs_no_cache(root: Path, dvc: Dvc, run: Run) -> None:
    assert run("dvs", "import-dvc").code == 0
    before = tree(root, root.parent / "store")
    again = run("dvs", "import-dvc", "--json")
    assert (again.code, set(outcomes(again).values())) == (0, {"already_tracked"})
    assert tree(root, root.parent / "store") == before
    for path in TRACKED:
        dvc.object(md5(TRACKED[path])).unlink()
    assert set(outcomes(run("dvs", "import-dvc", "--json")).values()) == {"already_tracked"}


def test_case_52_a_dry_run_tells_the_same_and_writes_nothing(root: Path, dvc: Dvc, run: Run) -> None:
    before = tree(root, root.parent / "store")
    ran = run("dvs", "import-dvc", "--dry-run", "--json")
    assert (ran.code, outcomes(ran)) == (0, dict.fromkeys(TRACKED, "imported"))
    assert tree(root, root.parent / "store") == before
    assert objects(root) == []


def test_bytes_that_are_damaged_or_missing_are_rows_and_the_others_go_on(root: Path, dvc: Dvc, run: Run) -> None:
    for path in TRACKED:
        (root / path).unlink()
    dvc.object(md5(BIG)).chmod(0o644)
    dvc.object(md5(BIG)).write_bytes(bytes([BIG[0] ^ 1]) + BIG[1:])
    dvc.object(md5(b"1,2\n")).unlink()
    ran = run("dvs", "import-dvc", "--json")
    assert (ran.code, rules(ran)) == (1, {"data/img/deep/z.bin": "dvs-hash-mismatch", "data/one.csv": "dvs-storage-missing"})
    assert all(record["error"]["path"] == record["path"] for record in ran.records if "error" in record)
    assert sorted(lock(root)) == ["data/img/a b.png", "data/img/empty"]
    # Nothing wrong became an object, and the command finishes its work once the bytes are there.
    assert len(objects(root)) == 2
    dvc.object(md5(BIG)).write_bytes(BIG)
    put(root, "data/one.csv", b"1,2\n")
    again = run("dvs", "import-dvc", "--json")
    assert (again.code, again.records[-1]["summary"]["imported"]) == (0, 2)


def test_a_working_file_that_was_edited_is_not_taken_for_the_tracked_one(root: Path, dvc: Dvc, run: Run) -> None:
    put(root, "data/one.csv", b"9,2\n")
    assert run("dvs", "import-dvc").code == 0
    assert statuses(run)["data/one.csv"] == "unsynced"
    assert (root / "data/one.csv").read_bytes() == b"9,2\n"
    put(root, "data/two.csv.dvc", f"outs:\n- md5: {md5(b'gone')}\n  path: two.csv\n")
    put(root, "data/two.csv", b"edited")
    assert rules(run("dvs", "import-dvc", "--json")) == {"data/two.csv": "dvs-hash-mismatch"}


def test_old_caches_hash_text_with_line_ends_of_unix(root: Path, run: Run) -> None:
    dvc = Dvc(root, new=False)
    large = b"a,b\r\n" * 400_000
    small = b"x\r\ny\r\n"
    binary = b"\0\r\n"
    for path, data in {"small.csv": small, "binary": binary}.items():
        dvc.file(path, data, digits=md5(data if path == "binary" else data.replace(b"\r\n", b"\n")))
    # A line end that two blocks of 1 MiB share stays as it is.
    blocks = [large[start : start + (1 << 20)] for start in range(0, len(large), 1 << 20)]
    dvc.file("large.csv", large, digits=md5(b"".join(block.replace(b"\r\n", b"\n") for block in blocks)))
    ran = run("dvs", "import-dvc", "--json")
    assert (ran.code, set(outcomes(ran).values())) == (0, {"imported"})
    for path in ("small.csv", "binary", "large.csv"):
        (root / path).unlink()
    assert run("dvs", "get").code == 0
    assert ((root / "small.csv").read_bytes(), (root / "large.csv").read_bytes()) == (small, large)


LOCK = """\
schema: '2.0'
stages:
  prep:
    cmd: make
    deps:
    - path: in.csv
      md5: 00000000000000000000000000000000
    outs:
    - path: out.csv
      hash: md5
      md5: {out}
      size: 3
    - path: m.json
      hash: md5
      md5: {metric}
      size: 2
  train@1:
    cmd: make
    outs:
    - path: model
      hash: md5
      md5: {model}.dir
    - path: s1.json
      hash: md5
      md5: {metric}
"""
STAGES = """\
stages:
  prep:
    cmd: make
    outs: [out.csv]
    metrics:
    - m.json:
        cache: false
  train:
    foreach: [1, 2]
    do:
      cmd: make
      wdir: sub
      outs: [model]
      plots:
      - s${item}.json:
          cache: false
"""


def test_outputs_of_stages_but_for_those_that_git_keeps(root: Path, run: Run) -> None:
    dvc = Dvc(root)
    made = {"out": dvc.keep(b"out"), "metric": dvc.keep(b"{}"), "model": dvc.list({"w.bin": b"weights"})}
    put(root, "dvc.lock", LOCK.format(**made))
    put(root, "dvc.yaml", STAGES)
    ran = run("dvs", "import-dvc", "--json")
    assert (ran.code, outcomes(ran)) == (0, {"out.csv": "imported", "sub/model/w.bin": "imported"})
    assert "2 outputs that DVC leaves to git" in ran.err


def test_a_large_lock_and_one_of_the_first_schema(root: Path, run: Run) -> None:
    dvc = Dvc(root)
    digits = dvc.keep(b"same")
    stage = "  s{0}:\n    cmd: make\n    outs:\n    - path: o/{0}.csv\n      hash: md5\n      md5: {1}\n      size: 4\n"
    put(root, "dvc.lock", "schema: '2.0'\nstages:\n" + "".join(stage.format(number, digits) for number in range(5000)))
    put(root, "old/dvc.lock", f"prep:\n  cmd: make\n  outs:\n  - path: x.csv\n    md5: {digits}\n")
    ran = run("dvs", "import-dvc", "--json")
    assert (ran.code, ran.records[-1]["summary"]["imported"]) == (0, 5001)
    assert len(lock(root)) == 5001


@pytest.mark.parametrize(
    "path", ["../../out.csv", "/etc/passwd", "s3://bucket/x", ".git/hooks/post-commit", "x.dvs", ".dvs/refs/HEAD", "a/../../../b"]
)
def test_case_56_outputs_that_lie_elsewhere_are_refused(root: Path, run: Run, path: str) -> None:
    dvc = Dvc(root)
    digits = dvc.keep(b"evil")
    put(root, "evil.dvc", f"outs:\n- md5: {digits}\n  hash: md5\n  path: {path}\n")
    ran = run("dvs", "import-dvc", "--json")
    assert ran.code == 1
    assert set(rules(ran).values()) <= {"dvs-file-outside-repo", "dvs-own-file"}
    assert not (root / "dvs.lock").exists()


def test_case_56_a_list_of_a_folder_cannot_lead_out_of_it(root: Path, run: Run) -> None:
    dvc = Dvc(root)
    dvc.folder("img", {"../../x": b"evil"}, work=False)
    assert rules(run("dvs", "import-dvc", "--json")) == {"img": "path-outside"}
    dvc.folder("img", {"../.git/x": b"evil"}, work=False)
    assert run("dvs", "import-dvc", "--json").code == 1
    assert not (root / "dvs.lock").exists()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("outs: {", "yaml-syntax"),
        ("- 1\n", "dvs-import-format"),
        ("outs: 3\n", "dvs-import-format"),
        ("outs:\n- md5: x\n", "dvs-import-format"),
        ("outs:\n- md5: ../../../../etc/passwd\n  path: a\n", "dvs-import-format"),
        ("outs:\n- etag: abc\n  path: a\n", "dvs-import-hash"),
        ("outs:\n- md5: " + "0" * 32 + ".dir\n  path: a\n", "dvs-storage-missing"),
        ("x: &a [1]\ny: *a\n", "yaml-alias"),
    ],
)
def test_a_file_that_is_not_as_dvc_writes_it_is_a_row(root: Path, dvc: Dvc, run: Run, text: str, rule: str) -> None:
    put(root, "bad.dvc", text)
    ran = run("dvs", "import-dvc", "--json")
    assert ran.code == 1
    assert len(rules(ran)) == 1
    assert next(iter(rules(ran).values())).split("-")[0] == rule.split("-")[0]
    assert sorted(lock(root)) == sorted(TRACKED)


def test_files_of_a_folder_in_a_bucket(root: Path, run: Run) -> None:
    dvc = Dvc(root)
    digits = dvc.keep(b"cloud")
    listed = f"  - relpath: a/x.csv\n    md5: {digits}\n    size: 5\n    cloud:\n      origin:\n        etag: e\n"
    put(root, "dir.dvc", f"outs:\n- path: dir\n  hash: md5\n  files:\n{listed}")
    assert outcomes(run("dvs", "import-dvc", "--json")) == {"dir/a/x.csv": "imported"}


def test_a_clash_is_told_and_decided(root: Path, dvc: Dvc, run: Run) -> None:
    put(root, "data/one.csv", b"ours")
    assert run("dvs", "add", "data/one.csv").code == 0
    before = tree(root)
    ran = run("dvs", "import-dvc", "--json")
    assert (ran.code, rules(ran)) == (1, {"data/one.csv": "dvs-merge-conflict"})
    assert tree(root) == before
    skipped = outcomes(run("dvs", "import-dvc", "--conflict", "skip", "--json"))
    assert (skipped["data/one.csv"], skipped["data/img/empty"]) == ("already_tracked", "imported")
    taken = run("dvs", "import-dvc", "--conflict", "overwrite", "--json")
    assert (taken.code, outcomes(taken)["data/one.csv"]) == (0, "imported")
    assert (root / "data/one.csv").read_bytes() == b"ours"


def test_another_folder_comes_in_below_a_prefix_from_its_cache_and_its_remote(root: Path, tmp_path: Path, run: Run) -> None:
    dvc = Dvc(tmp_path / "other")
    dvc.file("a.csv", b"a")
    dvc.folder("sub/img", IMAGES)
    remote = tmp_path / "dvc-remote"
    digits = md5(b"a")
    (remote / "files/md5" / digits[:2]).mkdir(parents=True)
    dvc.object(digits).rename(remote / "files/md5" / digits[:2] / digits[2:])
    (tmp_path / "other/a.csv").unlink()
    assert run("dvs", "import-dvc", "../other", "-p", "theirs", "--json", "--dry-run").code == 1
    put(tmp_path / "other", ".dvc/config", "[core]\n    remote = s\n['remote \"s\"']\n    url = ../../dvc-remote\n")
    before = tree(tmp_path / "other")
    ran = run("dvs", "import-dvc", "../other", "-p", "theirs", "--json")
    assert (ran.code, sorted(outcomes(ran))) == (0, ["theirs/a.csv", *sorted(f"theirs/sub/img/{path}" for path in IMAGES)])
    assert tree(tmp_path / "other") == before
    assert run("dvs", "get").code == 0
    assert (root / "theirs/sub/img/deep/z.bin").read_bytes() == BIG


def test_the_cache_that_is_configured_or_given(root: Path, tmp_path: Path, run: Run) -> None:
    dvc = Dvc(root)
    dvc.file("a.csv", b"a", work=False)
    (root / ".dvc/cache").rename(tmp_path / "shared-cache")
    assert run("dvs", "import-dvc", "--dry-run").code == 1
    assert run("dvs", "import-dvc", "--dry-run", "--cache", "../shared-cache").code == 0
    put(root, ".dvc/config.local", "[cache]\n    dir = ../../shared-cache\n")
    assert run("dvs", "import-dvc").code == 0


def test_links_into_the_cache_become_files(root: Path, dvc: Dvc, run: Run) -> None:
    for path in ("data/one.csv", "data/img/deep/z.bin"):
        (root / path).unlink()
        (root / path).symlink_to(dvc.object(md5(TRACKED[path])))
    assert run("dvs", "import-dvc").code == 0
    assert not any((root / path).is_symlink() for path in TRACKED)
    assert statuses(run) == dict.fromkeys(TRACKED, "current")


def test_where_there_is_nothing_of_dvc(root: Path, run: Run) -> None:
    ran = run("dvs", "import-dvc", "--json")
    assert (ran.code, ran.records[-1]["error"]["rule"]) == (2, "dvs-no-files-matched")
