"""`headwater dvs import-url`: files from a web server, a bucket and a path, and what keeps them from being brought."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.orchestration.cli.conftest import Ran
from tests.orchestration.cli.test_dvs import git, objects, outcomes, put, statuses
from tests.orchestration.cli.test_dvs_import import audited, lock, rules, tree
from tests.resources.dvs.test_fetching import Handler, serving

Run = Callable[..., Ran]

BIG = os.urandom(150_000)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    root = tmp_path / "work"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    monkeypatch.chdir(root)
    assert run("dvs", "init", "../store").code == 0
    return root


class Site:
    """A web server with files that can change; `asked` are the requests."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {"/big.bin": BIG, "/a.csv": b"1,2\n"}
        self.etags = True

    def answer(self, handler: Handler) -> None:
        data = self.files.get(handler.path.partition("?")[0])
        if data is None:
            handler.say(404)
            return
        etag = f'"{hashlib.sha256(data).hexdigest()[:8]}"'
        if self.etags and handler.headers.get("If-None-Match") == etag:
            handler.say(304, ETag=etag)
        else:
            handler.say(200, data, **({"ETag": etag} if self.etags else {}))


@pytest.fixture
def site() -> Iterator[tuple[str, Site, list[dict[str, str]]]]:
    made = Site()
    with serving(made.answer) as (url, asked):
        yield url, made, asked


Web = tuple[str, Site, list[dict[str, str]]]


def brought(run: Run, *words: str) -> Ran:
    return run("dvs", "import-url", *words, "--allow-loopback", "--json")


def test_a_file_is_tracked_with_where_it_came_from(root: Path, site: Web, run: Run) -> None:
    url, _made, _asked = site
    expect = f"sha256:{hashlib.sha256(BIG).hexdigest()}"
    ran = brought(run, f"{url}/big.bin?key=secret", "data/", "--expect", expect, "-m", "from the web")
    assert (ran.code, outcomes(ran)) == (0, {"data/big.bin": "imported"})
    assert (root / "data/big.bin").read_bytes() == BIG
    sidecar = json.loads((root / "data/big.bin.dvs").read_text())
    assert (sidecar["message"], sidecar["size"]) == ("from the web", len(BIG))
    etag = f'"{hashlib.sha256(BIG).hexdigest()[:8]}"'
    assert sidecar["source"] == {"url": f"{url}/big.bin", "etag": etag, "oid": f"blake3:{digits(BIG)}"}
    assert lock(root) == {"data/big.bin": len(BIG)}
    assert statuses(run) == {"data/big.bin": "current"}
    assert [(line["operation"], line["reason"]) for line in audited(root.parent / "store")] == [("import", "from the web")]
    assert not [path for path, data in tree(root, root.parent).items() if b"secret" in data]
    assert git(root, "check-ignore", "data/big.bin").strip() == "data/big.bin"


def test_an_unchanged_file_is_not_fetched_again_and_a_changed_one_is(root: Path, site: Web, run: Run) -> None:
    url, made, asked = site
    assert brought(run, f"{url}/a.csv").code == 0
    before = tree(root, root.parent / "store")
    again = brought(run, f"{url}/a.csv")
    assert (again.code, outcomes(again)) == (0, {"a.csv": "already_tracked"})
    assert asked[-1]["if-none-match"].startswith('"')
    assert tree(root, root.parent / "store") == before
    made.files["/a.csv"] = b"1,2\n3,4\n"
    changed = brought(run, f"{url}/a.csv")
    assert (changed.code, outcomes(changed)) == (0, {"a.csv": "imported"})
    assert (root / "a.csv").read_bytes() == b"1,2\n3,4\n"
    assert lock(root) == {"a.csv": 8}
    # The same bytes under another tag: only what is said of them changes.
    made.etags = False
    assert brought(run, f"{url}/a.csv").code == 0
    assert "etag" not in json.loads((root / "a.csv.dvs").read_text())["source"]


def test_a_file_that_was_changed_and_added_here_is_ours_now(root: Path, site: Web, run: Run) -> None:
    url, made, asked = site
    assert brought(run, f"{url}/a.csv").code == 0
    put(root, "a.csv", "ours")
    assert run("dvs", "add", "a.csv").code == 0
    ran = brought(run, f"{url}/a.csv")
    assert (ran.code, rules(ran)) == (1, {"a.csv": "dvs-merge-conflict"})
    assert "if-none-match" not in asked[-1]
    assert brought(run, f"{url}/a.csv", "--conflict", "overwrite").code == 0
    assert (root / "a.csv").read_bytes() == made.files["/a.csv"]


