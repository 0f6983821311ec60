"""Rows of notes, and records that survive whatever a note holds."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from assets.notes.shown import aliases_of, escaped, meta_of, record, rows_of, unescaped
from tests.assets.notes.asked import asking, note


@settings(max_examples=50, deadline=None)
@given(st.text(st.one_of(st.characters(), st.sampled_from("\\tnru\t\n\r\0\u2028"))))
def test_case_61_a_field_is_one_line_and_can_be_read_back(text: str) -> None:
    field = escaped(text)
    assert len(field.splitlines()) <= 1
    assert "\t" not in field
    assert unescaped(field) == text


def test_a_record_is_fields_between_tabs() -> None:
    assert record("N", "a\tb", None, 'say "hi"\n', 3) == 'N\ta\\tb\t\tsay "hi"\\n\t3'


def test_rows_come_in_the_order_they_were_asked_for(tmp_path: Path) -> None:
    files = {f"notes/{name}.md": note(name, id=f"qp-{name}", tags="[One, two, one]", aliases="[x, y]") for name in "abc"}
    files["notes/bare.md"] = "text #inline"
    with asking(tmp_path, files) as asked:
        numbers = [asked.number(f"notes/{name}.md") for name in ("c", "a", "bare")]
        rows = rows_of(asked.connection, [*numbers, 999])
        assert [row.path for row in rows] == ["notes/c.md", "notes/a.md", "notes/bare.md"]
        assert rows[0].tags == ["One", "two"]
        assert (rows[0].handle, rows[2].handle) == ("qp-c", "notes/bare.md")
        assert rows[2].type == "fleeting"
        assert rows_of(asked.connection, numbers * 300) == rows * 300  # the whole table at once
        assert aliases_of(asked.connection, numbers[0]) == ["x", "y"]
        assert meta_of(asked.connection, numbers[0])["title"] == "c"
