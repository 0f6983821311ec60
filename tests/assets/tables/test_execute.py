"""SQL on the live database with text and history in step; replaying the history; exporting edits made by other tools."""

from __future__ import annotations

import multiprocessing
import shutil
from pathlib import Path

import apsw
import pytest

from assets.engine.model import Store
from assets.tables.execute import Applied, apply, connect, run
from assets.tables.export import export
from assets.tables.functions import Answers
from assets.tables.journal import Journal
from assets.tables.live import build_database, compare_databases, scratch_database
from assets.tables.replay import rebase, replay
from assets.tables.versions import digest, from_files
from resources.storage.base import Change
from resources.tables.history_log import Draft
from resources.workspace import open_workspace
from schemas.errors import Conflict, HeadwaterError, InvalidText
from schemas.tables.history import NO_TEXT, RecordKind

PROJECT = b"""\
version: 1
# kept as it is
tables:
  customer:
    columns:
      id: {type: integer}
      name: {type: text, pattern: "[A-Z].*"}
      since: {type: timestamp}
    primary_key: [id]
  order:
    columns:
      customer: {type: integer}
      line: {type: integer}
      price: {type: 'decimal(6,2)'}
      paid: {type: boolean}
      scan: {type: blob}
    primary_key: [customer, line]
  note:
    columns:
      word: {type: text}
      weight: {type: float}
relationships:
  order_customer:
    from: {table: order, columns: [customer]}
    to: {table: customer, columns: [id]}
    on_delete: cascade
"""
FILES = {
    "project.yaml": PROJECT,
    "data/customer.csv": b'id,name,since\n1,Ann,\n2,"Bo, Bo",2026-01-01T00:00:00Z\n10,Cy,\n',
    "data/order.csv": b"customer,line,price,paid,scan\n1,1,9.90,true,\n1,2,0.10,,\n2,1,5.00,false,AP8=\n",
    "data/note.csv": b"word,weight\na,1.50\na,1.5\nb,\n",
}


class Shop:
    """A store on disk, with its database, the way the commands use it."""

    def __init__(self, folder: Path) -> None:
        (folder / "headwater.toml").write_text("version = 1\n")
        for path, data in FILES.items():
            (folder / "shop" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "shop" / path).write_bytes(data)
        self.folder = folder / "shop"
        self.journal = Journal(open_workspace(folder), Store("tables", "shop", "shop"), "ada")
        self.database = self.folder / "playground.db"
        with scratch_database(self.journal.text()) as made:
            shutil.copy(made, self.database)

    def run(self, sql: str) -> Applied:
        return run(self.journal, self.database, sql)

    def read(self, path: str) -> bytes:
        return (self.folder / path).read_bytes()

    def agree(self) -> None:
        """Text and database say the same."""
        with scratch_database(self.journal.text()) as made:
            compared = compare_databases(made, self.database, self.journal.text().project, labels=("text", "db"))
        assert compared.equal, compared.lines()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_an_update_changes_one_line_and_leaves_one_record(shop: Shop) -> None:
    applied = shop.run("UPDATE customer SET name = 'Bob' WHERE id = 2")
    assert applied.rows == 1
    assert shop.read("data/customer.csv") == FILES["data/customer.csv"].replace(b'"Bo, Bo"', b"Bob")
    log = shop.journal.log.read()
    assert log is not None
    assert [(record.kind, record.rows) for record in log.records] == [(RecordKind.IMPORT, 0), (RecordKind.UPDATE, 1)]
    assert log.digest == shop.journal.text().digest()
    shop.agree()


def test_case_36_a_cascade_shrinks_both_files(shop: Shop) -> None:
    applied = shop.run("DELETE FROM customer WHERE id = 1")
    assert applied.rows == 3
    assert shop.read("data/customer.csv").count(b"\n") == 3
    assert shop.read("data/order.csv") == b"customer,line,price,paid,scan\n2,1,5.00,false,AP8=\n"
    shop.agree()


