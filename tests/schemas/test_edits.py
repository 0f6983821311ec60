"""Writing and editing, as properties: what is written is read back; an edit changes the value asked for and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import json_text, toml_text, yaml_text
from schemas.document import Document, same
from schemas.edit import Edit, apply
from schemas.errors import HeadwaterError
from tests.schemas.text_strategies import TEXT, TOML_TABLES, TOML_VALUES, VALUES

CHECKED = settings(max_examples=50, deadline=None)

YAML = """\
# top
version: 1   # the version
name: 'single'
title: "double"
tables:
  # a table
  city:
    columns:
      id: {type: integer, nullable: false}   # key
      name:
        type: text   # why
        enum: [a, "b", 'c']
    rows:
    - a
    - b: 1
      c: 2   # cc
    -
      x: y
    - - 1
      - 2
text: |
  hello
  world

folded: >-
  a
  b
empty:
e2: {}
e3: []
last: 1 # end"""

JSON = """\
{
    "a": 1,
    "b": [1, 2, {"c": null}],
    "d": {
        "e": "x", "f": 2.50,
        "g": []
    },
    "h": {}, "i":[ ]
}"""

TOML = """\
# top
version = 1   # v
name = 'x'
date = 2024-01-01

[workspace]   # ws
  owner = "me"
  exclude = [
    "a",  # first
    "b",
  ]
a.b = 1
a.c = { x = 1, y.z = 2 }
# tail

[stores."a b"]
kind = "tables"

[[t]]
x = 1
[t.sub]
k = 1
[[t]]
x = 2 # end
[e]
"""


