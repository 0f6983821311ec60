"""history.log: what its lines may say, and how a damaged or forked one is told from a whole one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import HeadwaterError, InvalidText, NewerFormat
from schemas.oid import bytes_oid
from schemas.tables.history import NO_TEXT, Record, RecordKind, Splice, header_line, read_log, splice, text_digest

ULIDS = [f"01JD0000000000000000000{number:03d}" for number in range(100)]


def record(number: int, prev: bytes, **changed: object) -> Record:
    values: dict[str, object] = {
        "id": ULIDS[number],
        "seq": number,
        "prev": bytes_oid(prev.rstrip(b"\n")),
        "ts": "2026-01-02T03:04:05.678Z",
        "actor": "ada",
        "kind": RecordKind.UPDATE,
        "cmd": f"UPDATE t SET x = {number}",
        "before": NO_TEXT,
        "after": text_digest({"data/t.csv": bytes_oid(str(number).encode())}),
        **changed,
    }
    return Record(**values)  # type: ignore[arg-type]  # the test's own values


def lines(count: int) -> list[bytes]:
    made = [header_line("01JD0000000000000000000999")]
    for number in range(1, count + 1):
        made.append(record(number, made[-1]).line())
    return made


def test_a_log_reads_back() -> None:
    made = lines(3)
    log = read_log(b"".join(made), "history.log")
    assert log.header.project == "01JD0000000000000000000999"
    assert [one.seq for one in log.records] == [1, 2, 3]
    assert log.lines == [2, 3, 4]
    assert log.next_seq == 4
    assert log.head == bytes_oid(made[-1][:-1])
    assert (log.torn, log.unended, log.fork) == (b"", False, None)
    assert log.digest == log.records[-1].after


@pytest.mark.parametrize("path", ["../outside.csv", "data/../../x", "/etc/passwd", "C:/x", "data\\..\\x", "", "data/\0"])
def test_a_record_names_no_file_outside_the_project(path: str) -> None:
    safe = record(1, header_line("p"), changes=[Splice(path="data/t.csv", put="x")]).line()
    assert read_log(header_line("p") + safe, "history.log").records[0].changes[0].path == "data/t.csv"
    hostile = safe.replace(b'"data/t.csv"', json.dumps(path).encode())
    assert hostile != safe
    with pytest.raises(InvalidText) as caught:
        read_log(header_line("p") + hostile, "history.log")
    assert (caught.value.rule, caught.value.line) == ("history-record", 2)


@pytest.mark.parametrize("packed", ["not base64!", "AAAA"])
def test_damaged_packed_text_is_an_error(packed: str) -> None:
    with pytest.raises(HeadwaterError) as caught:
        Splice(path="data/t.csv", put_zlib=packed).apply(None)
    assert caught.value.rule == "history-replay"


def test_case_86_a_command_with_newlines_and_quotes_is_one_line() -> None:
    command = "INSERT INTO t VALUES (1, 'a\n\"b\"\r\n\u2028é');"
    line = record(1, header_line("p"), cmd=command).line()
    assert line.count(b"\n") == 1
    assert read_log(header_line("p") + line, "history.log").records[0].cmd == command


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_case_82_a_torn_last_line_is_kept_apart(cut: int) -> None:
    made = lines(3)
    log = read_log(b"".join(made)[: -cut - 1], "history.log")
    assert len(log.records) == 2
    assert log.torn == made[-1][: -cut - 1]
    assert log.good == len(b"".join(made[:-1]))


def test_a_last_line_that_lacks_only_its_line_feed_counts() -> None:
    log = read_log(b"".join(lines(2))[:-1], "history.log")
    assert (len(log.records), log.unended, log.torn) == (2, True, b"")


def test_case_83_a_torn_line_in_the_middle_is_an_error_with_its_line() -> None:
    made = lines(3)
    made[2] = made[2][:20] + b"\n"
    with pytest.raises(InvalidText) as caught:
        read_log(b"".join(made), "shop/history.log")
    assert (caught.value.path, caught.value.line, caught.value.rule) == ("shop/history.log", 3, "history-line")


def test_a_fragment_with_the_next_record_glued_to_it_is_an_error() -> None:
    made = lines(3)
    with pytest.raises(InvalidText) as caught:
        read_log(made[0] + made[1] + made[2][:30] + made[3], "history.log")
    assert caught.value.line == 3


def test_an_edited_line_breaks_the_chain() -> None:
    made = lines(3)
    made[2] = made[2].replace(b"ada", b"bob")
    with pytest.raises(InvalidText) as caught:
        read_log(b"".join(made), "history.log")
    assert (caught.value.line, caught.value.rule) == (4, "history-chain")


def test_a_lost_line_breaks_the_chain() -> None:
    made = lines(3)
    with pytest.raises(InvalidText) as caught:
        read_log(made[0] + made[1] + made[3], "history.log")
    assert (caught.value.line, caught.value.rule) == (3, "history-chain")


def test_a_number_that_does_not_follow_is_refused() -> None:
    """As after a torn tail that was repaired by starting to count again."""
    made = lines(2)
    made.append(record(3, made[-1], seq=1).line())
    with pytest.raises(InvalidText) as caught:
        read_log(b"".join(made), "history.log")
    assert (caught.value.line, caught.value.rule) == (4, "history-chain")


def test_a_doubled_line_is_refused() -> None:
    made = lines(2)
    with pytest.raises(InvalidText) as caught:
        read_log(b"".join([*made, made[2]]), "history.log")
    assert (caught.value.line, caught.value.rule) == (4, "history-duplicate")


def test_two_branches_are_a_fork_with_both_heads() -> None:
    made = lines(2)
    ours = record(3, made[2])
    ours_next = record(4, ours.line())
    theirs = record(3, made[2], id=ULIDS[50], actor="bob")
    log = read_log(b"".join([*made, ours.line(), ours_next.line(), theirs.line()]), "history.log")
    assert log.fork is not None
    assert (log.fork.parent, log.fork.first, log.fork.second) == (3, (4, 5), (6,))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "explode"}, "kind"),
        ({"seq": 0}, "seq"),
        ({"seq": "1"}, "seq"),
        ({"prev": "sha1:00"}, "prev"),
        ({"ts": "yesterday"}, "ts"),
        ({"surprise": 1}, "surprise"),
        ({"id": "lower"}, "id"),
    ],
)
def test_a_record_of_unknown_shape_is_refused(change: dict[str, object], reason: str) -> None:
    value = {**json.loads(record(1, header_line("p")).line()), **change}
    with pytest.raises(InvalidText) as caught:
        read_log(header_line("p") + json.dumps(value).encode() + b"\n", "history.log")
    assert (caught.value.rule, caught.value.line) == ("history-record", 2)
    assert reason in caught.value.message


@pytest.mark.parametrize("data", [b"", b"{", b"{}\n", b"[]\n", b'{"log":true,"project":"x"}\n', b"\xff\n"])
def test_a_log_without_a_header_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidText) as caught:
        read_log(data, "history.log")
    assert caught.value.line == 1


def test_a_newer_log_is_left_alone() -> None:
    with pytest.raises(NewerFormat):
        read_log(b'{"log":2,"project":"x"}\n{"new": "things"}\n', "history.log")


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=50, deadline=None)
def test_a_splice_turns_old_into_new(head: str, left: str, right: str, tail: str) -> None:
    old, new = (head + left + tail).encode("utf-8", "replace"), (head + right + tail).encode("utf-8", "replace")
    made = Splice.model_validate_json(splice("data/t.csv", old, new).model_dump_json())
    assert made.apply(old) == new
    assert splice("data/t.csv", None, new).apply(None) == new
    assert splice("data/t.csv", old, None).apply(old) is None


def test_a_large_splice_is_packed_and_a_small_one_is_short() -> None:
    old = b"".join(b"%d,row\n" % number for number in range(100_000))
    new = old.replace(b"\n50000,row\n", b"\n50000,changed\n")
    small = splice("data/t.csv", old, new)
    assert (small.put, small.cut) == ("changed", 3)
    whole = splice("data/t.csv", None, old)
    assert whole.put_zlib is not None
    assert len(whole.put_zlib) < len(old) / 2
    assert whole.apply(None) == old


def test_a_splice_of_another_file_does_not_fit() -> None:
    with pytest.raises(HeadwaterError) as caught:
        splice("data/t.csv", b"aaaaaaaaab", b"aaaaaaaaac").apply(b"aa")
    assert caught.value.rule == "history-replay"
