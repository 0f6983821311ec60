"""`headwater dvs import-dvs`: repositories of the third generation and old ones of the first, in place and from elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from resources import encoding
from schemas.dvs.oids import oid_of
from tests.orchestration.cli.conftest import Ran
from tests.orchestration.cli.test_dvs import git, objects, outcomes, put, statuses
from tests.orchestration.cli.test_dvs_import import audited, lock, rules, tree

Run = Callable[..., Ran]

BIG = os.urandom(100_000)
TEXT = b"a line of text\n" * 10_000
FILES = {"a.csv": b"1,2\n", "deep/big.bin": BIG, "text.txt": TEXT, "with space": b"x" * 500}
TIME = "2026-03-01T10:00:00Z"


def digits(data: bytes) -> str:
    return oid_of(data, "blake3").partition(":")[2]


def flat(root: Path, data: bytes) -> Path:
    return root.parent / "old-store" / digits(data)[:2] / digits(data)[2:]


def third(root: Path, *, config: str = "", git_too: bool = True) -> Path:
    """A repository as the third generation leaves it: some objects compressed, sidecars in a mirror tree, an audit log."""
    root.mkdir(parents=True)
    if git_too:
        git(root, "init", "--initial-branch=main")
    put(root, "dvs.toml", f'compression = "zstd"\n[backend]\npath = "{root.parent}/old-store"\n{config}')
    lines = [
        {
            "operation_id": "init-1",
            "timestamp": 1772359100,
            "user": "ann",
            "action": {"init": {"settings": {}, "project_path": "/x"}},
        }
    ]
    for path, data in FILES.items():
        packed = encoding.compressed(data) if path in ("text.txt", "with space") else None
        record = {
            "hashes": {"blake3": digits(data)},
            "size": len(data),
            "created_by": "ann",
            "add_time": TIME,
            "compression": "zstd" if packed else "none",
            "message": f"about {path}",
        }
        put(root, f".dvs/{path}.dvs", json.dumps(record))
        put(root, path, data)
        held = flat(root, data)
        held.parent.mkdir(parents=True, exist_ok=True)
        held.write_bytes(packed or data)
        held.chmod(0o440)
        file = {"path": path, "hashes": {"blake3": digits(data)}}
        action = {"add": {"file": file, "compression": "zstd"}}
        lines.append({"operation_id": "add-1", "timestamp": 1772359200, "user": "ann", "action": action})
        above = Path(path).parent
        with (root / above / ".gitignore").open("a") as ignore:
            ignore.write(f"/{Path(path).name}\n")
    put(root.parent, "old-store/audit.log.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    put(root, ".dvs/.cache/dvs.db", "stat cache")
    return root


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = third(tmp_path / "old")
    monkeypatch.chdir(root)
    return root


def test_the_third_generation_in_place(old: Path, run: Run) -> None:
    assert statuses(run) == dict.fromkeys(FILES, "current")
    ran = run("dvs", "import-dvs", "--json", "-m", "to the first")
    assert (ran.code, outcomes(ran)) == (0, dict.fromkeys(FILES, "imported"))
    assert ran.records[-1]["summary"]["objects_copied"] == 4
    config = (old / "dvs.toml").read_text()
    assert "backend" not in config
    assert f'storage_dir = "{old.parent}/old-store"' in config
    assert 'layout = "loose"' in config
    for path, data in FILES.items():
        sidecar = json.loads((old / f"{path}.dvs").read_text())
        assert sidecar["blake3_checksum"] == digits(data)
        assert (sidecar["message"], sidecar["saved_by"], sidecar["add_time"]) == (f"about {path}", "ann", TIME)
        assert not (old / ".dvs" / f"{path}.dvs").exists()
    assert lock(old) == {path: len(data) for path, data in FILES.items()}
    assert git(old, "check-ignore", *FILES, ".dvs/state").splitlines() == [
        "a.csv",
        "deep/big.bin",
        "text.txt",
        "with space",
        ".dvs/state",
    ]
    assert statuses(run) == dict.fromkeys(FILES, "current")
    # The old names are there still, for clones that are not converted; the new ones carry the same bytes.
    store = old.parent / "old-store"
    assert all(flat(old, data).is_file() for data in FILES.values())
    assert (store / "blake3" / digits(TEXT)[:2] / (digits(TEXT)[2:] + ".zst")).read_bytes()[:4] == encoding.MAGIC
    assert (store / "blake3" / digits(BIG)[:2] / digits(BIG)[2:]).read_bytes() == BIG
    assert audited(store)[-1]["operation"] == "import"
    assert audited(store)[-1]["reason"] == "to the first"
    assert run("dvs", "audit", "verify").code == 0
    assert run("dvs", "log", "--json").records[0]["op"] == "import"


def test_the_third_generation_again_changes_nothing(old: Path, run: Run) -> None:
    assert run("dvs", "import-dvs").code == 0
    before = tree(old, old.parent / "old-store")
    ran = run("dvs", "import-dvs", "--json")
    assert (ran.code, outcomes(ran)) == (0, dict.fromkeys(FILES, "already_tracked"))
    assert tree(old, old.parent / "old-store") == before


def test_old_names_go_when_asked_and_everything_comes_back_from_the_new_ones(old: Path, run: Run) -> None:
    assert run("dvs", "import-dvs", "--remove-old").code == 0
    assert not any(flat(old, data).exists() for data in FILES.values())
    for path in FILES:
        (old / path).unlink()
    assert run("dvs", "get").code == 0
    assert {path: (old / path).read_bytes() for path in FILES} == FILES
    assert run("dvs", "verify").code == 0


def test_case_52_a_dry_run_writes_nothing(old: Path, run: Run) -> None:
    before = tree(old, old.parent / "old-store")
    ran = run("dvs", "import-dvs", "--dry-run", "--json")
    assert (ran.code, outcomes(ran)) == (0, dict.fromkeys(FILES, "imported"))
    assert tree(old, old.parent / "old-store") == before


def test_case_53_objects_of_either_encoding_come_back_where_nothing_is_compressed(old: Path, run: Run) -> None:
    put(old, "dvs.toml", (old / "dvs.toml").read_text().replace('compression = "zstd"', 'compression = "none"'))
    assert run("dvs", "import-dvs", "--remove-old").code == 0
    store = old.parent / "old-store"
    assert (store / "blake3" / digits(TEXT)[:2] / digits(TEXT)[2:]).read_bytes() == TEXT
    for path in FILES:
        (old / path).unlink()
    assert run("dvs", "get").code == 0


def test_a_group_keeps_its_modes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    import grp

    group = grp.getgrgid(os.getgid()).gr_name
    monkeypatch.chdir(third(tmp_path / "old", config=f'group = "{group}"\n'))
    assert run("dvs", "import-dvs").code == 0
    assert 'permissions = "660"' in Path("dvs.toml").read_text()
    made = tmp_path / "old-store" / "blake3" / digits(BIG)[:2] / digits(BIG)[2:]
    assert (made.stat().st_mode & 0o7777, made.parent.stat().st_mode & 0o7777) == (0o440, 0o2770)


def test_a_sidecar_that_cannot_be_read_keeps_all_as_it_is(old: Path, run: Run) -> None:
    put(old, ".dvs/bad.dvs", "{")
    before = tree(old, old.parent / "old-store")
    ran = run("dvs", "import-dvs", "--json")
    assert (ran.code, rules(ran)) == (1, {"bad": "dvs-metadata-not-found"})
    assert tree(old, old.parent / "old-store") == before


def test_another_sidecar_in_the_way_keeps_all_as_it_is(old: Path, run: Run) -> None:
    put(old, "a.csv.dvs", json.dumps({"blake3_checksum": "0" * 64, "size": 1, "add_time": TIME}))
    before = tree(old, old.parent / "old-store")
    ran = run("dvs", "import-dvs", "--json")
    assert (ran.code, rules(ran)) == (1, {"a.csv": "dvs-merge-conflict"})
    assert tree(old, old.parent / "old-store") == before


def test_objects_that_are_missing_or_damaged_are_rows_and_the_text_is_converted(old: Path, run: Run) -> None:
    flat(old, b"1,2\n").unlink()
    damaged = flat(old, TEXT)
    damaged.chmod(0o644)
    damaged.write_bytes(damaged.read_bytes()[:-3])
    ran = run("dvs", "import-dvs", "--remove-old", "--json")
    assert (ran.code, rules(ran)) == (1, {"a.csv": "dvs-storage-missing", "text.txt": "object-rotten"})
    assert sorted(lock(old)) == sorted(FILES)
    assert damaged.exists()
    assert run("dvs", "add", "a.csv", "text.txt").code == 0
    assert run("dvs", "verify").code in (0, 1)


def test_an_old_repository_of_the_first_generation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    root = tmp_path / "old"
    root.mkdir()
    git(root, "init")
    monkeypatch.chdir(root)
    put(root, "dvs.yaml", f"storage_dir: {tmp_path}/store\npermissions: 432\n")
    put(root, ".gitignore", "*.log\r\n*.dvs\r\n*.dvs.toml\r\n")
    stored = tmp_path / "store" / "blake3" / digits(BIG)[:2] / digits(BIG)[2:]
    put(tmp_path, str(stored.relative_to(tmp_path)), BIG)
    put(root, "big.bin", BIG)
    put(root, "big.bin.dvs.toml", f'blake3_checksum = "{digits(BIG).upper()}"\nsize = {len(BIG)}\nadd_time = "{TIME}"\n')
    second = {"hashes": {"blake3": digits(BIG), "md5": "0" * 32}, "size": len(BIG), "created_by": "b", "add_time": TIME}
    put(root, "second.bin.dvs", json.dumps(second))
    ran = run("dvs", "import-dvs", "--json")
    assert (ran.code, outcomes(ran)) == (0, {"big.bin": "imported", "second.bin": "imported"})
    assert (root / ".gitignore").read_bytes() == b"*.log\r\n/big.bin\r\n/second.bin\r\n/.dvs/\r\n"
    assert digits(BIG) in (root / "big.bin.dvs.toml").read_text()
    assert json.loads((root / "second.bin.dvs").read_text())["saved_by"] == "b"
    assert lock(root) == {"big.bin": len(BIG), "second.bin": len(BIG)}
    assert (root / "dvs.yaml").read_text() == f"storage_dir: {tmp_path}/store\npermissions: 432\n"
    assert set(outcomes(run("dvs", "import-dvs", "--json")).values()) == {"already_tracked"}


@pytest.fixture
def root(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> Path:
    root = tmp_path / "work"
    root.mkdir()
    git(root, "init", "--initial-branch=main")
    monkeypatch.chdir(root)
    assert run("dvs", "init", "../store").code == 0
    return root


def test_from_elsewhere_files_objects_and_the_audit_log_come(root: Path, old: Path, run: Run) -> None:
    before = tree(old, old.parent / "old-store")
    ran = run("dvs", "import-dvs", "../old", "--prefix", "old", "--json")
    assert (ran.code, outcomes(ran)) == (0, {f"old/{path}": "imported" for path in FILES})
    assert tree(old, old.parent / "old-store") == before
    assert len(objects(root)) == len(FILES)
    assert json.loads((root / "old/a.csv.dvs").read_text())["saved_by"] == "ann"
    lines = audited(root.parent / "store")
    assert [(line["operation_id"], line["operation"], line["user"]) for line in lines[:2]] == [
        ("init-1", "init", "ann"),
        ("add-1", "add", "ann"),
    ]
    assert sorted(lines[1]["files"]) == sorted(f"old/{path}" for path in FILES)  # type: ignore[call-overload]
    assert (lines[1]["time"], lines[2]["operation"], len(lines)) == ("2026-03-01T10:00:00Z", "import", 3)
    assert run("dvs", "audit", "verify").code == 0
    assert run("dvs", "get").code == 0
    assert (root / "old/text.txt").read_bytes() == TEXT
    again = run("dvs", "import-dvs", "../old", "--prefix", "old", "--json")
    assert (again.code, set(outcomes(again).values())) == (0, {"already_tracked"})
    assert len(audited(root.parent / "store")) == 3


def test_from_elsewhere_clashes_write_nothing(root: Path, old: Path, run: Run) -> None:
    put(root, "a.csv", "ours")
    assert run("dvs", "add", "a.csv").code == 0
    before = tree(root, root.parent / "store")
    ran = run("dvs", "import-dvs", "../old", "--json")
    assert (ran.code, rules(ran)) == (1, {"a.csv": "dvs-merge-conflict"})
    assert tree(root, root.parent / "store") == before
    assert run("dvs", "import-dvs", ".", "--prefix", "x").code == 2


def test_a_repository_of_the_third_generation_can_be_merged_as_it_is(root: Path, old: Path, run: Run) -> None:
    ran = run("dvs", "merge-repo", "../old", "--json")
    assert (ran.code, outcomes(ran)) == (0, dict.fromkeys(FILES, "merged"))
    assert "hashes" not in (root / "a.csv.dvs").read_text()
