"""Notes in a bucket, started, written and renamed from the command line without a file in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.storage import open_storage
from tests.orchestration.cli.notes_work import Run


@pytest.mark.s3
def test_a_store_in_a_bucket_is_started_and_changed(run: Run, tmp_path: Path, s3_url: str) -> None:
    ran = run("-C", s3_url, "notes", "init")
    assert ran.code == 0, ran
    for title, note_id in (("Alpha", "qp-aaaa"), ("Beta", "qp-bbbb")):
        ran = run("-C", s3_url, "notes", "new", title, "--id", note_id, "--body", f"see [[qp-aaaa]] of {title}")
        assert ran.code == 0, ran
    assert run("-C", s3_url, "notes", "link", "add", "Beta", "supports", "Alpha").code == 0
    assert run("-C", s3_url, "notes", "mv", "Alpha", "archive/").code == 0
    ran = run("-C", s3_url, "notes", "rm", "Alpha")
    assert (ran.code, "notes-linked" in ran.err) == (1, True), ran
    ran = run("-C", s3_url, "notes", "edit", "Alpha")
    assert (ran.code, "needs-local" in ran.err) == (2, True), ran
    assert run("-C", s3_url, "notes", "sync").code == 2
    assert run("-C", s3_url, "notes", "pack", "-o", tmp_path / "p.jsonl").code == 0
    storage = open_storage(s3_url, state=tmp_path / "state")
    assert b"type: supports" in storage.read(".qipu/notes/qp-bbbb-beta.md")
    assert storage.stat(".qipu/archive/qp-aaaa-alpha.md") is not None
    assert storage.stat(".qipu/notes/qp-aaaa-alpha.md") is None
    assert run("-C", s3_url, "notes", "index", "--json").records[-1]["notes"] == 2
