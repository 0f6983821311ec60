"""Decoding, positions and frontmatter edits, as far as the corpus does not show them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import frontmatter
from schemas.document import same
from schemas.errors import HeadwaterError, InvalidText
from schemas.text import decode
from tests.schemas.text_strategies import TEXT, VALUES


@settings(max_examples=50, deadline=None)
@given(st.text("ab\né\r", max_size=30))
def test_positions_count_lines_and_characters(text: str) -> None:
    file = decode(text.encode(), "p", lone_cr=True, empty=True)
    for offset in range(len(text) + 1):
        line, column = file.position(offset)
        lines = text.split("\n")
        assert line == text[:offset].count("\n") + 1
        assert len("\n".join(lines[: line - 1])) + (line > 1) + column - 1 == offset


@pytest.mark.parametrize(
    ("data", "bom", "newline"),
    [(b"a\nb\n", False, "\n"), (b"a", False, "\n"), (b"\xef\xbb\xbfa\r\nb\r\n", True, "\r\n"), (b"a\r\nb\n", False, "mixed")],
)
def test_a_file_remembers_its_mark_and_line_ends(data: bytes, bom: bool, newline: str) -> None:
    file = decode(data, "p")
    assert (file.bom, file.newline) == (bom, newline)
    assert file.encode(file.text) == data


def test_positions_of_bad_bytes_count_characters_and_bytes() -> None:
    with pytest.raises(InvalidText) as caught:
        decode("é\nüx".encode() + b"\xff", "p")
    assert (caught.value.line, caught.value.column) == (2, 3)
    assert "offset 6" in caught.value.message
    with pytest.raises(InvalidText) as caught:
        decode(b"\xef\xbb\xbfa\xff", "p")
    assert (caught.value.line, caught.value.column) == (1, 2)
    assert "offset 4" in caught.value.message


def test_the_size_cap_names_both_sizes() -> None:
    with pytest.raises(InvalidText) as caught:
        decode(b"x" * 11, "p", limit=10)
    assert caught.value.rule == "text-too-large"
    assert "11" in caught.value.message
    assert "10" in caught.value.message


def test_prose_may_show_conflict_markers() -> None:
    text = b"<<<<<<< a\n=======\n>>>>>>> b\n"
    assert decode(text, "p", conflicts=False).text == text.decode()
    with pytest.raises(InvalidText):
        decode(text, "p")
    for harmless in (
        b"<<<<<<< a\n",
        b"=======\n",
        b"a <<<<<<< b\n>>>>>>> c\n",
        b"<<<<<<<<\n>>>>>>>>\n",
        b">>>>>>> b\n<<<<<<< a\n",
    ):
        assert decode(harmless, "p").data == harmless


FRONT = "---\n# c\na: 1   # one\nb:\n- x\n---\n# Title\n\ntext\n"


def test_frontmatter_edits_touch_only_their_lines() -> None:
    file = frontmatter.read(FRONT.encode(), "note.md")
    assert file.set("a", 2).file.text == FRONT.replace("a: 1 ", "a: 2 ")
    assert file.set("b", ["x", "y"]).file.text == FRONT.replace("- x\n", "- x\n- y\n")
    assert file.set("t", "new: text").file.text == FRONT.replace("- x\n", '- x\nt: "new: text"\n')
    assert file.delete("b").file.text == FRONT.replace("b:\n- x\n", "")
    assert file.with_body("other").file.text == FRONT.partition("# Title")[0] + "other"
    assert file.set("a", 1).data == FRONT.encode()
    with pytest.raises(KeyError):
        file.delete("nothing")


def test_frontmatter_positions_are_those_of_the_file() -> None:
    file = frontmatter.read(b"\xef\xbb\xbf" + FRONT.replace("\n", "\r\n").encode(), "note.md")
    assert file.meta is not None
    assert file.meta.position(("a",)) == (3, 4)
    assert file.meta.position(("b", 0)) == (5, 3)
    assert file.body == "# Title\r\n\r\ntext\r\n"


def test_frontmatter_comes_and_goes() -> None:
    made = frontmatter.read(b"# Title\r\n", "p").set("a", 1)
    assert made.data == b"---\r\na: 1\r\n---\r\n# Title\r\n"
    assert made.delete("a").data == b"---\r\n---\r\n# Title\r\n"
    assert made.delete("a").set("b", [1]).data == b"---\r\nb: [1]\r\n---\r\n# Title\r\n"


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(TEXT, VALUES, max_size=3), TEXT, VALUES, st.sampled_from(["", "x\n", "---\ny\n---\n", "\r\n"]))
def test_frontmatter_says_what_it_was_told(meta: dict[str, object], key: str, value: object, body: str) -> None:
    file = frontmatter.read(body.encode() if not body.startswith("---") else b"---\n---\n" + body.encode(), "p")
    body = file.body
    expected: dict[str, object] = {}
    for name, item in [*meta.items(), (key, value)]:
        try:
            file = file.set(name, item)  # type: ignore[arg-type]
        except HeadwaterError as refused:
            if refused.rule != "text-edit":
                raise
            return
        expected[name] = item
        assert same(file.value, expected)  # type: ignore[arg-type]
        assert file.body == body
    for name in list(expected):
        file = file.delete(name)
        assert name not in file.value
    assert file.value == {}
    assert file.body == body