def test_an_unchanged_file_brings_back_what_was_deleted_and_leaves_edits_alone(root: Path, site: Web, run: Run) -> None:
    url, _made, _asked = site
    assert brought(run, f"{url}/a.csv").code == 0
    (root / "a.csv").unlink()
    assert outcomes(brought(run, f"{url}/a.csv")) == {"a.csv": "already_tracked"}
    assert (root / "a.csv").read_bytes() == b"1,2\n"
    put(root, "a.csv", "edited")
    assert brought(run, f"{url}/a.csv").code == 0
    assert (root / "a.csv").read_text() == "edited"


def test_unsaved_bytes_are_never_replaced(root: Path, site: Web, run: Run) -> None:
    url, made, _asked = site
    put(root, "a.csv", "mine, nowhere else")
    before = tree(root)
    ran = brought(run, f"{url}/a.csv")
    assert (ran.code, rules(ran)) == (1, {"a.csv": "dvs-unsaved"})
    assert tree(root) == before
    apart = brought(run, f"{url}/a.csv", "--no-file")
    assert (apart.code, outcomes(apart)) == (0, {"a.csv": "imported"})
    assert (root / "a.csv").read_text() == "mine, nowhere else"
    made.files["/a.csv"] = b"second\n"
    assert brought(run, f"{url}/a.csv").code == 1
    assert (root / "a.csv").read_text() == "mine, nowhere else"
    assert brought(run, f"{url}/a.csv", "--rescue").code == 0
    assert (root / "a.csv").read_bytes() == b"second\n"
    assert f"blake3:{digits(b'mine, nowhere else')}" in objects(root)


def digits(data: bytes) -> str:
    from blake3 import blake3

    return blake3(data).hexdigest()


def test_a_file_tracked_from_elsewhere_is_a_clash(root: Path, site: Web, run: Run) -> None:
    url, _made, _asked = site
    put(root, "a.csv", "ours")
    assert run("dvs", "add", "a.csv").code == 0
    before = tree(root)
    ran = brought(run, f"{url}/a.csv")
    assert (ran.code, rules(ran)) == (1, {"a.csv": "dvs-merge-conflict"})
    assert tree(root) == before
    assert outcomes(brought(run, f"{url}/a.csv", "--conflict", "overwrite")) == {"a.csv": "imported"}
    assert (root / "a.csv").read_bytes() == b"1,2\n"


@pytest.mark.parametrize("expect", ["blake3:" + "0" * 64, "md5:" + "0" * 32])
def test_other_bytes_than_expected_are_not_kept(root: Path, site: Web, run: Run, expect: str) -> None:
    url, _made, _asked = site
    ran = brought(run, f"{url}/big.bin", "--expect", expect)
    assert (ran.code, ran.records[-1]["error"]["rule"]) == (1, "dvs-hash-mismatch")
    assert objects(root) == []
    assert not (root / "big.bin").exists()
    for bad in ("sha256:12", "crc32:00", "md5:xyz", ""):
        assert brought(run, f"{url}/big.bin", "--expect", bad).records[-1]["error"]["rule"] == "oid-malformed"


def test_md5_is_enough_where_that_is_what_is_known(root: Path, site: Web, run: Run) -> None:
    url, _made, _asked = site
    given = f"MD5:{hashlib.md5(BIG, usedforsecurity=False).hexdigest().upper()}"
    assert brought(run, f"{url}/big.bin", "--expect", given).code == 0


def test_case_52_a_dry_run_asks_and_writes_nothing(root: Path, site: Web, run: Run) -> None:
    url, _made, _asked = site
    before = tree(root, root.parent / "store")
    ran = brought(run, f"{url}/big.bin", "--dry-run")
    assert (ran.code, outcomes(ran), ran.records[0]["size"]) == (0, {"big.bin": "imported"}, len(BIG))
    assert tree(root, root.parent / "store") == before
    assert brought(run, f"{url}/a.csv").code == 0
    assert outcomes(brought(run, f"{url}/a.csv", "--dry-run")) == {"a.csv": "already_tracked"}


