"""What is found wrong with the text of a repository, file by file."""

from __future__ import annotations

import json
import os
from pathlib import Path

from resources.dvs.findings import repairs, text_findings
from resources.storage import open_storage
from schemas.canonical import canonical_json
from schemas.dvs.manifest import Entry, Manifest, read_manifest, write_manifest

ONE, TWO = "blake3:" + "1" * 64, "blake3:" + "ab" * 32


def sidecar(oid: str = ONE, size: int = 3, **more: object) -> str:
    algorithm, _, digits = oid.partition(":")
    record = {
        "blake3_checksum": digits,
        "size": size,
        "add_time": "2026-01-02T03:04:05Z",
        "message": "",
        "saved_by": "ann",
        **more,
    }
    return json.dumps(record if algorithm == "blake3" else {**record, "hash_algo": algorithm})


def repository(root: Path, files: dict[str, str], entries: dict[str, str] | None = None) -> list[tuple[str, str, str]]:
    """The findings (rule, path, message) of a repository in the folder `r` of a workspace."""
    texts = {"dvs.toml": 'storage_dir = "/s"\n', **files}
    if entries is not None:
        texts["dvs.lock"] = write_manifest(Manifest({path: Entry(path, oid, 3) for path, oid in entries.items()})).decode()
    for name, text in texts.items():
        path = root / "r" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return [(found.rule, found.path, found.message) for found in text_findings(open_storage(root), "r")]


def test_a_repository_in_order_has_no_findings(tmp_path: Path) -> None:
    assert repository(tmp_path, {"a.csv.dvs": sidecar(), "b/c.bin.dvs": sidecar(TWO)}, {"a.csv": ONE, "b/c.bin": TWO}) == []
    assert repository(tmp_path / "empty", {}) == []


def test_manifest_and_sidecars_that_disagree_are_named_and_only_the_manifest_is_mended(tmp_path: Path) -> None:
    files = {"lacking.dvs": sidecar(), "other.dvs": sidecar(TWO)}
    found = repository(tmp_path, files, {"other": ONE, "orphan": ONE})
    assert [(rule, path) for rule, path, _ in found] == [("dvs-drift", "r/dvs.lock")] * 3
    assert sorted(message.split()[0] for _, _, message in found) == ["lacking", "orphan", "other"]
    storage = open_storage(tmp_path)
    (change,) = repairs(storage, "r", text_findings(storage, "r"))
    storage.commit([change], label="repair")
    held = read_manifest((tmp_path / "r/dvs.lock").read_bytes()).entries
    assert {path: entry.oid for path, entry in held.items()} == {"lacking": ONE, "orphan": ONE, "other": TWO}
    assert repairs(storage, "r", text_findings(storage, "r")) == []


def test_a_missing_manifest_is_one_finding_and_is_written(tmp_path: Path) -> None:
    ((rule, path, message),) = repository(tmp_path, {"a.dvs": sidecar(), "b.dvs": sidecar()})
    assert (rule, path) == ("dvs-drift", "r/dvs.lock")
    assert "2 files" in message
    storage = open_storage(tmp_path)
    (change,) = repairs(storage, "r", text_findings(storage, "r"))
    assert change.data is not None
    assert sorted(read_manifest(change.data).entries) == ["a", "b"]


def test_two_sidecars_that_say_different_things_are_found_and_equal_ones_are_not(tmp_path: Path) -> None:
    toml = f'blake3_checksum = "{"1" * 64}"\nsize = 3\nadd_time = "2026-01-02T03:04:05Z"\n'
    assert repository(tmp_path / "same", {"a.dvs": sidecar(), "a.dvs.toml": toml}, {"a": ONE}) == []
    ((rule, path, _),) = repository(tmp_path / "other", {"a.dvs": sidecar(TWO), "a.dvs.toml": toml}, {"a": ONE})
    assert (rule, path) == ("dvs-sidecars-disagree", "r/a.dvs")


def test_a_sidecar_that_cannot_be_read_is_one_finding_with_its_line(tmp_path: Path) -> None:
    files = {"a.dvs": '{\n  "blake3_checksum": "12",\n  "size": 3\n}\n'}
    storage = open_storage(tmp_path)
    ((rule, path, _),) = repository(tmp_path, files, {"a": ONE})
    assert (rule, path) == ("dvs-sidecar", "r/a.dvs")
    assert text_findings(storage, "r")[0].line == 2


def test_capitals_weak_hashes_colliding_names_and_second_configurations_are_found(tmp_path: Path) -> None:
    assert repository(tmp_path / "1", {"a.dvs": sidecar("blake3:" + "AB" * 32)}, {"a": TWO})[0][:2] == (
        "dvs-upper-case",
        "r/a.dvs",
    )
    weak = "xxh3:" + "0" * 16
    assert repository(tmp_path / "2", {"a.dvs": sidecar(weak)}, {"a": weak})[0][0] == "dvs-weak-hash"
    found = repository(tmp_path / "3", {"Data/a.dvs": sidecar(), "data/b.dvs": sidecar()}, {"Data/a": ONE, "data/b": ONE})
    assert [rule for rule, _, _ in found] == ["dvs-path-collision"]
    assert repository(tmp_path / "4", {"dvs.json": '{"storage_dir": "/t"}'})[0][:2] == ("dvs-config-twice", "r/dvs.json")


def test_the_third_generation_needs_no_manifest_and_keeps_its_sidecars_apart(tmp_path: Path) -> None:
    third = '[backend]\npath = "/s"\n'
    held = {
        "hashes": {"blake3": "1" * 64},
        "size": 3,
        "created_by": "ann",
        "add_time": "2026-01-02T03:04:05Z",
        "compression": "none",
    }
    assert repository(tmp_path, {"dvs.toml": third, ".dvs/a/b.csv.dvs": json.dumps(held)}) == []
    ((rule, path, _),) = repository(tmp_path, {"dvs.toml": third, ".dvs/a/b.csv.dvs": json.dumps({**held, "size": -1})})
    assert (rule, path) == ("dvs-sidecar", "r/.dvs/a/b.csv.dvs")


def test_many_drifting_files_are_not_named_one_by_one(tmp_path: Path) -> None:
    found = repository(tmp_path, {}, {f"f{number:04}": ONE for number in range(1203)})
    assert len(found) == 1001
    assert "203 more" in found[-1][2] or any("203 more" in message for _, _, message in found)


def test_names_that_are_not_unicode_are_said_in_a_way_that_any_report_can_hold(tmp_path: Path) -> None:
    (tmp_path / "r").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/r/b\xff.dvs")).write_text(sidecar(), encoding="utf-8")
    found = repository(tmp_path, {}, {})
    assert [(rule, path) for rule, path, _ in found] == [("dvs-sidecar", "r/b\\udcff.dvs")]
    assert canonical_json([list(row) for row in found])
