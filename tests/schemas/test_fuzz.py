"""Damaged files of the corpus: read, or refused with a finding that has a place and a fix; never anything else."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import csv_text, frontmatter, json_text, toml_text, yaml_text
from schemas.document import Document
from schemas.errors import HeadwaterError, InvalidText

CORPUS = Path(__file__).parent / "corpus"
PIECES = [
    piece.encode() for piece in ("\n", "\r", '"', "'", "[", "]", "{", "}", ":", ",", "- ", "? ", "|", ">", "&a ", "*a", "!", "#")
]
PIECES += [
    piece.encode() for piece in (" ", "\t", "\\", "\\u", "---\n", "...\n", "%", "=", ".", "1", "e9", "é", "\u2028", "\x85", "\0")
]
PIECES += [b"\xff", b"~", b"<<", b'"""', b"'''", b"[[", b"\xef\xbb\xbf", b"0x", b"_", b"T", b"Z"]

READERS: dict[str, Callable[[bytes, str], object]] = {
    "json": json_text.read,
    "yaml": yaml_text.read,
    "toml": toml_text.read,
    "csv": csv_text.read,
    "frontmatter": frontmatter.read,
}
TEXTS = [
    path.read_bytes()
    for folder in READERS
    for path in sorted((CORPUS / folder).iterdir())
    if path.name != "expected.json" and path.stat().st_size < 1000
]
CHECKED = settings(max_examples=50, deadline=None)


@st.composite
def _damaged(draw: st.DrawFn) -> bytes:
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.integers(0, 4))
        text = text[:at] + draw(st.just(b"") | st.sampled_from(PIECES)) + text[at + cut :]
    return text


@pytest.mark.parametrize("folder", READERS)
@CHECKED
@given(data=_damaged())
def test_damaged_files(folder: str, data: bytes) -> None:
    refused: InvalidText | None = None
    try:
        READERS[folder](data, "p")
    except InvalidText as error:
        refused = error
    if refused is not None:
        assert refused.findings
        assert all(finding.fix and finding.line for finding in refused.findings if finding.blocking)
        return
    text = data.decode().removeprefix("\ufeff")
    if folder == "json":
        json.loads(text)
    if folder == "toml":
        tomllib.loads(text)


@pytest.mark.parametrize("folder", ["json", "yaml", "toml"])
@CHECKED
@given(data=_damaged(), draw=st.data())
def test_edits_of_odd_files_are_made_or_refused(folder: str, data: bytes, draw: st.DataObject) -> None:
    try:
        document = READERS[folder](data, "p")
    except InvalidText:
        return
    assert isinstance(document, Document)
    pointer = draw.draw(st.sampled_from(sorted(document.spans, key=repr)))
    try:
        if pointer and draw.draw(st.booleans()):
            assert pointer not in document.delete(pointer).spans or isinstance(pointer[-1], int)
        else:
            value = draw.draw(st.sampled_from([1, "x", "a: b", "a\nb\n", [1, {"k": 2}], {"k": ["v"]}]))
            assert document.set(pointer, value).get(pointer) == value
    except HeadwaterError as error:
        if error.rule != "text-edit":
            raise
