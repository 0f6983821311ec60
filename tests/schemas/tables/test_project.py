"""project.yaml: every finding at its place, and what the file means."""

from __future__ import annotations

from decimal import Decimal

import pytest

from schemas.errors import InvalidText, NewerFormat
from schemas.findings import Finding
from schemas.tables.project import examine_project, read_project, write_project

SHOP = b"""\
version: 1
project: {name: shop, x-course: sql-101}
tables:
  customer:
    columns:
      id: {type: integer}
      name: {type: text, nullable: false, max_length: 80}
      email: {type: text, unique: true, pattern: "[^@]+@[^@]+"}
      state: {type: enum, enum: [new, active, "off"], default: new}
    primary_key: [id]
  order:
    title: Orders
    columns:
      id: {type: integer}
      line: {type: integer}
      customer_id: {type: integer}
      total: {type: "decimal(10,2)", min: 0}
      placed: {type: timestamp, default: {sql: current_timestamp}}
      double: {type: integer, generated: line * 2}
    primary_key: [id, line]
    checks: {line from one: line >= 1}
    indexes: {by customer: {columns: [customer_id], where: customer_id IS NOT NULL}}
relationships:
  placed by:
    from: {table: order, columns: [customer_id]}
    to: {table: customer, columns: [id]}
    on_delete: set_null
views:
  totals: {sql: "SELECT customer_id, count(*) AS orders FROM \\"order\\" GROUP BY customer_id"}
x-note: kept
"""


def findings(text: str | bytes) -> list[Finding]:
    data = text.encode() if isinstance(text, str) else text
    return [finding for finding in examine_project(data, "p/project.yaml")[1] if finding.blocking]


def one(text: str | bytes) -> Finding:
    (finding,) = findings(text)
    return finding


def tables(body: str, rest: str = "") -> str:
    return "version: 1\ntables:\n" + body + rest


PARENT = """\
  customer:
    columns: {id: {type: integer}, code: {type: text}, city: {type: text, nullable: false}}
    primary_key: [id]
"""


def relationship(child: str, extra: str = "", columns: str = "customer_id", to: str = "customer", parent: str = "id") -> str:
    return tables(
        PARENT + f"  order:\n    columns: {{id: {{type: integer}}, {child}}}\n    primary_key: [id]\n",
        f"relationships:\n  r: {{from: {{table: order, columns: [{columns}]}},"
        f" to: {{table: {to}, columns: [{parent}]}}{extra}}}\n",
    )


def test_a_whole_project() -> None:
    project = read_project(SHOP, "project.yaml")
    order = project.tables["order"]
    assert order.data_file == "data/order.csv"
    assert list(order.stored) == ["id", "line", "customer_id", "total", "placed"]
    assert project.relationships["placed by"].child.table == "order"
    assert project.tables["customer"].columns["id"].is_nullable is False
    assert project.extensions == {"x-note": "kept"}
    assert project.project.extensions == {"x-course": "sql-101"}


def test_writing_is_a_fixed_point_and_says_the_same() -> None:
    project = read_project(SHOP, "project.yaml")
    text = write_project(project)
    again = read_project(text.encode(), "project.yaml")
    assert again == project
    assert write_project(again) == text


def test_all_findings_come_at_once_with_their_places() -> None:
    text = tables("""\
  a:
    colums: {}
    columns:
      id: {type: integr}
      n: {type: integer, defualt: 3, min: 5, max: 2}
    primary_key: [ix]
    checks: {one: n > m, two: random() > 0}
""")
    found = {(finding.rule, finding.line): finding for finding in findings(text)}
    assert found["tables-unknown-key", 4].fix == "write `columns`"
    assert found["tables-type", 6].fix == "write integer"
    assert found["tables-unknown-key", 7].fix == "write `default`"
    assert found["tables-option", 7].message == "max is below min"
    assert found["tables-key", 8].fix == "write 'id'"
    assert len(found) == 5


def test_expressions_are_judged_although_other_things_are_wrong() -> None:
    text = tables("""\
  a:
    columns: {id: {type: integer}, n: {type: integer}}
    primary_key: [ix]
    checks:
      one: nn > 1
      two: random() > 0
""")
    assert [(finding.line, finding.rule) for finding in findings(text)] == [
        (5, "tables-key"),
        (7, "tables-expression"),
        (8, "tables-expression"),
    ]


