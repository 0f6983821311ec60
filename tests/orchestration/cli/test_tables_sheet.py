"""The round trip through a spreadsheet: what Excel saves is read by declared type, its losses are put back and said."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook

from orchestration.cli.main import main

PROJECT = """\
version: 1
tables:
  maker:
    columns:
      code: {type: text, pattern: "[0-9]{5}"}
      name: {type: text}
    primary_key: [code]
  part:
    columns:
      id: {type: integer}
      maker: {type: text}
      ean: {type: text}
      price: {type: "decimal(8,2)"}
      weight: {type: float}
      colour: {type: enum, enum: [red, "light blue"]}
      sold: {type: boolean, nullable: false}
      since: {type: date}
      seen: {type: timestamp}
      note: {type: text}
    primary_key: [id]
relationships:
  made_by:
    from: {table: part, columns: [maker]}
    to: {table: maker, columns: [code]}
"""
MAKER = "code,name\n00417,Ärla\n10000,=SUM(A1)\n"
PART = (
    "id,maker,ean,price,weight,colour,sold,since,seen,note\n"
    '1,00417,4006381333931,12.30,0.1,red,true,2026-03-04,2026-01-02T03:04:05Z,""\n'
    '2,10000,0012,0.05,,light blue,false,,,"a;b ""c"""\n'
    "3,,,1000.00,2.5e-07,,true,1899-12-31,,-5\n"
)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with one store, as the current folder."""
    (tmp_path / "headwater.toml").write_text("version = 1\n")
    (tmp_path / "shop/data").mkdir(parents=True)
    (tmp_path / "shop/project.yaml").write_text(PROJECT)
    (tmp_path / "shop/data/maker.csv").write_text(MAKER)
    (tmp_path / "shop/data/part.csv").write_text(PART)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADWATER_ACTOR", "ada")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["tables", "sheet", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def record(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, out, err = run(capsys, *arguments, "--json")
    assert code == 0, (out, err)
    made: dict[str, Any] = json.loads(out)
    return made


def test_a_workbook_comes_back_without_a_difference(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "export")[0] == 0
    code, out, err = run(capsys, "import", "shop.xlsx", "--yes")
    assert (code, out, err) == (0, "nothing has changed\n", "")
    assert (work / "shop/data/part.csv").read_text() == PART


def test_the_workbook_locks_types_and_offers_choices(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "export")[0] == 0
    book = load_workbook(work / "shop.xlsx")
    part = book["part"]
    assert part["B2"].value == "00417"
    assert part["B2"].number_format == "@"
    assert part["H2"].value == dt.datetime(2026, 3, 4)
    assert part["H4"].value == "1899-12-31"
    assert part["G2"].value is True
    assert part["J2"].value == '""'
    maker = book["maker"]["B3"]
    assert (maker.value, maker.data_type, maker.quotePrefix) == ("=SUM(A1)", "s", True)
    lists = {str(one.sqref): one.formula1 for one in part.data_validations.dataValidation}
    assert lists["B2:B1048576"] == "'maker'!$A$2:$A$3"
    assert lists["F2:F1048576"] == '"red,light blue"'
    assert part.freeze_panes == "A2"


def test_an_edited_workbook_changes_only_what_was_edited(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "export")
    book = load_workbook(work / "shop.xlsx")
    book["part"]["D2"].value = 13.5
    book["part"].append([4, "10000", "7", 2, None, "red", False, dt.date(2026, 5, 6), None, "new"])
    book.save(work / "edited.xlsx")
    before = (work / "shop/history.log").exists()
    made = record(capsys, "import", "edited.xlsx", "--dry-run")
    assert (made["written"], (work / "shop/history.log").exists()) == (False, before)
    assert run(capsys, "import", "edited.xlsx", "--yes")[0] == 0
    expected = PART.replace("12.30", "13.50") + "4,10000,7,2.00,,red,false,2026-05-06,,new\n"
    assert (work / "shop/data/part.csv").read_text() == expected


def test_what_excel_saves_as_csv_is_read_and_its_losses_are_put_back(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = (
        "id;maker;ean;price;weight;colour;sold;since;seen;note\r\n"
        "1;417;4,00638E+12;12,3;0,1;red;WAHR;04.03.2026;02.01.2026 03:04;\r\n"
        '2;10000;12;0,05;;light blue;FALSCH;;;"a;b ""c"""\r\n'
        "3;;;1.000,00;2,5E-07;;WAHR;31.12.1899;;-5\r\n"
    )
    (work / "part.csv").write_bytes(saved.encode("cp1252"))
    made = record(capsys, "import", "part.csv", "--dry-run")
    assert made["differences"]["tables"] == []
    assert {(one["column"], one["loss"]) for one in made["losses"]} == {
        ("maker", "leading zeros were lost"),
        ("ean", "leading zeros were lost"),
        ("ean", "digits were lost (1.2E+12)"),
        ("note", "an empty text became nothing"),
        ("seen", "seconds or fractions were lost"),
    }


