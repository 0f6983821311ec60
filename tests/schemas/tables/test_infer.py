"""Types guessed once, for import: only where nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.tables import names
from schemas.tables.infer import TableGuess, clean_names
from schemas.tables.types import BadCell


def guessed(*cells: str | None) -> str:
    table = TableGuess("t", ["x"])
    for cell in cells:
        table.see([cell])
    return table.guesses[0].type.name


@pytest.mark.parametrize(
    ("cells", "name"),
    [
        (("1", "2", None), "integer"),
        (("1", "007"), "text"),
        (("0123",), "text"),
        (("+491234", "5"), "text"),
        (("9223372036854775808",), "text"),
        (("1.50", "12.25"), "decimal(10,2)"),
        (("1.5", "12.25"), "float"),
        (("1", "2.5"), "float"),
        (("1e5",), "float"),
        (("1e400",), "text"),
        (("nan",), "text"),
        (("true", "FALSE"), "boolean"),
        (("1", "0"), "integer"),
        (("yes", "no"), "text"),
        (("2024-01-31", "2024/02/01"), "date"),
        (("01/02/2024",), "text"),
        (("2024-01-31 10:00:00",), "datetime"),
        (("2024-01-31T10:00:00Z",), "timestamp"),
        (("10:30",), "time"),
        (("00000000-0000-0000-0000-00000000000A",), "uuid"),
        (("1", ""), "text"),
        ((None, None), "text"),
        (("NULL",), "text"),
    ],
)
def test_guesses(cells: tuple[str | None, ...], name: str) -> None:
    assert guessed(*cells) == name


def test_a_large_whole_number_is_not_made_a_float() -> None:
    assert guessed("12345678901234567890", "1") == "text"


def test_keys_and_conversion() -> None:
    table = TableGuess("city", ["name", "City_ID", "big"])
    for row in (["a", "1", "TRUE"], ["b", "2", None]):
        table.see(row)
    assert table.tree() == {
        "columns": {"name": {"type": "text"}, "City_ID": {"type": "integer"}, "big": {"type": "boolean"}},
        "primary_key": ["City_ID"],
    }
    assert table.converter()(["a", "1", "TRUE"]) == ["a", "1", "true"]


def test_a_column_with_a_duplicate_or_null_is_no_key() -> None:
    table = TableGuess("t", ["id", "n"])
    for row in (["1", "x"], ["1", "y"]):
        table.see(row)
    assert "primary_key" not in table.tree()


def test_values_without_a_common_type_are_named() -> None:
    table = TableGuess("t", ["x"])
    table.see(["a"])
    with pytest.raises(BadCell):
        table.see([b"\x00"])


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=70), max_size=8))
def test_cleaned_names_are_names(header: list[str]) -> None:
    made = clean_names(header)
    assert len(made) == len(header)
    assert len({names.same_name(name) for name in made}) == len(made)
    assert [names.problem(name) for name in made] == [None] * len(made)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.none(),
            st.integers(-(10**20), 10**20).map(str),
            st.floats(allow_nan=False).map(repr),
            st.dates().map(str),
            st.sampled_from(["true", "x", "1.50", "007"]),
        ),
        max_size=6,
    )
)
def test_every_cell_is_accepted_by_the_guessed_type(cells: list[str | None]) -> None:
    table = TableGuess("t", ["x"])
    for cell in cells:
        table.see([cell])
    convert, kind = table.converter(), table.guesses[0].type
    assert all(cell is None or kind.accepts(str(convert([cell])[0])) for cell in cells)
