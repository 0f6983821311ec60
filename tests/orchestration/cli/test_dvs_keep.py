"""`headwater dvs verify` and `audit`: damage anywhere is found, and nothing is changed by looking."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from resources.dvs.audit import AuditLog, new_record, read_line
from resources.dvs.leases import LASTS, StorageBusy, hold, leases
from resources.storage.local import LocalStorage
from tests.orchestration.cli.test_dvs import Run, bare, put, root

__all__ = ["bare", "root"]


def test_whole_objects_are_ok_and_subsets_cover_all(root: Path, run: Run) -> None:
    for number in range(30):
        put(root, f"f{number}", f"file {number}")
    put(root, "big", os.urandom(100_000))
    assert run("dvs", "add", ".").code == 0
    every = {record["oid"] for record in run("dvs", "verify", "--json").records if "oid" in record}
    assert len(every) == 31
    parts: set[str] = set()
    for part in (1, 2, 3):
        ran = run("dvs", "verify", "--subset", f"{part}/3", "--json")
        assert ran.code == 0
        oids = {record["oid"] for record in ran.records if "oid" in record}
        assert not parts & oids
        parts |= oids
    assert parts == every
    for bad in ("0/3", "4/3", "x", "1", "1/0"):
        assert run("dvs", "verify", "--subset", bad).code == 2


def test_a_flipped_byte_anywhere_in_an_object_or_pack_is_found(root: Path, run: Run) -> None:
    for number in range(40):
        put(root, f"f{number}", os.urandom(random.Random(number).randrange(1, 2_000)))
    put(root, "big", os.urandom(70_000))
    assert run("dvs", "add", ".").code == 0
    stored = [path for folder in ("packs", "blake3") for path in (root.parent / "store" / folder).rglob("*") if path.is_file()]
    assert len(stored) == 2
    for path in stored:
        path.chmod(0o600)
        whole = path.read_bytes()
        chance = random.Random(len(whole))
        for at in sorted(chance.sample(range(len(whole)), 25)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
            ran = run("dvs", "verify", "--json")
            assert ran.code == 1, (path.name, at)
            assert ran.records[-1]["summary"].keys() & {"damaged", "missing"}
        path.write_bytes(whole)
        assert run("dvs", "verify").code == 0


def test_a_missing_object_is_said_with_its_files(root: Path, run: Run) -> None:
    import shutil

    put(root, "a.csv", "1")
    assert run("dvs", "add", ".").code == 0
    shutil.rmtree(root.parent / "store" / "packs")
    ran = run("dvs", "verify", "--json")
    assert (ran.code, ran.records[0]["result"], ran.records[0]["paths"]) == (1, "missing", ["a.csv"])


def test_with_little_time_the_oldest_proof_comes_first_and_the_end_says_how_old_it_is(root: Path, run: Run) -> None:
    for number in range(3):
        put(root, f"f{number}", f"file {number}")
    assert run("dvs", "add", ".").code == 0
    seen = []
    for number in range(3):
        ran = run("dvs", "verify", "--minutes", "0", "--json")
        assert ran.code == 0
        seen += [record["oid"] for record in ran.records if "oid" in record]
        assert ran.records[-1]["summary"] == {"ok": 1}
        proofs = ran.records[-1]["proofs"]
        assert (proofs["named"], proofs["proved"], proofs["never"], proofs["bad"]) == (3, number + 1, 2 - number, 0)
    assert len(set(seen)) == 3
    assert "the oldest proof is of 20" in run("dvs", "verify").out
    assert run("dvs", "verify", "--minutes", "-1").code == 2


class TestAudit:
    def test_every_change_of_a_line_is_found(self, root: Path, run: Run) -> None:
        for number in range(5):
            put(root, "a.csv", str(number))
            assert run("dvs", "add", ".", "-m", f"reason {number}").code == 0
        log = root.parent / "store" / "audit.log.jsonl"
        whole = log.read_bytes()
        assert run("dvs", "audit", "verify").code == 0
        lines = whole.splitlines(keepends=True)
        damaged = {
            "changed": [*lines[:2], lines[2].replace(b"reason 2", b"reason 9"), *lines[3:]],
            "removed": [*lines[:2], *lines[3:]],
            "put in": [*lines[:2], lines[1], lines[1].replace(b"reason 1", b"forged 1"), *lines[2:]],
            "cut": lines[:-1],
            "begun anew": lines[2:],
            "no JSON": [*lines[:3], b"nonsense\n", *lines[3:]],
        }
        for what, left in damaged.items():
            log.write_bytes(b"".join(left))
            ran = run("dvs", "audit", "verify", "--json")
            found = {record.get("kind") for record in ran.records}
            assert (ran.code == 1) or (what == "put in" and "forked" in found), what
            assert found & {"damaged", "broken", "cut", "forked"}, what
        log.write_bytes(whole)
        assert [record["reason"] for record in run("dvs", "audit", "show", "--json").records] == [f"reason {n}" for n in range(5)]
        assert len(run("dvs", "audit", "show", "-n", "2", "--json").records) == 2
        assert run("dvs", "audit", "show", "--path", "b.csv", "--json").records == []

    def test_case_57_records_of_the_third_generation_are_read(self) -> None:
        line = (
            b'{"operation_id":"u1","timestamp":1767225600,"user":"ann","action":{"add":{"file":{"path":"a.csv",'
            b'"hashes":{"blake3":"' + b"a" * 64 + b'"}},"compression":"zstd"}}}\n'
        )
        record = read_line(line)
        assert record is not None
        assert (record.time, record.user, record.operation) == ("2026-01-01T00:00:00Z", "ann", "add")
        assert record.files == {"a.csv": "blake3:" + "a" * 64}
        assert not record.chained

    def test_a_torn_line_is_ended_and_the_chain_goes_on(self, tmp_path: Path) -> None:
        storage = LocalStorage(tmp_path / "store", state=tmp_path / "state")
        log = AuditLog(storage, tmp_path / "local" / "last")

        def record(number: int) -> None:
            log.append(new_record("add", {f"f{number}": "x"}, user="ann", when="now", reason=None, clone="c"))

        record(1)
        with (tmp_path / "store" / "audit.log.jsonl").open("ab") as file:
            file.write(b'{"operation_id":"half')
        record(2)
        count, problems = log.verify()
        assert count == 3
        assert [problem.kind for problem in problems] == ["damaged"]
        assert [list(one.files) for one in log.records()] == [["f1"], ["f2"]]

    def test_many_processes_append_to_one_chain(self, tmp_path: Path) -> None:
        program = (
            "import sys; from pathlib import Path; from resources.dvs.audit import AuditLog, new_record; "
            "from resources.storage.local import LocalStorage; base = Path(sys.argv[1]); "
            "log = AuditLog(LocalStorage(base / 'store', state=base / 'state')); "
            "[log.append(new_record('add', {f'{sys.argv[2]}-{n}': 'x'}, user='a', when='t', reason=None, clone='c')) "
            "for n in range(25)]"
        )
        running = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(worker)]) for worker in range(4)]
        assert [process.wait(timeout=120) for process in running] == [0] * 4
        log = AuditLog(LocalStorage(tmp_path / "store", state=tmp_path / "state"))
        assert log.verify() == (100, [])


class TestLeases:
    @pytest.fixture
    def storage(self, tmp_path: Path) -> LocalStorage:
        return LocalStorage(tmp_path / "store", state=tmp_path / "state")

    def test_writers_go_together_and_a_collector_alone(self, storage: LocalStorage) -> None:
        with hold(storage, "add", "ann"), hold(storage, "add", "bob"):
            assert len(leases(storage)) == 2
            with pytest.raises(StorageBusy), hold(storage, "gc", "ann", exclusive=True):
                pass
        assert leases(storage) == []
        with hold(storage, "gc", "ann", exclusive=True), pytest.raises(StorageBusy), hold(storage, "add", "bob"):
            pass
        assert leases(storage) == []

    def test_what_a_dead_process_left_is_taken_away(self, storage: LocalStorage, tmp_path: Path) -> None:
        program = (
            "import os, sys; from pathlib import Path; from resources.dvs.leases import hold; "
            "from resources.storage.local import LocalStorage; base = Path(sys.argv[1]); "
            "lease = hold(LocalStorage(base / 'store', state=base / 'state'), 'add', 'ann'); lease.__enter__(); os._exit(9)"
        )
        assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False).returncode == 9
        assert len(leases(storage)) == 1
        with hold(storage, "gc", "ann", exclusive=True):
            assert len(leases(storage)) == 1

    def test_an_unreadable_lease_counts_for_an_hour(self, storage: LocalStorage) -> None:
        storage.write("leases/odd.json", b"nonsense")
        with pytest.raises(StorageBusy), hold(storage, "gc", "ann", exclusive=True):
            pass
        path = storage.root / "leases/odd.json"
        old = path.stat().st_mtime - LASTS - 10
        os.utime(path, (old, old))
        with hold(storage, "gc", "ann", exclusive=True):
            pass