def test_windows_1252_and_a_key_without_its_zeros(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "maker.csv").write_bytes("code;name\r\n417;Ärla Öl\r\n10000;=SUM(A1)\r\n".encode("cp1252"))
    assert run(capsys, "import", "maker.csv", "--yes")[0] == 0
    assert (work / "shop/data/maker.csv").read_text() == MAKER.replace("Ärla", "Ärla Öl")


def test_an_ambiguous_date_is_never_guessed(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = PART.splitlines()
    changed = [lines[0], lines[1].replace("2026-03-04", "05/06/2026"), *lines[2:]]
    (work / "part.csv").write_text("\n".join(changed) + "\n")
    code, _, err = run(capsys, "import", "part.csv", "--yes")
    assert code == 1
    assert "05/06/2026" in err
    assert "--dates day" in err
    assert (work / "shop/data/part.csv").read_text() == PART
    assert run(capsys, "import", "part.csv", "--yes", "--dates", "day")[0] == 0
    assert (work / "shop/data/part.csv").read_text() == PART.replace("2026-03-04", "2026-06-05")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("12.30", "twelve", "2, price"),
        ("12.30", "12.345", "more digits"),
        ("2026-03-04", "31/02/2026", "2, since"),
        ("red", "green", "2, colour"),
        ("true,2026", "perhaps,2026", "neither true nor false"),
        ("2,10000", "1,10000", "same key"),
    ],
)
def test_a_bad_cell_is_named_and_nothing_is_written(
    work: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    (work / "part.csv").write_text(PART.replace(old, new, 1))
    code, _, err = run(capsys, "import", "part.csv", "--yes")
    assert code == 3
    assert said in err
    assert (work / "shop/data/part.csv").read_text() == PART


def test_a_removed_row_is_shown_before_anything_is_written(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "part.csv").write_text("".join(PART.splitlines(keepends=True)[:3]))
    code, out, err = run(capsys, "import", "part.csv")
    assert code == 1
    assert "- id=3" in out
    assert "--yes" in err
    assert (work / "shop/data/part.csv").read_text() == PART


@pytest.mark.parametrize("data", [b"PK\x03\x04broken", b"\xd0\xcf\x11\xe0old", b"who,knows\n1,2\n", b"\x81\x8d\x8f\n"])
def test_a_file_that_is_no_table_is_refused(work: Path, capsys: pytest.CaptureFixture[str], data: bytes) -> None:
    (work / "part.csv").write_bytes(data)
    code, _, err = run(capsys, "import", "part.csv", "--yes")
    assert (code, "sheet-file" in err) == (1, True)


def test_case_92_an_excel_saved_copy_in_utf8_with_a_mark_loads(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved = PART.replace(',""\n', ",\n").replace("\n", "\r\n").encode("utf-8-sig")
    (work / "part.csv").write_bytes(saved)
    made = record(capsys, "import", "part.csv", "--dry-run")
    assert made["differences"]["tables"] == []
    assert made["losses"] == [{"table": "part", "column": "note", "loss": "an empty text became nothing", "cells": 1}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "utf-8-sig"])
def test_unicode_text_of_a_spreadsheet_is_read(work: Path, capsys: pytest.CaptureFixture[str], encoding: str) -> None:
    (work / "maker.csv").write_bytes("code\tname\r\n00417\tŻółw\r\n10000\t=SUM(A1)\r\n".encode(encoding))
    assert run(capsys, "import", "maker.csv", "--yes")[0] == 0
    assert (work / "shop/data/maker.csv").read_text() == MAKER.replace("Ärla", "Żółw")