def test_case_28_relationship_to_a_missing_table_or_column() -> None:
    finding = one(relationship("customer_id: {type: integer}", to="custmer"))
    assert (finding.rule, finding.line, finding.fix) == ("tables-relationship", 10, "write 'customer'")
    assert "no column 'idd'" in one(relationship("customer_id: {type: integer}", parent="idd")).message


def test_case_29_relationship_to_a_parent_that_is_not_unique() -> None:
    finding = one(relationship("customer_id: {type: text}", parent="code"))
    assert "neither the primary key nor a unique set" in finding.message


def test_case_30_relationship_between_different_types() -> None:
    finding = one(relationship("customer_id: {type: text}"))
    assert finding.message == "order.customer_id is text, customer.id is integer"


def test_case_38_checks_must_say_the_same_every_time() -> None:
    for check in (
        "id > random()",
        "id > abs(random())",
        "current_date > '2024-01-01'",
        "date('now') > '2024-01-01'",
        "date() > ''",
        "strftime('%Y') > ''",
        "datetime(1, 'unixepoch', 'localtime') > ''",
        "changes() > 1",
    ):
        for place in (
            f"    checks: {{c: {check!r}}}\n" if '"' not in check else "",
            f'    indexes: {{c: {{columns: [id], where: "{check}"}}}}\n',
        ):
            text = tables(
                "  t:\n    columns: {id: {type: integer}, n: {type: integer}}\n    primary_key: [id]\n" + _quoted(place, check)
            )
            assert one(text).rule == "tables-expression", check
    text = tables('  t:\n    columns: {id: {type: integer, nullable: false}, n: {type: integer, generated: "random()"}}\n')
    assert one(text).rule == "tables-expression"
    text = tables('  t:\n    columns: {id: {type: date, default: {sql: "random()"}}, n: {type: text}}\n')
    assert one(text).rule == "tables-value"


def _quoted(place: str, check: str) -> str:
    return place.replace(repr(check), f'"{check}"')


def test_moments_in_columns_are_allowed() -> None:
    text = tables("""\
  t:
    columns: {id: {type: integer}, at: {type: date, check: "strftime('%w', at) NOT IN ('0', '6') AND date(at, '+1 day') > at"}}
""")
    assert findings(text) == []


def test_case_39_one_to_one_needs_a_unique_child() -> None:
    finding = one(relationship("customer_id: {type: integer}", ", cardinality: one-to-one"))
    assert "to be unique" in finding.message
    assert findings(relationship("customer_id: {type: integer, unique: true}", ", cardinality: one-to-one")) == []


def test_case_40_set_null_on_a_child_that_cannot_be_null() -> None:
    finding = one(relationship("customer_id: {type: integer, nullable: false}", ", on_delete: set_null"))
    assert "may be NULL" in finding.message
    assert (
        "set_default needs a default"
        in one(relationship("customer_id: {type: integer, nullable: false}", ", on_update: set_default")).message
    )


def test_one_to_many_is_the_other_way_round_and_many_to_many_is_explained() -> None:
    text = relationship("customer_id: {type: integer}").replace(
        "{from: {table: order, columns: [customer_id]}, to: {table: customer, columns: [id]}}",
        "{from: {table: customer, columns: [id]}, to: {table: order, columns: [customer_id]}, cardinality: one-to-many}",
    )
    flipped = read_project(text.encode(), "project.yaml").relationships["r"]
    assert (flipped.child.table, flipped.parent.table) == ("order", "customer")
    finding = one(relationship("customer_id: {type: integer}", ", cardinality: many-to-many"))
    assert "junction table" in str(finding.fix)


def test_optional_must_agree_with_the_columns() -> None:
    assert "optional is true" in one(relationship("customer_id: {type: integer, nullable: false}", ", optional: true")).message


def test_case_76_hostile_names_are_fine() -> None:
    text = tables(
        """\
  select:
    columns:
      {from: {type: integer}, group: {type: text}, 'a"b': {type: text}, a b: {type: text}, "x;drop table y--": {type: text}}
    primary_key: [from]
    unique: {'a"b': ['a"b', a b]}
    checks: {"x;drop": '"x;drop table y--" <> "a b"'}
    indexes: {"group": {columns: [group, "x;drop table y--"]}}
  'a"b':
    file: data/quoted.csv
    columns: {id: {type: integer}, from: {type: integer}}
    primary_key: [id]
""",
        "relationships:\n  'x\"y': {from: {table: 'a\"b', columns: [from]}, to: {table: select, columns: [from]}}\n",
    )
    assert findings(text) == []


