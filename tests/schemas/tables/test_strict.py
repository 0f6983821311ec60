"""The strict tier: every problem of a CSV file and of rows across files, at its line and column."""

from __future__ import annotations

import io
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import InvalidText
from schemas.findings import Finding
from schemas.tables.model import Project
from schemas.tables.project import read_project
from schemas.tables.rows import check_rows
from schemas.tables.strict import CAP, check_table, read_rows

PROJECT = read_project(
    b"""\
version: 1
tables:
  customer:
    columns: {id: {type: integer}, name: {type: text}, note: {type: text, nullable: false}}
    primary_key: [id]
  order:
    columns:
      id: {type: integer}
      day: {type: date}
      customer_id: {type: integer}
      qty: {type: integer, min: 1, max: 9}
      code: {type: text, max_length: 4, pattern: "[A-Z]+[0-9]*"}
      paid: {type: boolean}
      price: {type: "decimal(6,2)"}
      due: {type: date, check: due >= day}
    primary_key: [id]
    unique: {once: [day, code]}
    checks: {paid has price: paid IS NOT 1 OR price IS NOT NULL}
relationships:
  placed: {from: {table: order, columns: [customer_id]}, to: {table: customer, columns: [id]}}
""",
    "project.yaml",
)
HEAD = "id,day,customer_id,qty,code,paid,price,due\n"


def table_findings(data: str | bytes, table: str = "order", project: Project = PROJECT) -> list[Finding]:
    raw = data.encode() if isinstance(data, str) else data
    return list(check_table(raw, f"data/{table}.csv", project, table))


def places(found: list[Finding]) -> list[tuple[str, int | None, int | None]]:
    return [(finding.rule, finding.line, finding.column) for finding in found]


