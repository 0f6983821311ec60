"""Clock and chance in SQL: answered once, written down, answered again the same way."""

from __future__ import annotations

from datetime import UTC, datetime

import apsw
import pytest

from assets.tables import functions
from assets.tables.functions import Answers
from schemas.errors import HeadwaterError

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def ask(answers: Answers, sql: str) -> list[tuple[object, ...]]:
    connection = apsw.Connection(":memory:")
    answers.register(connection)
    try:
        return list(connection.execute(sql))
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT datetime('now')", "2026-01-02 03:04:05"),
        ("SELECT datetime('NOW', '+1 day', 'start of day')", "2026-01-03 00:00:00"),
        ("SELECT date()", "2026-01-02"),
        ("SELECT time()", "03:04:05"),
        ("SELECT strftime('%f')", "05.678"),
        ("SELECT strftime('%Y', 'now')", "2026"),
        ("SELECT unixepoch()", 1767323045),
        ("SELECT CURRENT_TIMESTAMP", "2026-01-02 03:04:05"),
        ("SELECT CURRENT_DATE", "2026-01-02"),
        ("SELECT CURRENT_TIME", "03:04:05"),
    ],
)
def test_one_command_has_one_now_and_it_is_written_down(sql: str, expected: object) -> None:
    answers = Answers(now=NOW)
    assert ask(answers, sql) == [(expected,)]
    assert len(answers.args) == 1
    again = Answers(answers.args)
    assert ask(again, sql) == [(expected,)]
    again.finish()


@pytest.mark.parametrize(
    "sql",
    ["SELECT date('2026-02-30')", "SELECT julianday('2026-01-01')", "SELECT strftime('%s', '2026-01-01')", "SELECT abs(-1)"],
)
def test_what_does_not_depend_on_the_clock_is_sqlite_own_answer_and_is_not_written_down(sql: str) -> None:
    answers = Answers()
    plain = apsw.Connection(":memory:")
    assert ask(answers, sql) == list(plain.execute(sql))
    assert answers.args == {}
    plain.close()


def test_the_time_zone_of_the_machine_is_written_down() -> None:
    answers = Answers()
    [(value,)] = ask(answers, "SELECT datetime('2026-06-01 12:00', 'localtime')")
    assert answers.args == {"datetime('2026-06-01 12:00', 'localtime')": [[1, value]]}


def test_chance_is_different_each_time_and_the_same_in_a_replay() -> None:
    sql = "SELECT random(), randomblob(3), hex(randomblob(3)) FROM (VALUES (1), (2), (3))"
    answers = Answers()
    first = ask(answers, sql)
    assert len({row[0] for row in first}) == 3
    assert all(len(row[1]) == 3 for row in first)  # type: ignore[arg-type]  # a blob
    assert ask(Answers(answers.args), sql) == first


def test_equal_answers_are_written_as_runs() -> None:
    answers = Answers(now=NOW)
    ask(answers, "SELECT datetime(column1) FROM (VALUES ('now'), ('now'), ('now'))")
    assert answers.args == {"datetime('now')": [[3, "2026-01-02 03:04:05"]]}


def test_a_replay_that_asks_more_or_less_is_stopped() -> None:
    answers = Answers()
    ask(answers, "SELECT random()")
    with pytest.raises(HeadwaterError) as caught:
        ask(Answers(answers.args), "SELECT random() FROM (VALUES (1), (2))")
    assert caught.value.rule == "history-replay"
    unasked = Answers(answers.args)
    with pytest.raises(HeadwaterError):
        unasked.finish()


def test_a_record_holds_a_bounded_number_of_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "LIMIT", 2)
    with pytest.raises(HeadwaterError) as caught:
        ask(Answers(), "SELECT random() FROM (VALUES (1), (2), (3))")
    assert caught.value.rule == "history-too-many-values"


def test_they_may_be_used_by_the_checks_of_a_distrusted_schema() -> None:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE t (day TEXT CHECK (day IS date(day))) STRICT")
    connection.config(apsw.SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    answers = Answers()
    answers.register(connection)
    connection.execute("INSERT INTO t VALUES ('2026-01-31')")
    with pytest.raises(apsw.ConstraintError):
        connection.execute("INSERT INTO t VALUES ('2026-02-31')")
    assert answers.args == {}
    connection.close()