def _pointers(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _pointers(item, (*at, key))


@CHECKED
@given(VALUES)
def test_yaml_written_is_read_back_and_written_the_same(value: Any) -> None:
    text = yaml_text.write(value)
    document = yaml_text.read(text.encode(), "p")
    assert same(document.value, value)
    assert not document.warnings
    assert yaml_text.write(document.value) == text


@CHECKED
@given(VALUES)
def test_json_written_is_read_back_and_is_what_the_standard_library_reads(value: Any) -> None:
    text = json_text.write(value)
    document = json_text.read(text.encode(), "p")
    assert same(document.value, value)
    assert same(json.loads(text), value)
    assert set(document.spans) == set(_pointers(value))


@CHECKED
@given(TOML_TABLES)
def test_toml_written_is_read_back_and_written_the_same(value: Any) -> None:
    text = toml_text.write(value)
    document = toml_text.read(text.encode(), "p")
    assert same(document.value, value)
    assert set(document.spans) == set(_pointers(value))
    assert toml_text.write(value) == text


def _edit_at_random(data: st.DataObject, document: Document, values: st.SearchStrategy[Any]) -> None:
    """Up to three edits; each gives the value asked for, keeps every line that has nothing to do with it, or is refused."""
    for _ in range(3):
        at = data.draw(st.sampled_from(list(_pointers(document.value))))
        here = document.get(at)
        operation = data.draw(st.sampled_from(["set", "delete", "insert", "add"]))
        value = data.draw(values)
        before = document
        try:
            if operation == "set" and at:
                document = document.set(at, value)
                assert same(document.get(at), value)
            elif operation == "delete" and at:
                document = document.delete(at)
                assert len(document.children(at[:-1])) == len(before.children(at[:-1])) - 1
            elif operation == "insert" and isinstance(here, list):
                index = data.draw(st.integers(0, len(here)))
                document = document.insert((*at, index), value)
                assert same(document.get((*at, index)), value)
            elif operation == "add" and isinstance(here, dict):
                key = data.draw(TEXT)
                document = document.set((*at, key), value)
                assert same(document.get((*at, key)), value)
        except HeadwaterError as refused:
            if refused.rule != "text-edit":
                raise
        for comment in [line for line in before.text.splitlines() if line.startswith("# t")]:
            assert comment in document.text
        if before.file.newline == "\r\n":
            assert "\n" not in document.text.replace("\r\n", "") or before.text.count("\n") != before.text.count("\r\n")


@CHECKED
@given(st.data())
def test_yaml_edits(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([YAML, yaml_text.write(data.draw(VALUES))]))
    if data.draw(st.booleans()) and "\r" not in text:
        text = text.replace("\n", "\r\n")
    _edit_at_random(data, yaml_text.read(text.encode(), "p"), VALUES)


@CHECKED
@given(st.data())
def test_json_edits(data: st.DataObject) -> None:
    value = data.draw(VALUES)
    spellings = [JSON, json_text.write(value), json.dumps(value), json.dumps(value, separators=(",", ":"))]
    text = data.draw(st.sampled_from(spellings))
    if data.draw(st.booleans()):
        text = text.replace("\n", "\r\n")
    _edit_at_random(data, json_text.read(text.encode(), "p"), VALUES)


@CHECKED
@given(st.data())
def test_toml_edits(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from([TOML, toml_text.write(data.draw(TOML_TABLES))]))
    if data.draw(st.booleans()) and "\r" not in text:
        text = text.replace("\n", "\r\n")
    _edit_at_random(data, toml_text.read(text.encode(), "p"), TOML_VALUES)


@CHECKED
@given(VALUES, VALUES)
def test_update_makes_any_json_say_anything(old: Any, new: Any) -> None:
    document = json_text.read(json_text.write(old).encode(), "p").update(new)
    assert same(document.value, new)


@pytest.mark.parametrize(
    ("read", "text", "pointer"),
    [
        (toml_text.read, "a = [\n  1,\n  2,\n]\n", ("a", 0)),
        (toml_text.read, "a = [\n  1,\n  2,\n]\n", ("a", 2)),
        (yaml_text.read, "a: [\n  1,\n  2\n]\n", ("a", 1)),
        (yaml_text.read, "a: {\n  b: 1,\n  c: 2\n}\n", ("a", "d")),
        (json_text.read, '{"a": [\n  1,\n  2\n]}\n', ("a", 0)),
    ],
)
def test_a_new_line_inside_brackets_ends_as_the_others_do(
    read: Callable[[bytes, str], Document], text: str, pointer: tuple[str | int, ...]
) -> None:
    document = read(text.replace("\n", "\r\n").encode(), "p")
    edited = document.set(pointer, 7) if isinstance(pointer[-1], str) else document.insert(pointer, 7)
    assert edited.get(pointer) == 7
    assert "\n" not in edited.text.replace("\r\n", "")
    assert edited.text.count("\n") == text.count("\n") + 1


def _changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    old, new = before.splitlines(), after.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


READ: dict[str, tuple[Callable[[bytes, str], Document], str]] = {
    "yaml": (yaml_text.read, YAML),
    "json": (json_text.read, JSON),
    "toml": (toml_text.read, TOML),
}


@pytest.mark.parametrize("name", READ)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_an_edit_that_changes_nothing_gives_the_same_bytes(name: str, mark: bytes) -> None:
    read, text = READ[name]
    data = mark + text.replace("\n", "\r\n").encode()
    document = read(data, "p")
    for pointer in document.spans:
        if pointer:
            assert document.set(pointer, document.get(pointer)).data == data
    assert document.update(document.value).data == data


@pytest.mark.parametrize(
    ("name", "pointer", "value", "gone", "come"),
    [
        ("yaml", ("version",), 2, ["version: 1   # the version"], ["version: 2   # the version"]),
        ("yaml", ("name",), "it's", ["name: 'single'"], ["name: 'it''s'"]),
        ("yaml", ("title",), "new", ['title: "double"'], ['title: "new"']),
        ("yaml", ("tables", "city", "columns", "id", "type"), "text",
         ["      id: {type: integer, nullable: false}   # key"], ["      id: {type: text, nullable: false}   # key"]),
        ("yaml", ("tables", "city", "columns", "id", "unit"), "m",
         ["      id: {type: integer, nullable: false}   # key"], ["      id: {type: integer, nullable: false, unit: m}   # key"]),
        ("yaml", ("tables", "city", "columns", "pop"), {"type": "integer", "min": 0}, [],
         ["      pop:", "        type: integer", "        min: 0"]),
        ("yaml", ("tables", "city", "columns", "name", "enum", 1), "z",
         ["        enum: [a, \"b\", 'c']"], ["        enum: [a, \"z\", 'c']"]),
        ("yaml", ("text",), "bye\n", ["  hello", "  world"], ["  bye"]),
        ("yaml", ("empty",), {"a": 1}, [], ["  a: 1"]),
        ("yaml", ("e2", "k"), [1, {"b": 2}], ["e2: {}"], ["e2:", "  k:", "    - 1", "    - b: 2"]),
        ("json", ("a",), 2, ['    "a": 1,'], ['    "a": 2,']),
        ("json", ("b", 2, "c"), True, ['    "b": [1, 2, {"c": null}],'], ['    "b": [1, 2, {"c": true}],']),
        ("json", ("d", "z"), "q", ['        "g": []'], ['        "g": [],', '        "z": "q"']),
        ("toml", ("version",), 2, ["version = 1   # v"], ["version = 2   # v"]),
        ("toml", ("name",), "y", ["name = 'x'"], ["name = 'y'"]),
        ("toml", ("workspace", "owner"), "you", ['  owner = "me"'], ['  owner = "you"']),
        ("toml", ("workspace", "name"), "n", [], ['  name = "n"']),
        ("toml", ("workspace", "a", "c", "x"), 9, ["a.c = { x = 1, y.z = 2 }"], ["a.c = { x = 9, y.z = 2 }"]),
        ("toml", ("stores", "b"), {"kind": "notes"}, [], ["[stores.b]", 'kind = "notes"']),
    ],
)  # fmt: skip
def test_set_changes_only_its_lines(
    name: str, pointer: tuple[str | int, ...], value: Any, gone: list[str], come: list[str]
) -> None:
    read, text = READ[name]
    after = read(text.encode(), "p").set(pointer, value)
    assert _changed_lines(text, after.text) == (gone, come)


@pytest.mark.parametrize(
    ("name", "pointer", "gone"),
    [
        ("yaml", ("title",), ['title: "double"']),
        ("yaml", ("tables", "city", "columns", "name"),
         ["      name:", "        type: text   # why", "        enum: [a, \"b\", 'c']"]),
        ("yaml", ("text",), ["text: |", "  hello", "  world"]),
        ("yaml", ("tables", "city", "rows", 0), ["    - a"]),
        ("json", ("a",), ['    "a": 1,']),
        ("toml", ("name",), ["name = 'x'"]),
        ("toml", ("workspace", "a", "b"), ["a.b = 1"]),
        ("toml", ("e",), ["[e]"]),
    ],
)  # fmt: skip
def test_delete_takes_only_its_lines(name: str, pointer: tuple[str | int, ...], gone: list[str]) -> None:
    read, text = READ[name]
    after = read(text.encode(), "p").delete(pointer)
    assert _changed_lines(text, after.text) == (gone, [])


@pytest.mark.parametrize(
    ("text", "pointer", "value", "expected"),
    [
        ("a", (), {"k": "x\ny\n"}, "k: |\n  x\n  y\n"),
        ("a: 1", ("a",), "x\ny\n", "a: |\n  x\n  y\n"),
        ("a: |+\n  x\n\nb: 1\n", ("a",), "y", "a: y\nb: 1\n"),
        ("a:", ("a",), 1, "a: 1"),
        ("a: # c\nb: 1\n", ("a",), 1, "a: 1 # c\nb: 1\n"),
        ("- # c\n-\n", (1,), "x", "- # c\n- x\n"),
        ("a: 1 # c\n", ("a",), {"k": 1}, "a: # c\n  k: 1\n"),
        ("a: {}\r\n", ("a", "k"), 1, "a:\r\n  k: 1\r\n"),
        ("- - 1\n  - 2\n", (0, 0), [3], "- - [3]\n  - 2\n"),
    ],
)
def test_yaml_spellings_at_the_edges(text: str, pointer: tuple[str | int, ...], value: Any, expected: str) -> None:
    assert yaml_text.read(text.encode(), "p").set(pointer, value).text == expected


def test_what_cannot_be_placed_is_refused_and_nothing_else() -> None:
    for text, change in (("? a", "b"), ("? a\n: 1\n", "b")):
        document = yaml_text.read(text.encode(), "p")
        with pytest.raises(HeadwaterError) as caught:
            document.set((change,), 1)
        assert caught.value.rule == "text-edit"
        assert caught.value.path == "p"


@pytest.mark.parametrize("name", READ)
def test_what_is_not_there_is_a_key_error(name: str) -> None:
    read, text = READ[name]
    document = read(text.encode(), "p")
    for action in (document.delete, document.get):
        with pytest.raises(KeyError):
            action(("nowhere",))
    with pytest.raises(KeyError):
        document.set(("nowhere", "below"), 1)
    with pytest.raises(KeyError):
        document.insert(("version", 0), 1)


def test_positions_of_what_is_missing_are_those_of_its_parent() -> None:
    document = yaml_text.read(YAML.encode(), "p")
    assert document.position(("tables", "city", "columns", "name", "type")) == (11, 15)
    assert document.key_position(("tables", "city", "columns", "name", "type")) == (11, 9)
    assert document.position(("tables", "city", "columns", "name", "missing")) == (10, 7)
    assert document.position(("nothing",)) == (2, 1)


def test_values_no_reader_takes_are_not_written() -> None:
    for write in (yaml_text.write, json_text.write, toml_text.write):
        for value in (float("nan"), float("inf"), 1 << 63, "\ud800"):
            with pytest.raises(HeadwaterError):
                write({"a": value})
    with pytest.raises(HeadwaterError):
        toml_text.write({"a": None})


def test_edits_apply_together_and_do_not_overlap() -> None:
    assert apply("abcdef", [Edit(4, 5, "E"), Edit(0, 1, ""), Edit(2, 2, "--")]) == "b--cdEf"
    with pytest.raises(ValueError, match="overlaps"):
        apply("abcdef", [Edit(0, 3, ""), Edit(2, 4, "")])
    with pytest.raises(ValueError, match="outside"):
        apply("abc", [Edit(2, 9, "")])
