"""Input made to hurt: each ends in one clear error (or is read), quickly, and never as a RecursionError."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from schemas import csv_text, frontmatter, json_text, toml_text, yaml_text
from schemas.errors import InvalidText
from schemas.text import Limits

SECONDS = 6.0
"""Three times what the slowest takes on one slow core with others beside it; the promise is 2 s on a quiet one."""

ALIAS_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

HOSTILE: dict[str, tuple[Callable[[bytes, str], Any], str, str | None]] = {
    "yaml nesting that kills libyaml": (yaml_text.read, "[" * 25_000, "text-too-deep"),
    "yaml nested maps": (yaml_text.read, "{a: " * 25_000, "text-too-deep"),
    "yaml nested dashes": (yaml_text.read, "- " * 25_000, "text-too-deep"),
    "yaml nested blocks": (yaml_text.read, "".join(" " * depth + "a:\n" for depth in range(1400)), "text-too-deep"),
    "yaml alias bomb": (yaml_text.read, ALIAS_BOMB, "yaml-anchor"),
    "yaml 250,000 items": (yaml_text.read, "- 1\n" * 250_000, "text-too-many-values"),
    "yaml 1 MB word": (yaml_text.read, "a" * 1_000_000, None),
    "yaml 1 MB of words": (yaml_text.read, "a b " * 250_000, None),
    "yaml escapes": (yaml_text.read, '"' + r"\x41" * 60_000 + '"', None),
    "yaml 1 MB of quotes": (yaml_text.read, "'" + "''" * 500_000 + "'", None),
    "yaml comments": (yaml_text.read, "#\n" * 100_000, "text-empty"),
    "yaml blank lines": (yaml_text.read, "\n" * 200_000, "text-empty"),
    "yaml long anchor": (yaml_text.read, "&" + "a" * 1_000_000, "yaml-anchor"),
    "yaml long tag": (yaml_text.read, "!" + "a" * 1_000_000, "yaml-tag"),
    "yaml long directive": (yaml_text.read, "%" + "a" * 1_000_000, "yaml-syntax"),
    "yaml 1 MB key": (yaml_text.read, '"' + "k" * 1_000_000 + '": 1', "yaml-syntax"),
    "yaml unclosed quote": (yaml_text.read, 'a: "' + "x\n" * 100_000, "yaml-syntax"),
    "yaml backslashes": (yaml_text.read, '"' + "\\" * 1_000_001, "yaml-syntax"),
    "yaml over the cap": (yaml_text.read, "a: " + "x" * (1 << 20), "text-too-large"),
    "frontmatter over the cap": (frontmatter.read, "---\n" + "a: " + "x" * (1 << 20) + "\n---\n", "text-too-large"),
    "yaml 5,000 digits": (yaml_text.read, "a: " + "9" * 5000, "number-out-of-range"),
    "yaml 1 MB of digits": (yaml_text.read, "9" * 1_000_000, "number-out-of-range"),
    "json nesting": (json_text.read, "[" * 1_000_000, "text-too-deep"),
    "json nested objects": (json_text.read, '{"a":' * 200_000, "text-too-deep"),
    "json nesting behind a string": (json_text.read, '["' + "[" * 1000 + '",' + "[" * 1000, "text-too-deep"),
    "json 5,000 digits": (json_text.read, "[" + "9" * 5000 + "]", "number-out-of-range"),
    "json 1 MB of digits": (json_text.read, "9" * 1_000_000, "number-out-of-range"),
    "json digits behind the point": (json_text.read, "0." + "9" * 1_000_000, None),
    "json backslashes": (json_text.read, '["' + "\\" * 1_000_001, "json-syntax"),
    "json quotes": (json_text.read, '"' * 1_000_001, "json-syntax"),
    "json unclosed text": (json_text.read, '["' + "x" * 4_000_000, "json-syntax"),
    "json many numbers": (json_text.read, "[" + "1," * 100_000 + "1]", None),
    "json error behind many numbers": (json_text.read, "[" + "1," * 50_000 + "]", "json-syntax"),
    "json 8 million values": (json_text.read, "[" + "1," * 8_000_000 + "1]", "text-too-many-values"),
    "json equal keys": (json_text.read, "{" + '"a":1,' * 100_000 + '"a":1}', "text-duplicate-key"),
    "json colliding hashes": (json_text.read, "{" + ",".join(f'"{n * (2**61 - 1)}":1' for n in range(20_000)) + "}", None),
    "toml arrays": (toml_text.read, "a = " + "[" * 500_000, "text-too-deep"),
    "toml inline tables": (toml_text.read, "a = " + "{b=" * 100_000, "text-too-deep"),
    "toml dotted key": (toml_text.read, ".".join(["a"] * 5000) + " = 1", "text-too-deep"),
    "toml 60,000 keys": (toml_text.read, "".join(f"k{n} = 1\n" for n in range(70_000)), "text-too-many-values"),
    "toml 20,000 tables": (toml_text.read, "".join(f"[k{n}]\na = 1\n" for n in range(20_000)), None),
    "toml quotes": (toml_text.read, 'a = """' + '"" ' * 300_000, "toml-syntax"),
    "toml backslashes": (toml_text.read, 'a = "' + "\\" * 1_000_001, "toml-syntax"),
    "toml 5,000 digits": (toml_text.read, "a = " + "9" * 5000, "number-out-of-range"),
    "toml comments": (toml_text.read, "#\n" * 500_000, None),
    "csv unclosed quote": (csv_text.read, "a,b\n" + '1,"x\n' + "2,3\n" * 500_000, "csv-unterminated-quote"),
    "csv quotes": (csv_text.read, 'a\n"' + '""' * 1_000_000 + '"\n', None),
    "csv odd quotes": (csv_text.read, 'a\n"' + '""' * 1_000_000, "csv-unterminated-quote"),
    "csv quotes in every line": (csv_text.read, "a,b\n" + '1"2,3\n' * 300_000, "csv-quote"),
    "csv commas": (csv_text.read, "a,b\n" + "," * 2_000_000, "csv-ragged-row"),
    "csv 200,000-character cell": (csv_text.read, "a,b\n" + "x" * 200_000 + ",2\n", None),
    "csv lone carriage returns": (csv_text.read, "a,b\n" + "\r" * 1_000_000, "text-lone-cr"),
    "frontmatter nesting": (frontmatter.read, "---\na: " + "[" * 25_000 + "\n---\n", "text-too-deep"),
    "frontmatter without end": (frontmatter.read, "---\n" + "a: 1\n" * 500_000, "frontmatter-unclosed"),
}