def test_what_is_not_allowed(root: Path, site: Web, run: Run) -> None:
    url, _made, asked = site
    for words, rule in (
        ((f"{url}/a.csv",), "url-scheme"),
        ((url.replace("http:", "https:") + "/a.csv",), "fetch-address"),
        (("https://u:secret@example.org/a",), "url-credentials"),
        (("ftp://example.org/a",), "url-scheme"),
        (("https://example.org/",), "usage"),
        (("../work/inside",), "usage"),
        ((f"{url}/a.csv", "../out.csv"), "dvs-file-outside-repo"),
    ):
        ran = run("dvs", "import-url", *words, "--json")
        assert ran.code != 0
        assert ran.records[-1]["error"]["rule"] == rule
        assert "secret" not in ran.out + ran.err
    assert asked == []
    assert brought(run, f"{url}/gone").records[-1]["error"]["rule"] == "fetch-refused"
    assert brought(run, f"{url}/big.bin", "--max-size", "1 KiB").records[-1]["error"]["rule"] == "file-too-large"
    for path in (".git/hooks/post-commit", "x.dvs", ".dvs/refs/HEAD"):
        assert rules(brought(run, f"{url}/a.csv", path)) == {path: "dvs-own-file"}
    assert not (root / "dvs.lock").exists()


def test_a_path_and_a_folder_of_this_machine(root: Path, tmp_path: Path, run: Run) -> None:
    put(tmp_path, "outside/big.bin", BIG)
    put(tmp_path, "outside/sub/a.csv", "1")
    put(tmp_path, "outside/sub/a.csv.dvs", "{}")
    put(tmp_path, "outside/.git/config", "")
    (tmp_path / "outside/link").symlink_to("/etc/passwd")
    # What a set that waits to be completed has staged there is somebody else's.
    put(tmp_path, "outside/.a.csv.00000000-999999-1.hwtmp", "staged")
    os.utime(tmp_path / "outside/.a.csv.00000000-999999-1.hwtmp", (0, 0))
    before = tree(tmp_path / "outside")
    assert outcomes(run("dvs", "import-url", "../outside/big.bin", "--json")) == {"big.bin": "imported"}
    ran = run("dvs", "import-url", str(tmp_path / "outside"), "got", "--json")
    assert (ran.code, outcomes(ran)) == (0, {"got/big.bin": "imported", "got/sub/a.csv": "imported"})
    assert (root / "got/sub/a.csv").read_text() == "1"
    assert tree(tmp_path / "outside") == before
    # Where a file lay on somebody's machine is nobody else's business.
    assert "source" not in (root / "big.bin.dvs").read_text()
    assert outcomes(run("dvs", "import-url", f"file://{tmp_path}/outside/sub/a.csv", "b.csv", "--json")) == {"b.csv": "imported"}
    assert run("dvs", "import-url", "../gone", "--json").records[-1]["error"]["rule"] == "dvs-file-not-found"
    again = run("dvs", "import-url", "../outside", "got", "--json")
    assert (again.code, sorted(outcomes(again))) == (0, ["got/outside/big.bin", "got/outside/sub/a.csv"])


def test_objects_and_folders_of_a_bucket(root: Path, run: Run, s3_url: str, tmp_path: Path) -> None:
    from resources.storage import open_storage

    bucket = open_storage(s3_url, state=tmp_path / "state")
    bucket.write("set/big.bin", BIG)
    bucket.write("set/sub/a.csv", b"1")
    ran = run("dvs", "import-url", f"{s3_url}/set/big.bin", "--json")
    assert (ran.code, outcomes(ran)) == (0, {"big.bin": "imported"})
    source = json.loads((root / "big.bin.dvs").read_text())["source"]
    assert source["url"] == f"{s3_url}/set/big.bin"
    assert source["etag"]
    assert outcomes(run("dvs", "import-url", f"{s3_url}/set/big.bin", "--json")) == {"big.bin": "already_tracked"}
    folder = run("dvs", "import-url", f"{s3_url}/set/", "data", "--json")
    assert (folder.code, outcomes(folder)) == (0, {"data/big.bin": "imported", "data/sub/a.csv": "imported"})
    bucket.write("set/sub/a.csv", b"22")
    again = run("dvs", "import-url", f"{s3_url}/set/sub/a.csv", "data/sub/a.csv", "--json")
    assert (again.code, outcomes(again)) == (0, {"data/sub/a.csv": "imported"})
    assert (root / "data/sub/a.csv").read_text() == "22"
    assert run("dvs", "import-url", f"{s3_url}/none", "x", "--json").records[-1]["error"]["rule"] == "dvs-file-not-found"
