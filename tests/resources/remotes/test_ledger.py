"""What is remembered of remotes: which one stands at a place, and that losing the memory costs only questions."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from resources.remotes.ledger import Ledger

ONE, TWO = "blake3:" + "1" * 64, "blake3:" + "2" * 64


def test_a_remote_made_anew_at_the_same_place_stands_for_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    assert ledger.held() == {}
    monkeypatch.setattr(time, "time", lambda: 100.0)
    ledger.prove("old", "/o", [ONE, TWO])
    ledger.prove("other", "/p", [TWO])
    monkeypatch.setattr(time, "time", lambda: 200.0)
    ledger.prove("new", "/o", [ONE])
    assert ledger.held() == {"/o": {ONE: 200}, "/p": {TWO: 100}}
    ledger.only("new", "/o")
    assert ledger.proved("old", [ONE, TWO]) == {}
    assert ledger.proved("new", [ONE, TWO]) == {ONE: 200}
    ledger.only(None, "/o")
    assert ledger.held() == {"/p": {TWO: 100}}


def test_a_damaged_ledger_proves_nothing_and_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"garbage" * 1000)
    ledger = Ledger(path)
    assert ledger.held() == {}
    ledger.prove("id", "/o", [ONE])
    assert set(ledger.held()["/o"]) == {ONE}