@pytest.mark.parametrize(("read", "text", "expected"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_ends_soon_in_one_error(read: Callable[[bytes, str], Any], text: str, expected: str | None) -> None:
    data = text.encode("utf-8")
    started = time.process_time()
    if expected is None:
        read(data, "hostile")
    else:
        with pytest.raises(InvalidText) as caught:
            read(data, "hostile")
        assert caught.value.rule == expected
        assert caught.value.fix
        assert len(str(caught.value)) < 1000
    assert time.process_time() - started < SECONDS


def test_yaml_beyond_what_two_seconds_parse_is_refused_whatever_the_caller_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many characters: refused before the parser is asked. Too many values: it is stopped at the first one too many."""
    generous = Limits(size=64 << 20, values=10_000_000)
    # At 23 µs a value and 1.2 µs a character, two seconds hold no more.
    assert (yaml_text.LIMITS.size, yaml_text.LIMITS.values) == (1 << 20, 30_000)
    started = time.process_time()
    made = 0
    events = yaml_text._Builder._events

    def counting(self: Any) -> Any:
        nonlocal made
        for event in events(self):
            made += 1
            yield event

    monkeypatch.setattr(yaml_text._Builder, "_events", counting)
    with pytest.raises(InvalidText) as large:
        yaml_text.read(b"a:\n" + b"- value\n" * 400_000, "project.yaml", limits=generous)
    assert (large.value.rule, large.value.line, made) == ("text-too-large", 1, 0)
    with pytest.raises(InvalidText) as many:
        yaml_text.read(b"a: [" + b"1," * 400_000 + b"]\n", "project.yaml", limits=generous)
    assert many.value.rule == "text-too-many-values"
    assert made <= yaml_text.LIMITS.values + 10
    for error in (large.value, many.value):
        assert "CSV" in str(error.fix)
    assert time.process_time() - started < SECONDS
    most = yaml_text.LIMITS.values - 3
    assert len(yaml_text.read(b"a: [" + b"1," * most + b"]\n", "project.yaml").value["a"]) == most  # type: ignore[call-overload,index]


def test_a_thousand_columns_are_no_burden() -> None:
    columns = "".join(
        f"  column_{number}:\n    type: integer\n    nullable: false\n    max: {number}\n" for number in range(1000)
    )
    started = time.process_time()
    document = yaml_text.read(f"columns:\n{columns}".encode(), "project.yaml")
    assert time.process_time() - started < 1.5
    assert document.position(("columns", "column_999", "max")) == (4001, 10)


def test_deeper_than_the_caller_s_stack() -> None:
    """Reading from deep inside other code, where little of the recursion limit is left, gives the same error."""

    def dive(levels: int) -> None:
        if levels:
            dive(levels - 1)
        else:
            for read in (json_text.read, yaml_text.read):
                assert read(b"[" * 60 + b"]" * 60, "p").value is not None

    dive(700)


def test_csv_memory_is_bounded_by_the_record() -> None:
    row = b"12345," + b"x" * 180 + b"\n"

    class Rows:
        """24 MB of rows that exist only as they are read."""

        left = 24 << 20

        def read(self, size: int) -> bytes:
            count = min(size, self.left) // len(row)
            self.left -= count * len(row)
            return row * count

    tracemalloc.start()
    reader = csv_text.Reader(Rows(), "p")  # type: ignore[arg-type]  # only read() is used
    count = sum(1 for _ in reader)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == (24 << 20) // len(row) - 1
    assert peak < 8 << 20
