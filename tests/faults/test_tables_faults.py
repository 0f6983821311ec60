"""What `tables` commands write, killed before every system call: text whole, the history in step, nothing to repair by hand."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from assets.engine.model import Store
from assets.tables.execute import run
from assets.tables.journal import Journal
from assets.tables.live import Unreadable, compare_databases, scratch_database
from assets.tables.replay import replay
from resources.workspace import open_workspace
from tests.faults.harness import kill, needs_strace, points

pytestmark = [pytest.mark.slow, needs_strace]

PROJECT = """\
version: 1
tables:
  city:
    columns:
      id: {type: integer}
      name: {type: text}
    primary_key: [id]
  person:
    columns:
      id: {type: integer}
      city: {type: integer}
    primary_key: [id]
relationships:
  lives_in:
    from: {table: person, columns: [city]}
    to: {table: city, columns: [id]}
    on_delete: cascade
"""
PROGRAM = """
from pathlib import Path
from assets.engine.model import Store
from assets.tables.execute import run
from assets.tables.journal import Journal
from resources.workspace import open_workspace
journal = Journal(open_workspace(Path.cwd()), Store("tables", "shop", "shop"), "ada")
database = Path.cwd() / "shop/playground.db"
run(journal, database, "SELECT 1")
os.access(BEGIN, 0)
run(journal, database, "DELETE FROM city WHERE id = 1")
"""


def _journal(folder: Path) -> Journal:
    return Journal(open_workspace(folder), Store("tables", "shop", "shop"), "ada")


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A workspace whose history has two records."""
    folder = tmp_path / "prepared"
    (folder / "shop/data").mkdir(parents=True)
    (folder / "headwater.toml").write_text("version = 1\n")
    (folder / "shop/project.yaml").write_text(PROJECT)
    (folder / "shop/data/city.csv").write_text("id,name\n1,Aarhus\n2,Bergen\n")
    (folder / "shop/data/person.csv").write_text("id,city\n1,1\n2,1\n3,2\n")
    journal = _journal(folder)
    with scratch_database(journal.text()) as made:
        shutil.copy(made, folder / "shop/playground.db")
    run(journal, folder / "shop/playground.db", "UPDATE city SET name = 'Oslo' WHERE id = 2")
    return folder


@pytest.mark.timeout(900)
def test_exec_killed_before_any_system_call(tmp_path: Path, prepared: Path) -> None:
    old = _journal(prepared).text().files()
    new = {
        **old,
        "data/city.csv": b"id,name\n2,Oslo\n",
        "data/person.csv": b"id,city\n3,2\n",
    }
    shutil.copytree(prepared, tmp_path / "trace")
    found = points(PROGRAM, tmp_path / "trace", [])
    assert len(found) > 20
    seen = set()
    for point in found:
        folder = tmp_path / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(prepared, folder)
        kill(PROGRAM, folder, [], point)
        journal = _journal(folder)
        with journal.open() as text:
            files = text.files()
        assert files in (old, new), f"{point}: {files}"
        seen.add(files == new)
        log = journal.log.read()
        assert log is not None, str(point)
        assert log.digest == text.digest(), str(point)
        assert [record.kind for record in log.records].count("external_change") == 0, f"{point}: a change without its command"
        assert replay(log, "history.log", fetch=journal.fetch).files == files, str(point)
        _database_is_old_or_new(folder, files == new, str(point))
        run(journal, folder / "shop/playground.db", "SELECT count(*) FROM city")
    assert seen == {True, False}


TAKEN_OVER = """
from pathlib import Path
from assets.engine.model import Store
from assets.tables.execute import run
from assets.tables.journal import Journal
from resources.workspace import open_workspace
journal = Journal(open_workspace(Path.cwd()), Store("tables", "shop", "shop"), "ada")
run(journal, Path.cwd() / "shop/playground.db", "SELECT 1")
os.access(BEGIN, 0)
with journal.open() as text:
    old = text.files()
    journal.catch_up(old)
    journal.commit(old, {"data/city.csv": LARGE}, Draft("ada", RecordKind.EXPORT, "export", "", ""), with_text=True)
"""


@pytest.mark.timeout(900)
def test_text_that_the_log_only_names_is_durable_before_its_record(tmp_path: Path, prepared: Path) -> None:
    draw = random.Random(3)
    edited, exported = (
        b"id,name\n" + b"".join(b"%d,%s\n" % (number, draw.randbytes(60).hex().encode()) for number in range(1, 20_000))
        for _ in range(2)
    )
    (prepared / "shop/data/city.csv").write_bytes(edited)
    program = (
        "from resources.tables.history_log import Draft\nfrom schemas.tables.history import RecordKind\n"
        f"LARGE = open({str(tmp_path / 'exported')!r}, 'rb').read()\n" + TAKEN_OVER
    )
    (tmp_path / "exported").write_bytes(exported)
    shutil.copytree(prepared, tmp_path / "trace")
    found = points(program, tmp_path / "trace", [])
    assert len([point for point in found if "/history/" in point.text or point.kind == "linkat"]) >= 2
    seen = set()
    for point in found:
        folder = tmp_path / "run"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(prepared, folder)
        kill(program, folder, [], point)
        log = _journal(folder).log.read()
        assert log is not None, str(point)
        for change in log.named():  # before anything is mended
            assert _journal(folder).texts.get(change) is not None, str(point)
        journal = _journal(folder)
        with journal.open() as text:
            files = text.files()
            journal.catch_up(files)
        city = files["data/city.csv"]
        assert city in (edited, exported), str(point)
        log = journal.log.read()
        assert log is not None, str(point)
        assert log.digest == text.digest(), str(point)
        shutil.rmtree(folder / ".headwater")
        assert replay(log, "history.log", fetch=_journal(folder).fetch).files == files, str(point)
        named = {change.oid for change in log.named()}
        list(open_workspace(folder).root.scan("shop"))  # as every command does, which sweeps what was half-written
        kept = {path.name for path in (folder / "shop/history").iterdir()}
        assert kept == {f"{str(oid).partition(':')[2]}.csv" for oid in named}, f"{point}: {kept}"
        seen.add((city == exported, len(named)))
    assert seen == {(False, 1), (True, 2)}


def _database_is_old_or_new(folder: Path, committed: bool, when: str) -> None:
    """The database says what the text says, or is older: then the plan shows that, and nothing but the one command differs."""
    journal = _journal(folder)
    try:
        with scratch_database(journal.text()) as made:
            compared = compare_databases(made, folder / "shop/playground.db", journal.text().project, labels=("text", "database"))
    except Unreadable as error:
        raise AssertionError(f"{when}: {error}") from None
    if not committed:
        assert compared.equal, when
    assert compared.rows in (0, 3), when
