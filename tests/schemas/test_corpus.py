"""Every file of the corpus is read, or refused, as its folder's `expected.json` says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from schemas import csv_text, frontmatter, json_text, toml_text, yaml_text
from schemas.document import Document, same
from schemas.errors import InvalidText

CORPUS = Path(__file__).parent / "corpus"


def _csv(data: bytes, path: str) -> Any:
    header, records = csv_text.read(data, path)
    return [header.cells, *(record.cells for record in records)]


def _frontmatter(data: bytes, path: str) -> Any:
    file = frontmatter.read(data, path)
    return [file.value, file.body]


READERS: dict[str, Callable[[bytes, str], Any]] = {
    "json": lambda data, path: json_text.read(data, path).value,
    "yaml": lambda data, path: yaml_text.read(data, path).value,
    "toml": lambda data, path: toml_text.read(data, path).value,
    "csv": _csv,
    "frontmatter": _frontmatter,
}


def _cases() -> Iterator[Any]:
    for folder in READERS:
        for name, expected in json.loads((CORPUS / folder / "expected.json").read_text()).items():
            yield pytest.param(folder, name, expected, id=f"{folder}/{name}")


@pytest.mark.parametrize(("folder", "name", "expected"), list(_cases()))
def test_corpus(folder: str, name: str, expected: dict[str, Any]) -> None:
    data = (CORPUS / folder / name).read_bytes()
    if "rule" not in expected:
        got = READERS[folder](data, name)
        if expected["value"] is not None or "depth" not in name:
            assert same(got, expected["value"])
        return
    with pytest.raises(InvalidText) as caught:
        READERS[folder](data, name)
    error = caught.value
    blocking = [finding for finding in error.findings if finding.blocking]
    if folder != "csv":
        assert len(blocking) == 1
    assert (error.rule, error.line, error.column) == (expected["rule"], expected["line"], expected["column"])
    assert all(finding.fix and finding.path == name and len(finding.message) < 300 for finding in blocking)


@pytest.mark.parametrize("folder", READERS)
def test_every_file_has_an_expectation(folder: str) -> None:
    files = {path.name for path in (CORPUS / folder).iterdir()} - {"expected.json"}
    assert files == set(json.loads((CORPUS / folder / "expected.json").read_text()))


def _pointers(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield at
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _pointers(item, (*at, key))


@pytest.mark.parametrize("folder", ["json", "yaml", "toml"])
def test_every_value_has_a_span_and_saving_changes_nothing(folder: str) -> None:
    read = {"json": json_text.read, "yaml": yaml_text.read, "toml": toml_text.read}[folder]
    seen = 0
    for path in sorted((CORPUS / folder).glob("accept_*")):
        data = path.read_bytes()
        document: Document = read(data, path.name)
        assert set(_pointers(document.value)) == set(document.spans)
        assert document.data == data
        assert document.update(document.value).data == data
        for pointer, span in document.spans.items():
            assert 0 <= span.start <= span.end <= len(document.text)
            if folder == "json":
                # The value came from the standard library, the spans from our scanner: they must mean the same.
                assert same(json.loads(document.text[span.start : span.end]), document.get(pointer))
            if isinstance(document.get(pointer), str) and span.style == "plain":
                assert document.text[span.start : span.end].split() == str(document.get(pointer)).split()
        seen += 1
    assert seen > 30