def test_every_type_comes_back_as_its_cell(shop: Shop) -> None:
    shop.run(
        "INSERT INTO \"order\" VALUES (10, 1, '12.30', 1, x'0102'); INSERT INTO note VALUES ('', 0.1), (NULL, 3e-7);"
        "UPDATE note SET weight = 2 WHERE word = 'b'; DELETE FROM note WHERE rowid = 1"
    )
    assert shop.read("data/order.csv").endswith(b"10,1,12.30,true,AQI=\n")
    assert shop.read("data/note.csv") == b'word,weight\na,1.5\n,3e-7\n"",0.1\nb,2.0\n'
    shop.agree()


def test_a_changed_key_moves_the_row(shop: Shop) -> None:
    shop.run("INSERT INTO customer VALUES (3, 'Di', NULL); UPDATE customer SET id = 4 WHERE id = 10")
    assert [line.split(b",")[0] for line in shop.read("data/customer.csv").splitlines()[1:]] == [b"1", b"2", b"3", b"4"]
    shop.agree()


def test_chance_and_clock_are_answered_again_in_a_replay(shop: Shop) -> None:
    shop.run("UPDATE customer SET since = strftime('%Y-%m-%dT%H:%M:%SZ', 'now')")
    shop.run("INSERT INTO note SELECT hex(randomblob(4)), abs(random()) / 2.0 FROM customer")
    shop.run("UPDATE note SET word = CURRENT_TIMESTAMP || ' ' || date('now', '+1 day') WHERE word = 'b'")
    log = shop.journal.log.read()
    assert log is not None
    assert list(log.records[1].args) == ["strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"]
    assert log.records[1].args["strftime('%Y-%m-%dT%H:%M:%SZ', 'now')"][0][0] == 1
    assert set(log.records[2].args) == {"randomblob(4)", "random()"}
    made = replay(log, "history.log", fetch=shop.journal.fetch)
    assert (made.files, made.applied) == (shop.journal.text().files(), 4)


def test_case_85_replaying_twice_gives_the_same_digests(shop: Shop) -> None:
    shop.run("DELETE FROM note")
    shop.run("INSERT INTO note VALUES ('x', random() % 10)")
    log = shop.journal.log.read()
    assert log is not None
    digests = [replay(log, "history.log", until=str(seq)).digest for seq in (1, 2, 3) for _ in range(2)]
    assert digests == [record.after for record in log.records for _ in range(2)]


def test_a_replay_stops_at_the_first_record_that_does_not_come_out(shop: Shop) -> None:
    shop.run("DELETE FROM note WHERE word = 'b'")
    shop.run("DELETE FROM note")
    log = shop.journal.log.read()
    assert log is not None
    log.records[1] = log.records[1].model_copy(update={"cmd": "DELETE FROM note WHERE word = 'a'"})
    with pytest.raises(HeadwaterError) as caught:
        replay(log, "history.log")
    assert (caught.value.line, caught.value.rule) == (3, "history-replay")
    assert log.records[1].after in caught.value.message


def test_a_replay_stops_at_a_record_that_was_made_on_other_text(shop: Shop) -> None:
    shop.run("DELETE FROM note WHERE word = 'b'")
    shop.run("DELETE FROM note")
    log = shop.journal.log.read()
    assert log is not None
    log.records[2] = log.records[2].model_copy(update={"before": log.records[0].after})
    with pytest.raises(HeadwaterError) as caught:
        replay(log, "history.log")
    assert (caught.value.line, caught.value.rule) == (4, "history-replay")
    assert "begins at" in caught.value.message


