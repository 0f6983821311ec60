"""Versioned data as a kind of store: beside other stores, with its report, and with data that no artifact takes the place of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest

import resources.statcache
from assets.dvs.report_picture import Bar, Report, draw, size_text
from tests.orchestration.cli.conftest import Ran
from tests.orchestration.cli.conftest import run as run
from tests.orchestration.cli.test_dvs import bare as bare
from tests.orchestration.cli.test_dvs import put
from tests.orchestration.cli.test_dvs import root as root

Run = Callable[..., Ran]

PROJECT = """\
version: 1
tables:
  person:
    columns:
      id: {type: integer}
      name: {type: text}
    primary_key: [id]
"""


@pytest.fixture
def joined(root: Path, run: Run) -> Path:
    """One root with versioned data, a tables project and notes."""
    put(root, "headwater.toml", "version = 1\n")
    put(root, "project/project.yaml", PROJECT)
    put(root, "project/data/person.csv", "id,name\n1,Ann\n")
    put(root, ".qipu/notes/qp-one1-one.md", "---\nid: qp-one1\ntitle: One\n---\n\nText.\n")
    put(root, "data/train.csv", "a,b\n1,2\n")
    put(root, "data/again.csv", "a,b\n1,2\n")
    put(root, "big.bin", b"\0" * 5000)
    assert run("dvs", "add", "data", "big.bin", "-m", "first").code == 0
    return root


def test_the_three_kinds_lie_beside_one_another_and_are_all_built(joined: Path, run: Run) -> None:
    listed = {record.get("store") for record in run("ls", "--json").records}
    assert {"dvs/root", "tables/project", "notes/.qipu"} <= listed
    built = run("build", "--json", "--yes")
    assert built.code == 0
    outcomes = {record["artifact"]: record["outcome"] for record in built.records if "artifact" in record}
    assert outcomes["dvs/root/manifest_report"] == outcomes["tables/project/playground_db"] == "built"
    assert set(outcomes.values()) == {"built"}
    again = run("build", "--json")
    assert {record["outcome"] for record in again.records if "artifact" in record} == {"fresh"}
    found = run("query", "select path, equal_files from root.files order by path", "--json").records
    assert [(row["path"], row["equal_files"]) for row in found if "path" in row] == [
        ("big.bin", 1),
        ("data/again.csv", 2),
        ("data/train.csv", 2),
    ]


def test_data_is_not_read_when_the_workspace_is_looked_at(joined: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    really = resources.statcache._hash_entry

    def hash_entry(opened: object, name: str, where: str) -> object:
        hashed.append(f"{where}/{name}" if where else name)
        return really(opened, name, where)  # type: ignore[arg-type]  # as given

    monkeypatch.setattr(resources.statcache, "_hash_entry", hash_entry)
    assert run("status").code == 0
    assert "data/train.csv.dvs" in hashed
    assert "project/data/person.csv" in hashed
    assert not {"data/train.csv", "data/again.csv", "big.bin"} & set(hashed)


def test_a_changed_sidecar_makes_the_report_stale_and_changed_data_does_not(joined: Path, run: Run) -> None:
    run("build", "--yes")
    put(joined, "data/train.csv", "a,b\n1,3\n")
    assert run("status", "dvs/root/manifest_report", "--exit-code").code == 0
    run("dvs", "add", "data/train.csv", "-m", "second")
    assert run("status", "dvs/root/manifest_report", "--exit-code").code == 4
    run("build", "dvs/root/manifest_report")
    table = pq.read_table(joined / ".headwater/artifacts/dvs/root/files.parquet").to_pydict()
    assert dict(zip(table["path"], table["message"], strict=True)) == {
        "big.bin": "first",
        "data/again.csv": "first",
        "data/train.csv": "second",
    }
    assert table["in_manifest"] == [True] * 3
    folders = pq.read_table(joined / ".headwater/artifacts/dvs/root/folders.parquet").to_pylist()
    assert folders == [
        {"folder": "", "files": 1, "bytes": 5000, "files_below": 3, "bytes_below": 5016},
        {"folder": "data", "files": 2, "bytes": 16, "files_below": 2, "bytes_below": 16},
    ]


def test_nothing_is_built_in_the_place_of_versioned_data(joined: Path, run: Run) -> None:
    theirs = put(joined, "project/playground.db", b"SQLite format 3\0 of somebody")
    assert run("dvs", "add", "project/playground.db").code == 0
    for words in (("build",), ("build", "--yes"), ("build", "--force", "--yes")):
        ran = run(*words, "tables/project/playground_db", "--json")
        assert ran.code == 1
        (record,) = [record for record in ran.records if record.get("artifact") == "tables/project/playground_db"]
        assert record["outcome"] == "refused"
        assert record["error"]["rule"] == "output-versioned"
        assert record["error"]["path"] == "project/playground.db"
        assert theirs.read_bytes() == b"SQLite format 3\0 of somebody"


@pytest.mark.parametrize("named_by", ["sidecar", "manifest"])
def test_clean_leaves_what_is_versioned_even_when_we_built_it(joined: Path, run: Run, named_by: str) -> None:
    assert run("build", "--yes").code == 0
    assert run("dvs", "add", "project/playground.db").code == 0
    if named_by == "manifest":
        (joined / "project/playground.db.dvs").unlink()
    else:
        (joined / "dvs.lock").unlink()
    ran = run("clean", "tables/project/playground_db", "--json")
    kept = next(record for record in ran.records if record.get("path") == "project/playground.db")
    assert kept["reason"] == "it is versioned data"
    assert (joined / "project/playground.db").exists()
    (joined / "project/playground.db.dvs").unlink(missing_ok=True)
    (joined / "dvs.lock").unlink(missing_ok=True)
    run("clean", "tables/project/playground_db")
    assert not (joined / "project/playground.db").exists()


def test_check_names_what_is_wrong_with_the_text_and_brings_the_manifest_in_step(joined: Path, run: Run) -> None:
    assert run("check").code == 0
    put(joined, "data/again.csv.dvs", (joined / "data/again.csv.dvs").read_text().replace('"size": 8', '"size": "8"'))
    lock = (joined / "dvs.lock").read_text()
    put(joined, "dvs.lock", "\n".join(line for line in lock.splitlines() if "big.bin" not in line) + "\n")
    ran = run("check", "--json")
    assert ran.code == 3
    rules = sorted((record["rule"], record["path"]) for record in ran.records if "rule" in record)
    assert rules == [("dvs-drift", "dvs.lock"), ("dvs-sidecar", "data/again.csv.dvs")]
    assert run("check", "--fix", "--yes").code == 3
    assert (joined / "dvs.lock").read_text() == lock
    refused = run("build", "dvs/root/manifest_report", "--json")
    assert refused.records[0]["outcome"] == "blocked"


def test_git_setup_installs_the_merge_driver_that_init_names(joined: Path, run: Run) -> None:
    assert "dvs.lock merge=dvs-lock" in (joined / ".gitattributes").read_text()
    assert run("git", "setup").code == 0
    assert "headwater dvs merge-driver" in (joined / ".git/config").read_text()


def test_the_picture_is_well_formed_whatever_the_names_are(tmp_path: Path) -> None:
    bars = [Bar(name, size, 1) for name, size in (("<&>\x00\ud800", 10), ("x" * 80, 5), ("", 0))]
    report = Report(3, 15, 10, [("not a day", 5), ("2026-01-02", 15)], bars, bars, bars)
    drawn = ElementTree.fromstring(draw(report))
    assert drawn.tag.endswith("svg")
    assert "3 files, 15 B" in {text.text for text in drawn.iter() if text.tag.endswith("text")}
    assert ElementTree.fromstring(draw(Report(0, 0, 0, [], [], [], []))) is not None


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (150 << 20, "150 MiB"), (5 << 50, "5.0 PiB")]
)
def test_sizes_are_written_as_people_read_them(size: int, text: str) -> None:
    assert size_text(size) == text