def test_a_table_name_that_is_no_file_name_needs_a_file() -> None:
    finding = one(tables("  'a\"b':\n    columns: {id: {type: integer}, n: {type: text}}\n"))
    assert (finding.rule, finding.line) == ("tables-file", 3)


def test_files_lie_below_data() -> None:
    for path in ("../x.csv", "/etc/x.csv", "x.csv", "data/x.txt", "data/../x.csv", "data\\\\x.csv", "data/con.csv"):
        text = tables(f'  t:\n    file: "{path}"\n    columns: {{id: {{type: integer}}, n: {{type: text}}}}\n')
        assert one(text).rule == "tables-file", path


def test_case_77_78_names_that_differ_only_by_case_or_form() -> None:
    columns = "    columns: {id: {type: integer}, n: {type: text}}\n"
    rules = {finding.rule for finding in findings(tables(f"  Order:\n{columns}  order:\n{columns}"))}
    assert "tables-name-collision" in rules
    rules = {finding.rule for finding in findings(tables(f"  É:\n{columns}  é:\n{columns}"))}
    assert "tables-name-collision" in rules
    assert one(tables("  t:\n    columns: {a: {type: text}, A: {type: text}}\n")).rule == "tables-name-collision"


@pytest.mark.parametrize(
    "name", ["sqlite_x", "SQLITE_x", "a.b", "a/b", "x" * 64, "e\u0301", " a", "a\\tb", "con", "aux", "COM1", ""]
)
def test_case_80_names_that_belong_to_others(name: str) -> None:
    text = tables(f'  "{name}":\n    file: data/t.csv\n    columns: {{id: {{type: integer}}, n: {{type: text}}}}\n')
    assert [finding.rule for finding in findings(text)] in (["tables-name"], ["yaml-key"])


def test_a_finding_about_a_name_shows_it() -> None:
    finding = one(tables("  t:\n    columns: {id: {type: integer}, net/gross: {type: text}}\n"))
    assert finding.message == "columns: `net/gross`: the name holds '/', which separates names from each other"
    checked = tables('  t:\n    columns: {id: {type: integer, check: id > 0}, "": {type: text}}\n')
    assert one(checked).message == "columns: ``: a name cannot be empty"


@pytest.mark.parametrize("name", ["no", "on", "null", "1", "~"])
def test_case_81_keys_that_yaml_reads_as_something_else(name: str) -> None:
    text = tables(f"  t:\n    columns:\n      {name}: {{type: integer}}\n      n: {{type: text}}\n")
    finding = one(text)
    assert (finding.rule, finding.line) == ("yaml-key", 5)
    assert '"' in str(finding.fix)
    assert findings(text.replace(f"      {name}:", f'      "{name}":')) == []


def test_case_87_newer_versions_are_refused_before_anything_else() -> None:
    with pytest.raises(NewerFormat) as caught:
        read_project(b"version: 2\ntables: nonsense\n", "project.yaml")
    assert "format version 2" in caught.value.message
    assert "up to 1" in caught.value.message


def test_versions_that_are_none_each_have_their_own_words() -> None:
    messages = {}
    for written in ("", 'version: "1"\n', "version: 1.0\n", "version: true\n", "version: -1\n", "version:\n"):
        finding = one(written + "tables: {}\n")
        assert finding.rule == "tables-version"
        messages[finding.message] = written
    assert len(messages) == 6


def test_values_of_the_wrong_shape() -> None:
    finding = one(tables("  t:\n    columns: {a: {type: text, nullable: maybe}, b: {type: text}}\n"))
    assert finding.message == "`nullable` is not true or false"
    assert "missing" in one(tables("  t:\n    columns: {a: {nullable: true}, b: {type: text}}\n")).message
    assert one("version: 1\ntables: []\n").rule == "tables-value"