def test_a_promise_kept_only_at_the_end_of_a_command_is_checked_there(tmp_path: Path) -> None:
    """A relationship whose check is deferred to the commit: what is still broken then is said, and nothing has moved."""
    shop = Shop(tmp_path)
    project = shop.folder / "project.yaml"
    told = project.read_text().replace("on_delete: cascade", "on_delete: cascade\n    deferrable: true")
    assert told != project.read_text()
    project.write_text(told)
    with scratch_database(shop.journal.text()) as made:
        shutil.copy(made, shop.database)
    before = {path: shop.read(path) for path in FILES}
    with pytest.raises(HeadwaterError) as caught:
        shop.run("INSERT INTO \"order\" VALUES (99, 4711, '1.00', 1, NULL)")
    assert (caught.value.rule, caught.value.message) == (
        "sql-constraint",
        "a foreign key would point at a row that does not exist",
    )
    assert {path: shop.read(path) for path in FILES} == before
    shop.agree()


def test_edits_outside_are_recorded_and_replayed(shop: Shop) -> None:
    shop.run("DELETE FROM note WHERE word = 'b'")
    (shop.folder / "data/customer.csv").write_bytes(FILES["data/customer.csv"].replace(b"Cy", b"Cyd"))
    with shop.journal.open() as text:
        shop.journal.catch_up(text.files())
        assert any("outside" in line for line in shop.journal.said)
    log = shop.journal.log.read()
    assert log is not None
    last = log.records[-1]
    assert (last.kind, [change.put for change in last.changes]) == (RecordKind.EXTERNAL_CHANGE, ["d"])
    assert replay(log, "history.log").files == text.files()


def test_a_new_table_and_column_are_written_to_the_project(shop: Shop) -> None:
    create = "CREATE TABLE tag (id INTEGER PRIMARY KEY, label TEXT NOT NULL, at DATE)"
    shop.run(f"{create}; INSERT INTO tag VALUES (2,'b',NULL),(1,'a','2026-01-01')")
    shop.run("ALTER TABLE note ADD COLUMN size INTEGER DEFAULT 3")
    assert shop.read("project.yaml").startswith(b"version: 1\n# kept as it is\n")
    assert shop.read("data/tag.csv") == b"id,label,at\n1,a,2026-01-01\n2,b,\n"
    assert shop.read("data/note.csv").splitlines()[:2] == [b"word,weight,size", b"a,1.5,3"]
    project = shop.journal.text().project
    assert project.tables["tag"].primary_key == ["id"]
    assert not project.tables["tag"].columns["label"].is_nullable
    log = shop.journal.log.read()
    assert log is not None
    assert replay(log, "history.log").files == shop.journal.text().files()