@pytest.mark.parametrize(("sign", "named"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_a_file_that_commas_do_not_separate_is_one_finding_that_names_what_does(sign: str, named: str) -> None:
    [finding] = table_findings((HEAD + "1,2024-01-31,1,1,A,true,1.00,\n").replace(",", sign) + "a,b\n")
    assert (finding.rule, finding.line, finding.column) == ("tables-separator", 1, 1)
    assert finding.message.startswith(f"the file is separated by {named};")
    assert "headwater tables sheet import" in str(finding.fix)


def test_one_strange_column_is_no_separator() -> None:
    assert {finding.rule for finding in table_findings("a;b\n1;2\n")} == {"tables-extra-column", "tables-missing-column"}


def across(project: Project, files: Mapping[str, str]) -> list[Finding]:
    openers = {name: (lambda text=text: io.BytesIO(text.encode())) for name, text in files.items()}
    return check_rows(project, openers, lambda path: path)


def customers(text: str) -> list[tuple[str, int | None, int | None]]:
    return places(table_findings(text, "customer"))


def test_a_good_file_has_no_findings() -> None:
    assert table_findings(HEAD + "1,2024-01-31,5,1,A1,true,12.30,2024-02-01\n2,,,,,,,\n") == []


def test_case_56_empty_is_null_and_quoted_empty_is_text() -> None:
    rows = list(read_rows(b'id,name,note\n1,,""\n', "c", PROJECT, "customer"))
    assert rows == [["1", None, ""]]


def test_case_57_words_that_mean_null_elsewhere_are_text() -> None:
    for word in ("NULL", "null", "NA", "Null", "\\N", "None", "nan"):
        assert list(read_rows(f"id,name,note\n1,{word},x\n".encode(), "c", PROJECT, "customer")) == [["1", word, "x"]]


def test_a_null_token_of_the_project() -> None:
    project = read_project(
        b'version: 1\nformat: {null_text: "\\\\N"}\ntables:\n  t: {columns: {a: {type: integer}, b: {type: text}}}\n', "p"
    )
    rows = list(read_rows(b'a,b\n\\N,\\N\n1,"\\N"\n2,\n3,""\n', "t", project, "t"))
    assert rows == [[None, None], ["1", "\\N"], ["2", ""], ["3", ""]]
    assert places(table_findings("a,b\n,x\n", "t", project)) == [("tables-cell", 2, 1)]


def test_case_58_a_byte_order_mark_is_not_part_of_the_header() -> None:
    assert customers("\ufeffid,name,note\n1,a,b\n") == [("csv-bom", 1, 1)]


def test_case_59_utf_16_is_named() -> None:
    (finding,) = table_findings("id,name,note\n1,a,b\n".encode("utf-16"), "customer")
    assert "UTF-16" in finding.message


def test_case_60_a_bad_byte_has_its_line_and_offset() -> None:
    (finding,) = table_findings(b"id,name,note\n1,a\xff,b\n", "customer")
    assert finding.line == 2
    assert "16" in finding.message


def test_case_61_nul_is_an_error() -> None:
    assert customers("id,name,note\n1,a\0,b\n") == [("text-nul", 2, 4)]


def test_case_62_text_after_a_closing_quote() -> None:
    assert customers('id,name,note\n"1"2,a,b\n') == [("csv-quote", 2, 4)]


def test_case_63_an_unterminated_quote_names_its_opening_line() -> None:
    assert customers('id,name,note\n1,a,b\n2,"c,d\n3,e,f\n') == [("csv-unterminated-quote", 3, 3)]


def test_case_64_65_66_rows_of_another_width_and_blank_lines() -> None:
    found = customers("id,name,note\n1,a\n1,a,b,c\n1,a,b,\n\n2,c,d\n")
    assert [rule for rule, _, _ in found] == ["csv-ragged-row", "csv-ragged-row", "csv-ragged-row", "csv-blank-line"]
    assert [line for _, line, _ in found] == [2, 3, 4, 5]


def test_case_67_columns_in_another_order_are_read_by_name() -> None:
    assert list(read_rows(b"note,id,name\nn,1,a\n", "c", PROJECT, "customer")) == [["1", "a", "n"]]


def test_case_68_duplicate_columns() -> None:
    assert "csv-duplicate-column" in [rule for rule, _, _ in customers("id,id,note\n1,a,b\n")]
    assert "csv-duplicate-column" in [rule for rule, _, _ in customers("id,ID,note\n1,a,b\n")]


def test_missing_and_extra_columns_have_places_and_guesses() -> None:
    found = table_findings("id,nmae,note,x\n1,a,b,c\n", "customer")
    assert places(found) == [
        ("tables-missing-column", 1, 1),
        ("tables-extra-column", 1, 4),
        ("tables-extra-column", 1, 14),
    ]
    assert found[1].fix == "write 'name'"
    found = table_findings("id, NAME ,note\n1,a,b\n", "customer")
    assert {finding.replacement for finding in found} == {None, "name"}


def test_case_69_a_large_cell() -> None:
    assert customers("id,name,note\n1," + "x" * 200_000 + ",b\n") == []


def test_case_70_line_ends_in_quotes_are_data() -> None:
    rows = list(read_rows(b'id,name,note\r\n1,"a\r\nb",c\r\n', "c", PROJECT, "customer"))
    assert rows == [["1", "a\r\nb", "c"]]


def test_case_71_a_line_feed_in_a_column_name_is_no_name() -> None:
    assert "tables-extra-column" in [rule for rule, _, _ in customers('id,"na\nme",note\n1,a,b\n')]


def test_case_72_header_only_and_empty_files() -> None:
    assert customers("id,name,note\n") == []
    assert customers("") == [("text-empty", 1, 1)]


def test_case_73_a_missing_last_line_feed_is_information() -> None:
    (finding,) = table_findings("id,name,note\n1,a,b", "customer")
    assert (finding.rule, finding.blocking) == ("csv-final-newline", False)


def test_case_74_lines_are_physical_after_a_cell_of_two_lines() -> None:
    assert customers('id,name,note\n1,"a\nb",c\nx,d,e\n') == [("tables-cell", 4, 1)]
    assert customers('id,name,note\n1,"a\nb",\n') == [("tables-null", 3, 4)]


def test_case_75_a_lone_cr() -> None:
    assert customers("id,name,note\r1,a,b\r") == [("text-lone-cr", 1, 13)]


def test_case_92_a_copy_saved_by_a_spreadsheet_names_the_columns() -> None:
    found = table_findings("\ufeffid,name,note\r\n1,,b\r\n", "customer")
    assert [finding.rule for finding in found] == ["tables-empty-strings-lost", "csv-bom"]
    assert "name" in found[0].message
    assert not any(finding.blocking for finding in found)


def test_every_kind_of_bad_cell_is_found_with_value_and_suggestion() -> None:
    found = table_findings(HEAD + "1.0,2024-2-9,x,0,abc,yes,12.345,2024-02-30\n" + "2,2024/01/01,+5,10,ABCDE,TRUE,1,\n")
    assert [(finding.line, finding.column, finding.rule, finding.value, finding.replacement) for finding in found] == [
        (2, 1, "tables-cell", "1.0", "1"),
        (2, 5, "tables-cell", "2024-2-9", "2024-02-09"),
        (2, 14, "tables-cell", "x", None),
        (2, 16, "tables-range", "0", None),
        (2, 18, "tables-pattern", "abc", None),
        (2, 22, "tables-cell", "yes", "true"),
        (2, 26, "tables-cell", "12.345", None),
        (2, 33, "tables-cell", "2024-02-30", None),
        (3, 3, "tables-cell", "2024/01/01", "2024-01-01"),
        (3, 14, "tables-cell", "+5", "5"),
        (3, 17, "tables-range", "10", None),
        (3, 20, "tables-length", "ABCDE", None),
        (3, 26, "tables-cell", "TRUE", "true"),
        (3, 31, "tables-cell", "1", "1.00"),
    ]


def test_case_32_null_in_a_key_has_a_place() -> None:
    assert customers("id,name,note\n,a,b\n") == [("tables-null", 2, 1)]


def test_text_that_is_not_nfc_or_a_formula_is_kept_and_said() -> None:
    found = table_findings("id,name,note\n1,e\u0301,=1+1\n", "customer")
    assert [(finding.rule, finding.blocking) for finding in found] == [("tables-not-nfc", False), ("tables-formula", False)]
    assert list(read_rows("id,name,note\n1,e\u0301,=1+1\n".encode(), "c", PROJECT, "customer")) == [["1", "e\u0301", "=1+1"]]


def test_findings_are_capped_and_counted() -> None:
    found = table_findings("id,name,note\n" + "x,a,b\n" * 250, "customer")
    assert len(found) == CAP + 1
    assert "250 problems" in found[0].message


def test_reading_stops_at_the_first_problem() -> None:
    with pytest.raises(InvalidText):
        list(read_rows(b"id,name,note\nx,a,b\n", "c", PROJECT, "customer"))


CUSTOMERS = "id,name,note\n1,a,x\n2,b,y\n"


def test_case_27_every_orphan_has_its_place() -> None:
    found = across(PROJECT, {"customer": CUSTOMERS, "order": HEAD + "1,,1,,,,,\n2,,,,,,,\n3,,99,,,,,\n4,,98,,,,,\n"})
    assert places(found) == [("tables-orphan", 4, 4), ("tables-orphan", 5, 4)]
    assert found[0].render().startswith("data/order.csv:4:4: error: customer_id=99: no customer.id")


def test_case_33_duplicate_keys_name_both_lines() -> None:
    found = across(PROJECT, {"customer": 'id,name,note\n1,"a\nb",x\n2,b,y\n1,c,z\n1,d,z\n'})
    assert places(found) == [("tables-duplicate-key", 5, 1), ("tables-duplicate-key", 6, 1)]
    assert found[0].message == "id=1: the same primary key is already in line 2"


def test_case_34_unique_sets_with_a_null_part_never_collide() -> None:
    rows = "1,2024-01-01,,,A,,,\n2,2024-01-01,,,,,,\n3,2024-01-01,,,,,,\n4,2024-01-01,,,A,,,\n"
    (finding,) = across(PROJECT, {"order": HEAD + rows})
    assert (finding.line, finding.message) == (5, "day=2024-01-01, code=A: the same unique once is already in line 2")


def test_case_37_checks_name_themselves_the_row_and_its_values() -> None:
    found = across(PROJECT, {"order": HEAD + "1,2024-01-02,,,,true,1.00,2024-01-01\n2,,,,,true,,\n"})
    assert places(found) == [("tables-check", 2, 3), ("tables-check", 3, 7)]
    assert found[0].message == "check due: check is false: due >= day with day=2024-01-02, due=2024-01-01"
    assert "paid has price" in found[1].message
    assert found[1].value == "paid=true, price=NULL"


def test_case_39_one_to_one_names_both_rows() -> None:
    project = read_project(
        b"""version: 1
tables:
  a: {columns: {id: {type: integer}, n: {type: text}}, primary_key: [id]}
  b: {columns: {id: {type: integer}, a_id: {type: integer, unique: true}}, primary_key: [id]}
relationships:
  r: {from: {table: b, columns: [a_id]}, to: {table: a, columns: [id]}, cardinality: one-to-one}
""",
        "p",
    )
    (finding,) = across(project, {"a": "id,n\n1,x\n", "b": "id,a_id\n1,1\n2,1\n"})
    assert (finding.line, finding.column, finding.message) == (3, 3, "a_id=1: the same unique a_id is already in line 2")


def test_case_41_orphans_of_tables_without_rowid_have_lines() -> None:
    project = read_project(
        b"""version: 1
tables:
  a: {columns: {code: {type: text}, n: {type: text}}, primary_key: [code]}
  b: {columns: {x: {type: text}, y: {type: date}}, primary_key: [x, y]}
relationships:
  r: {from: {table: b, columns: [x]}, to: {table: a, columns: [code]}}
""",
        "p",
    )
    (finding,) = across(project, {"a": "code,n\nk,1\n", "b": "x,y\nk,2024-01-01\nz,2024-01-01\n"})
    assert (finding.line, finding.column, finding.message) == (3, 1, "x=z: no a.code")


def test_case_23_25_26_order_of_rows_and_cycles_do_not_matter() -> None:
    project = read_project(
        b"""version: 1
tables:
  a: {columns: {id: {type: integer}, b: {type: integer}, up: {type: integer}}, primary_key: [id]}
  b: {columns: {id: {type: integer}, c: {type: integer}}, primary_key: [id]}
  c: {columns: {id: {type: integer}, a: {type: integer}}, primary_key: [id]}
relationships:
  ab: {from: {table: a, columns: [b]}, to: {table: b, columns: [id]}}
  bc: {from: {table: b, columns: [c]}, to: {table: c, columns: [id]}}
  ca: {from: {table: c, columns: [a]}, to: {table: a, columns: [id]}}
  up: {from: {table: a, columns: [up]}, to: {table: a, columns: [id]}}
""",
        "p",
    )
    assert across(project, {"a": "id,b,up\n1,1,2\n2,1,\n", "b": "id,c\n1,1\n", "c": "id,a\n1,1\n"}) == []


def test_generated_columns_are_computed_and_judged() -> None:
    project = read_project(
        b"""version: 1
tables:
  t:
    columns:
      id: {type: integer}
      a: {type: integer}
      double: {type: integer, generated: a * 2, max: 10, unique: true}
      word: {type: integer, generated: "'w' || a"}
    primary_key: [id]
    checks: {small: double < 8}
""",
        "p",
    )
    found = across(project, {"t": "id,a\n1,2\n2,5\n3,2\n"})
    assert [(finding.rule, finding.line) for finding in found] == [
        ("tables-generated", 2),
        ("tables-check", 3),
        ("tables-generated", 3),
        ("tables-duplicate-key", 4),
        ("tables-generated", 4),
    ]


def test_a_wrong_parent_cell_makes_no_orphans() -> None:
    found = across(PROJECT, {"customer": "id,name,note\n01,a,x\n", "order": HEAD + "1,,1,,,,,\n"})
    assert places(found) == [("tables-cell", 2, 1)]
    found = across(PROJECT, {"customer": "id,name,note\n1,a\n", "order": HEAD + "1,,1,,,,,\n"})
    assert [finding.rule for finding in found] == ["csv-ragged-row"]


def test_case_96_orphans_are_capped_with_a_total() -> None:
    rows = "".join(f"{number},,{number + 10},,,,,\n" for number in range(1000))
    found = across(PROJECT, {"customer": CUSTOMERS, "order": HEAD + rows})
    assert len(found) == CAP + 1
    assert found[0].message.startswith("1,000 problems")
    assert found[1].line == 2


def test_a_missing_parent_file_is_an_empty_table() -> None:
    (finding,) = across(PROJECT, {"order": HEAD + "1,,1,,,,,\n"})
    assert finding.rule == "tables-orphan"


CELL = st.one_of(st.none(), st.sampled_from(["", "1", "01", "x", "2024-01-01", "2024-13-01", "true", "1.50", "A1", "=x", 'q"']))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(CELL, min_size=8, max_size=8), max_size=6))
def test_a_file_is_readable_exactly_when_nothing_blocks(rows: list[list[str | None]]) -> None:
    from schemas.csv_write import write

    data = "".join(write(HEAD.strip().split(","), rows)).encode()
    blocked = any(finding.blocking for finding in check_table(data, "o", PROJECT, "order"))
    try:
        read = list(read_rows(data, "o", PROJECT, "order"))
    except InvalidText:
        assert blocked
    else:
        assert not blocked
        assert read == rows


def test_a_partial_unique_index_names_both_lines_and_only_where_it_holds() -> None:
    project = read_project(
        b"""\
version: 1
tables:
  seat:
    columns: {id: {type: integer}, row: {type: integer}, taken: {type: boolean}}
    primary_key: [id]
    indexes: {one taken: {columns: [row], unique: true, where: taken}}
""",
        "project.yaml",
    )
    found = across(project, {"seat": "id,row,taken\n1,7,true\n2,7,false\n3,7,false\n4,7,true\n5,,true\n6,,true\n"})
    assert [(finding.line, finding.column) for finding in found] == [(5, 3)]
    assert "the same unique one taken is already in line 2" in found[0].message


def test_a_wrong_cell_is_not_judged_again_by_the_checks_of_its_row() -> None:
    """It stands in for no value, least of all for NULL: one finding, that of the cell."""
    found = across(PROJECT, {"customer": "id,name,note\n", "order": HEAD + "1,2024-01-31,,1,A1,true,12.345,2024-02-01\n"})
    assert [(finding.rule, finding.line, finding.column) for finding in found] == [("tables-cell", 2, 25)]