def test_literals_are_values_of_the_type() -> None:
    for column in (
        "{type: integer, default: x}",
        "{type: integer, min: 1.5}",
        '{type: "decimal(4,1)", max: 12.345}',
        "{type: date, min: 2024-02-30}",
        "{type: text, default: 3}",
        "{type: boolean, default: 1}",
        "{type: enum, enum: [a, 1]}",
        "{type: enum, enum: [a, a]}",
        "{type: text, enum: [a], default: b}",
        "{type: text, default: {sql: current_date}}",
    ):
        text = tables(f"  t:\n    columns:\n      id: {{type: integer}}\n      c: {column}\n")
        assert one(text).rule in {"tables-literal", "tables-value"}, column
    text = tables('  t:\n    columns: {id: {type: integer}, c: {type: "decimal(4,1)", min: 1, max: 2.5, default: 1.5}}\n')
    assert read_project(text.encode(), "p").tables["t"].columns["c"].bounds == (Decimal("1.0"), Decimal("2.5"))


def test_patterns_are_re2() -> None:
    text = tables("  t:\n    columns: {id: {type: integer}, c: {type: text, pattern: '(?=a)b'}}\n")
    assert "RE2" in one(text).message


def test_a_decimal_compared_as_text_is_a_warning() -> None:
    text = tables('  t:\n    columns: {id: {type: integer}, c: {type: "decimal(4,1)", check: c > 10}}\n')
    _, found = examine_project(text.encode(), "p")
    assert [finding.rule for finding in found] == ["tables-decimal-compared"]


def test_renames_have_one_old_name() -> None:
    text = tables(
        "  t:\n    columns: {a: {type: text, was: b}, b: {type: text}, c: {type: text, was: z}, d: {type: text, was: z}}\n"
    )
    assert [finding.rule for finding in findings(text)] == ["tables-rename", "tables-rename"]


def test_a_single_nullable_column_is_refused() -> None:
    assert one(tables("  t:\n    columns: {a: {type: text}}\n")).rule == "tables-one-column"
    assert findings(tables("  t:\n    columns: {a: {type: text, nullable: false}}\n")) == []
    assert findings('version: 1\nformat: {null_text: "\\\\N"}\ntables:\n  t:\n    columns: {a: {type: text}}\n') == []


def test_views_may_use_each_other_but_only_select() -> None:
    body = "  t:\n    columns: {id: {type: integer}, n: {type: text}}\n"
    views = "views:\n  one: {sql: SELECT * FROM two}\n  two: {sql: SELECT id FROM t}\n"
    assert findings(tables(body, views)) == []
    for sql in ("DELETE FROM t", "SELECT * FROM nowhere", "SELECT 1; DROP TABLE t", "ATTACH 'x' AS y", "PRAGMA user_version"):
        assert one(tables(body, f'views:\n  v: {{sql: "{sql}"}}\n')).rule == "tables-expression", sql


def test_no_expression_leaves_its_place() -> None:
    for check in (
        "1) ; DROP TABLE t; --",
        "1 /* x */",
        "(select count(*) from t) > 1",
        "id = ?1",
        "[id] > 1",
        "`id` > 1",
        "id > (1",
    ):
        text = tables(f'  t:\n    columns: {{id: {{type: integer}}, n: {{type: text}}}}\n    checks: {{c: "{check}"}}\n')
        assert one(text).rule == "tables-expression", check


def test_a_misspelt_quoted_column_is_not_text() -> None:
    text = tables("  t:\n    columns: {id: {type: integer}, name: {type: text}}\n    checks: {c: '\"nmae\" <> ''x'''}\n")
    assert "no such column" in one(text).message


def test_read_project_raises_with_all_findings() -> None:
    with pytest.raises(InvalidText) as caught:
        read_project(b"version: 1\ntables: {t: {columns: {a: {type: x}, b: {type: y}}}}\n", "project.yaml")
    assert len(caught.value.findings) == 2


def test_a_unique_index_named_as_a_unique_column_hides_nothing() -> None:
    project = read_project(
        b"""version: 1
tables:
  t:
    columns: {id: {type: integer}, email: {type: text, unique: true}, b: {type: text}}
    primary_key: [id]
    indexes: {email: {columns: [b], unique: true}, some: {columns: [b], unique: true, where: id > 1}}
""",
        "p",
    )
    assert sorted(project.tables["t"].unique_sets.values()) == [("b",), ("email",)]
    assert project.tables["t"].keys == [("id",), ("email",), ("b",)]
