"""history.log on a real folder: appending, torn tails, forks."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from resources.storage.local import LocalStorage
from resources.tables.history_log import Draft, HistoryLog, relink
from schemas.errors import HeadwaterError, InvalidText
from schemas.oid import bytes_oid
from schemas.tables.history import NO_TEXT, RecordKind, text_digest


def draft(number: int, **changed: object) -> Draft:
    after = text_digest({"data/t.csv": bytes_oid(b"%d" % number)})
    values: dict[str, object] = {"actor": "ada", "kind": RecordKind.UPDATE, "cmd": f"UPDATE t SET x = {number}"}
    return Draft(**{**values, "before": NO_TEXT, "after": after, **changed})  # type: ignore[arg-type]  # the test's own values


@pytest.fixture
def log(tmp_path: Path) -> HistoryLog:
    return HistoryLog(LocalStorage(tmp_path), "shop/history.log", clock=lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def path(log: HistoryLog) -> Path:
    assert log.storage.local_root is not None
    return log.storage.local_root / log.path


def test_records_are_appended_in_a_chain(log: HistoryLog) -> None:
    assert log.read() is None
    first, second = log.append(draft(1)), log.append(draft(2))
    read = log.read()
    assert read is not None
    assert read.records == [first, second]
    assert (first.seq, second.seq, first.ts) == (1, 2, "2026-01-02T03:04:05.000Z")
    assert path(log).read_bytes().count(b"\n") == 3


def test_an_id_is_recorded_once(log: HistoryLog) -> None:
    first = log.append(draft(1, id="01JD0000000000000000000001"))
    log.append(draft(2))
    assert log.append(draft(1, id="01JD0000000000000000000001")) == first
    read = log.read()
    assert read is not None
    assert len(read.records) == 2


@pytest.mark.parametrize("cut", [1, 2, 30, 200])
def test_case_84_append_after_a_torn_tail_keeps_the_new_record_whole(log: HistoryLog, cut: int) -> None:
    log.append(draft(1))
    whole = path(log).read_bytes()
    log.append(draft(2))
    torn = path(log).read_bytes()[:-cut]
    path(log).write_bytes(torn)
    third = log.append(draft(3))
    read = log.read()
    assert read is not None
    assert read.records[-1] == third
    kept = path(log).with_name("history.log.torn")
    if cut == 1:
        assert [one.seq for one in read.records] == [1, 2, 3]
        assert not kept.exists()
    else:
        assert [one.seq for one in read.records] == [1, 2]
        assert kept.read_bytes() == torn[len(whole) :] + b"\n"


def test_repair_says_what_it_did_and_is_done_once(log: HistoryLog) -> None:
    log.append(draft(1))
    with path(log).open("ab") as file:
        file.write(b'{"id": "01J')
    said = log.repair()
    assert said is not None
    assert "history.log.torn" in said
    assert log.repair() is None


def test_a_malformed_middle_line_stops_the_append(log: HistoryLog) -> None:
    log.append(draft(1))
    with path(log).open("ab") as file:
        file.write(b'{"id": "01J\n')
    before = path(log).read_bytes()
    with pytest.raises(InvalidText) as caught:
        log.append(draft(2))
    assert caught.value.line == 3
    assert path(log).read_bytes() == before


def test_a_fork_names_both_heads_and_stops_the_append(log: HistoryLog) -> None:
    log.append(draft(1))
    parent = path(log).read_bytes()
    log.append(draft(2, actor="ada"))
    ours = path(log).read_bytes()
    path(log).write_bytes(parent)
    log.append(draft(3, actor="bob"))
    theirs = path(log).read_bytes()[len(parent) :]
    path(log).write_bytes(ours + theirs)
    with pytest.raises(HeadwaterError) as caught:
        log.append(draft(4))
    assert caught.value.rule == "history-fork"
    assert "ada: UPDATE t SET x = 2" in caught.value.message
    assert "bob: UPDATE t SET x = 3" in caught.value.message
    assert "--rebase" in (caught.value.fix or "")


def test_a_rebased_log_is_one_chain_and_the_old_bytes_are_kept(log: HistoryLog) -> None:
    log.append(draft(1))
    parent = path(log).read_bytes()
    log.append(draft(2))
    ours = path(log).read_bytes()
    path(log).write_bytes(parent)
    log.append(draft(3))
    forked = ours + path(log).read_bytes()[len(parent) :]
    path(log).write_bytes(forked)
    read = log.read()
    assert read is not None
    header = forked.split(b"\n", 1)[0] + b"\n"
    log.replace(forked, relink(read.records, header), header)
    again = log.read()
    assert again is not None
    assert again.fork is None
    assert [one.seq for one in again.records] == [1, 2, 3]
    assert [one.cmd for one in again.records] == [one.cmd for one in read.records]
    assert path(log).with_name("history.log.forked").read_bytes() == forked


def _append_many(folder: str, actor: str) -> None:
    storage = LocalStorage(Path(folder))
    log = HistoryLog(storage, "history.log")
    for number in range(10):
        with storage.lock("project"):
            log.append(draft(number, actor=actor, cmd="x" * 20_000))


def test_concurrent_appends_lose_and_break_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_many, args=(str(tmp_path), name)) for name in ("ada", "bob")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    read = HistoryLog(LocalStorage(tmp_path), "history.log").read()
    assert read is not None
    assert [one.seq for one in read.records] == list(range(1, 21))
    assert sorted(one.actor for one in read.records) == ["ada"] * 10 + ["bob"] * 10
