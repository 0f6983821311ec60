"""Many writers on one store: no update is lost, no file is half of anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from schemas.notes import edit
from tests.resources.notes.stores import contents, links_of, store_of

WRITERS, UPDATES = 16, 4

WRITER = """
import sys
from tests.resources.notes.stores import NOW
from resources.notes.store import NotesStore
from resources.notes.writing import create, link_add, update
from resources.storage.local import LocalStorage
from schemas.errors import Conflict
store = NotesStore(LocalStorage(sys.argv[1]), ".qipu")
me = int(sys.argv[2])

def until_done(make):  # without the lock: the compare-and-swap alone keeps every update
    while True:
        plan = make()
        try:
            store.commit(plan.changes, plan.label)
        except Conflict:
            continue
        return plan

write = store.retry if me % 2 else until_done
for number in range(int(sys.argv[3])):
    tag, line = f"w{me}-{number}", f"by {me}, {number}"
    write(lambda: update(store, None, "notes/shared.md", add_tags=[tag], append=line, now=NOW))
    made = write(lambda: create(store, title=f"Note {me} {number}", now=NOW, known=lambda one: False))
    write(lambda: link_add(store, "notes/map.md", "has-part", made.path, now=NOW))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_case_79_updates_of_many_processes_are_all_there(tmp_path: Path) -> None:
    store = store_of(
        tmp_path, {"notes/shared.md": "---\nid: qp-s # kept\n---\n\nStart.\n", "notes/map.md": "---\nid: qp-m\n---\n"}
    )
    root = Path(__file__).resolve().parents[3]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(number), str(UPDATES)], cwd=root, stderr=subprocess.PIPE
        )
        for number in range(WRITERS)
    ]
    for process in started:
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()
    data = store.read("notes/shared.md")
    expected = {f"w{writer}-{number}" for writer in range(WRITERS) for number in range(UPDATES)}
    tags = edit.frontmatter(data, "x")["tags"]
    assert isinstance(tags, list)
    assert sorted(map(str, tags)) == sorted(expected)
    body = edit.body_of(data).decode()
    assert all(f"by {writer}, {number}\n" in body for writer in range(WRITERS) for number in range(UPDATES))
    assert data.startswith(b"---\nid: qp-s # kept\ntags: ")
    links = links_of(store)["notes/map.md"]
    assert len({to for _, to, _ in links}) == WRITERS * UPDATES
    assert all(to.startswith("notes/qp-") for _, to, _ in links)
    assert not [path for path in contents(store) if path.endswith(".hwtmp")]