@pytest.mark.parametrize(
    ("sql", "rule"),
    [
        ("DROP TABLE note", "sql-schema"),
        ("ALTER TABLE note RENAME COLUMN word TO term", "sql-schema"),
        ("CREATE INDEX i ON note (word)", None),
        ("INSERT INTO customer VALUES (1, 'Again', NULL)", "sql-constraint"),
        ("INSERT INTO \"order\" VALUES (99, 1, '1.00', 1, NULL)", "sql-constraint"),
        ("INSERT INTO customer VALUES (11, 'lower', NULL)", "live-limit"),
        ("INSERT INTO customer VALUES (11, 'X', 'yesterday')", "sql-constraint"),
        ("COMMIT", "sql-not-allowed"),
        ("ATTACH '/tmp/x.db' AS x", "sql-not-allowed"),
        ("PRAGMA foreign_keys = OFF", "sql-not-allowed"),
        ("PRAGMA writable_schema = ON", "sql-not-allowed"),
        ("SELECT load_extension('x')", "sql-not-allowed"),
        ("SELEKT 1", "sql-error"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_moves(shop: Shop, sql: str, rule: str | None) -> None:
    before = {path: shop.read(path) for path in FILES}
    if rule is None:
        shop.run(sql)
        return
    with pytest.raises(HeadwaterError) as caught:
        shop.run(sql)
    assert caught.value.rule == rule
    assert {path: shop.read(path) for path in FILES} == before
    shop.agree()


def test_reading_changes_nothing(shop: Shop) -> None:
    connection = connect(shop.database)
    answers = Answers()
    connection.execute("BEGIN IMMEDIATE")
    assert not shop.journal.log.exists()
    applied = apply(connection, shop.journal.text(), "SELECT id, name FROM customer ORDER BY id; SELECT 1", answers)
    connection.execute("ROLLBACK")
    connection.close()
    answers.close()
    assert (applied.files, applied.writes) == ({}, False)
    assert [(result.columns, len(result.rows)) for result in applied.results] == [(["id", "name"], 3), (["1"], 1)]


def test_a_record_whose_text_was_committed_is_appended_by_the_next_command(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.run("DELETE FROM note WHERE word = 'b'")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("resources.tables.history_log.HistoryLog.append", die)
        with pytest.raises(KeyboardInterrupt):
            shop.run("DELETE FROM note")
    with shop.journal.open():
        pass
    log = shop.journal.log.read()
    assert log is not None
    assert [record.cmd for record in log.records[1:]] == ["DELETE FROM note WHERE word = 'b'", "DELETE FROM note"]
    assert log.digest == shop.journal.text().digest()


def test_a_record_whose_text_was_never_committed_is_dropped(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.run("DELETE FROM note WHERE word = 'b'")

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("resources.storage.local.LocalStorage.commit", die)
        with pytest.raises(KeyboardInterrupt):
            shop.run("DELETE FROM note")
    with shop.journal.open():
        pass
    log = shop.journal.log.read()
    assert log is not None
    assert [record.kind for record in log.records] == [RecordKind.IMPORT, RecordKind.DELETE]
    shop.agree()


def test_text_that_moved_during_the_command_wins(shop: Shop) -> None:
    draft = Draft("ada", RecordKind.UPDATE, "x", NO_TEXT, NO_TEXT)
    with shop.journal.open() as text:
        files = text.files()
        shop.journal.workspace.root.commit([Change("shop/data/note.csv", b"word,weight\n", None)], label="somebody else")
        with pytest.raises(Conflict):
            shop.journal.commit(files, {"data/note.csv": b"word,weight\nz,\n"}, draft)
    assert shop.read("data/note.csv") == b"word,weight\n"


def test_export_takes_over_what_another_tool_wrote(shop: Shop) -> None:
    connection = apsw.Connection(str(shop.database))
    connection.execute(
        "UPDATE customer SET name = 'Cyd' WHERE id = 10; INSERT INTO note VALUES ('z', 1); CREATE TABLE extra (a INT, b)"
    )
    connection.execute("INSERT INTO extra VALUES (1, 'x'); ALTER TABLE note ADD COLUMN size REAL")
    connection.close()
    made = export(shop.journal.text(), shop.database)
    assert sorted(made.files) == ["data/customer.csv", "data/note.csv"]
    assert made.files["data/customer.csv"] == FILES["data/customer.csv"].replace(b"Cy", b"Cyd")
    assert sorted(offer.line() for offer in made.offers) == [
        "column of note: size (float)",
        "table extra with 1 row: a (integer), b (text)",
    ]
    made = export(shop.journal.text(), shop.database, add_tables=True)
    assert made.files["data/extra.csv"] == b"a,b\n1,x\n"
    assert made.files["data/note.csv"].endswith(b"z,1.0,\n")
    text = from_files({**FILES, **made.files}, "exported")
    with scratch_database(text) as built:
        assert compare_databases(built, shop.database, text.project, labels=("a", "b")).rows == 0


def test_export_refuses_rows_that_break_the_database_own_rules(shop: Shop) -> None:
    connection = apsw.Connection(str(shop.database))
    connection.execute("PRAGMA foreign_keys=OFF")
    connection.execute("INSERT INTO \"order\" VALUES (77, 1, '1.00', 1, NULL)")
    connection.close()
    with pytest.raises(HeadwaterError) as caught:
        export(shop.journal.text(), shop.database)
    assert caught.value.rule == "export-orphan"
    # The query that is suggested finds exactly that row, in tables with and without a rowid.
    query = (caught.value.fix or "").partition("look with: ")[2]
    connection = apsw.Connection(str(shop.database))
    assert [row[0] for row in connection.execute(query)] == [77]
    connection.close()


def test_a_value_in_another_spelling_is_refused_with_the_right_one(shop: Shop) -> None:
    with pytest.raises(HeadwaterError) as caught:
        shop.run('UPDATE "order" SET price = 1')
    assert caught.value.rule == "sql-constraint"
    assert "'9.90'" in (caught.value.fix or "")


def test_export_refuses_values_outside_the_declared_limits(shop: Shop) -> None:
    connection = apsw.Connection(str(shop.database))
    connection.execute("INSERT INTO customer VALUES (20, 'lower', NULL)")
    connection.close()
    with pytest.raises(InvalidText) as caught:
        export(shop.journal.text(), shop.database)
    assert caught.value.rule == "live-limit"


def test_a_forked_log_is_rebased_and_replays(shop: Shop) -> None:
    shop.run("UPDATE customer SET name = 'One' WHERE id = 1")
    parent = shop.read("history.log")
    text_then = {path: shop.read(path) for path in FILES}
    shop.run("UPDATE customer SET name = 'Two' WHERE id = 2")
    ours, our_text = shop.read("history.log"), shop.read("data/customer.csv")
    for path, data in text_then.items():
        (shop.folder / path).write_bytes(data)
    (shop.folder / "history.log").write_bytes(parent)
    shutil.rmtree(shop.folder.parent / ".headwater/history/last")
    (shop.folder / "playground.db").unlink()
    build_database(shop.journal.text().project, shop.journal.text().texts(shop.folder.parent), shop.database)
    shop.run("DELETE FROM note")
    theirs = shop.read("history.log")[len(parent) :]
    (shop.folder / "history.log").write_bytes(ours + theirs)
    (shop.folder / "data/customer.csv").write_bytes(our_text)
    log = shop.journal.log.read()
    assert log is not None
    with pytest.raises(HeadwaterError) as caught:
        replay(log, "history.log")
    assert caught.value.rule == "history-fork"
    forked = shop.read("history.log")
    header = forked.split(b"\n", 1)[0] + b"\n"
    shop.journal.log.replace(forked, rebase(log, header), header)
    with shop.journal.open() as text:
        files = text.files()
        shop.journal.catch_up(files)
    log = shop.journal.log.read()
    assert log is not None
    assert [record.seq for record in log.records] == [1, 2, 3, 4, 5]
    made = replay(log, "history.log", fetch=shop.journal.fetch)
    assert made.files == files
    assert digest(made.files) == log.digest


def test_export_takes_over_only_what_the_database_changed_since_it_was_built(shop: Shop) -> None:
    base = from_files(FILES, "built")
    connection = apsw.Connection(str(shop.database))
    connection.execute("UPDATE customer SET name = 'Cyd' WHERE id = 10; DELETE FROM note WHERE word = 'b'")
    connection.execute("INSERT INTO customer VALUES (11, 'Eve', NULL)")
    connection.close()
    moved = b'id,name,since\n1,Anne,\n2,"Bo, Bo",2026-01-01T00:00:00Z\n3,Di,\n10,Cy,2026-02-02T00:00:00Z\n'
    text = from_files({**FILES, "data/customer.csv": moved}, "text")
    made = export(text, shop.database, base=base)
    assert made.files["data/customer.csv"] == moved.replace(b"Cy,", b"Cyd,") + b"11,Eve,\n"
    assert made.files["data/note.csv"] == b"word,weight\na,1.50\na,1.5\n"


@pytest.mark.parametrize("theirs", [b"10,Zed,\n", b""])
def test_a_row_changed_differently_in_text_and_database_is_a_conflict(shop: Shop, theirs: bytes) -> None:
    connection = apsw.Connection(str(shop.database))
    connection.execute("UPDATE customer SET name = 'Cyd' WHERE id = 10")
    connection.close()
    text = from_files({**FILES, "data/customer.csv": FILES["data/customer.csv"].replace(b"10,Cy,\n", theirs)}, "text")
    with pytest.raises(Conflict) as caught:
        export(text, shop.database, base=from_files(FILES, "built"))
    assert "id=10" in caught.value.message


def test_only_the_last_text_is_kept(shop: Shop) -> None:
    for number in range(3):
        shop.run(f"INSERT INTO note VALUES ('{number}', 1)")
    kept = [path for path in (shop.folder.parent / ".headwater/history/last").rglob("*") if path.is_file()]
    assert len(kept) == 1 + len(FILES)
    assert not (shop.folder.parent / ".headwater/history/pending/shop.json").exists()


def test_text_too_large_for_a_record_is_kept_beside_the_log(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.tables.history.INLINE_LIMIT", 10)
    monkeypatch.setattr("schemas.tables.history._COMPRESS_FROM", 10)
    shop.run("DELETE FROM note")
    log = shop.journal.log.read()
    assert log is not None
    assert all(change.oid is not None for change in log.records[0].changes)
    assert replay(log, "history.log", fetch=shop.journal.fetch).files == shop.journal.text().files()
    with pytest.raises(HeadwaterError) as caught:
        replay(log, "history.log")
    assert (caught.value.rule, caught.value.line) == ("history-replay", 2)


def test_text_of_a_change_that_lost_is_not_left_beside_the_log(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schemas.tables.history.INLINE_LIMIT", 10)
    monkeypatch.setattr("schemas.tables.history._COMPRESS_FROM", 10)
    shop.run("DELETE FROM note")
    kept = sorted(path.name for path in (shop.folder / "history").iterdir())
    draft = Draft("ada", RecordKind.EXPORT, "export", "", "")
    with shop.journal.open() as text:
        old = text.files()
        (shop.folder / "data/note.csv").write_bytes(b"word,weight\nz,\n")  # somebody else, in between
        with pytest.raises(Conflict):
            shop.journal.commit(old, {"data/note.csv": b"word,weight\nlost,1.5\n"}, draft, with_text=True)
    assert sorted(path.name for path in (shop.folder / "history").iterdir()) == kept
    assert not (shop.folder.parent / ".headwater/history/pending/shop.json").exists()


def test_a_damaged_text_is_read_from_another_copy_and_mended_when_it_is_written_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schemas.tables.history.INLINE_LIMIT", 10)
    monkeypatch.setattr("schemas.tables.history._COMPRESS_FROM", 10)
    shop.run("INSERT INTO note VALUES ('z', NULL)")
    log = shop.journal.log.read()
    assert log is not None
    change = next(one for one in log.named() if one.path == "data/customer.csv")
    path = shop.folder / str(change.kept)
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(b"x" * len(whole))
    assert shop.journal.fetch(change) == whole  # the last text is still remembered
    with pytest.raises(HeadwaterError) as caught:
        shop.journal.texts.get(change)
    assert (caught.value.rule, caught.value.path) == ("history-text", f"shop/{change.kept}")
    shop.journal.texts.put(change, whole)
    assert path.read_bytes() == whole


def _count_up(folder: str) -> None:
    journal = Journal(open_workspace(Path(folder)), Store("tables", "shop", "shop"), "bob")
    for _ in range(5):
        run(journal, Path(folder) / "shop/playground.db", "UPDATE note SET weight = weight + 1 WHERE word = 'b'")


def test_commands_of_two_processes_lose_no_update(shop: Shop) -> None:
    shop.run("UPDATE note SET weight = 0 WHERE word = 'b'")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_count_up, args=(str(shop.folder.parent),)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert shop.read("data/note.csv").endswith(b"\nb,10.0\n")
    log = shop.journal.log.read()
    assert log is not None
    assert len(log.records) == 12
    assert replay(log, "history.log", fetch=shop.journal.fetch).files == shop.journal.text().files()
    shop.agree()


def test_a_database_somebody_else_writes_to_is_said_to_be_busy(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    other = apsw.Connection(str(shop.database))
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr("assets.tables.execute.BUSY_MILLISECONDS", 50)
    with pytest.raises(HeadwaterError) as caught:
        shop.run("DELETE FROM note")
    other.execute("ROLLBACK")
    other.close()
    assert caught.value.rule == "sqlite-busy"
    assert shop.read("data/note.csv") == FILES["data/note.csv"]


def test_generated_columns_never_reach_the_text(tmp_path: Path) -> None:
    project = b"""\
version: 1
tables:
  line:
    columns:
      total: {type: integer, generated: "price * pieces"}
      price: {type: integer}
      id: {type: text}
      pieces: {type: integer}
    primary_key: [id]
"""
    (tmp_path / "headwater.toml").write_text("version = 1\n")
    (tmp_path / "shop/data").mkdir(parents=True)
    (tmp_path / "shop/project.yaml").write_bytes(project)
    (tmp_path / "shop/data/line.csv").write_bytes(b"price,id,pieces\n3,a,2\n4,b,1\n")
    journal = Journal(open_workspace(tmp_path), Store("tables", "shop", "shop"), "ada")
    database = tmp_path / "shop/playground.db"
    with scratch_database(journal.text()) as made:
        shutil.copy(made, database)
    applied = run(
        journal, database, "UPDATE line SET pieces = 5 WHERE id = 'b' RETURNING total; INSERT INTO line VALUES (1,'c',1)"
    )
    assert applied.results[0].rows == [(20,)]
    assert (tmp_path / "shop/data/line.csv").read_bytes() == b"price,id,pieces\n3,a,2\n4,b,5\n1,c,1\n"
    log = journal.log.read()
    assert log is not None
    assert replay(log, "history.log", fetch=journal.fetch).files == journal.text().files()
    with scratch_database(journal.text()) as made:
        assert compare_databases(made, database, journal.text().project, labels=("text", "db")).equal


def test_columns_that_sqlite_lets_hold_anything_get_the_type_of_their_values(shop: Shop) -> None:
    connection = apsw.Connection(str(shop.database))
    connection.execute("CREATE TABLE extra (id INTEGER PRIMARY KEY, whole, n NUMERIC, raw, word, none, kept VARCHAR(9))")
    connection.execute("INSERT INTO extra VALUES (1, 7, 2, x'00ff', 'a', NULL, 5), (2, NULL, 2.5, NULL, 'b', NULL, 'x')")
    connection.close()
    made = export(shop.journal.text(), shop.database, add_tables=True)
    described = from_files(dict(FILES) | made.files, "text").project.tables["extra"].columns
    assert [column.type for column in described.values()] == ["integer", "integer", "float", "blob", "text", "text", "text"]
    assert made.files["data/extra.csv"] == b"id,whole,n,raw,word,none,kept\n1,7,2.0,AP8=,a,,5\n2,,2.5,,b,,x\n"


def test_a_column_of_mixed_values_is_a_finding(shop: Shop) -> None:
    connection = apsw.Connection(str(shop.database))
    connection.execute("CREATE TABLE extra (id INTEGER PRIMARY KEY, mixed)")
    connection.execute("INSERT INTO extra VALUES (1, 7), (2, 'x')")
    connection.close()
    with pytest.raises(InvalidText, match="`7` cannot be written as text"):
        export(shop.journal.text(), shop.database, add_tables=True)
