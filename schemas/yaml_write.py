"""Writing YAML: one spelling per value, readable by YAML 1.1 and 1.2 alike. Light: standard library only.

Block style with two spaces, short lists of scalars on one line, text plain where no reader can misunderstand it, in double
quotes otherwise, as a literal block where it has several lines.
"""

from __future__ import annotations

import re

from schemas.document import Value, number_text, quoted_text
from schemas.text import has_lone_surrogate
from schemas.yaml_scalars import reads_as_other

_PLAIN = re.compile(r"[^\W\d_](?:[\w ./()+*@%=,;'’–-]|:(?=[\w/]))*\Z")
_PLAIN_IN_FLOW = re.compile(r"[^\W\d_][\w ./()+*@%=;’–-]*\Z")
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_NO_BLOCK = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]| \n|\\A[ \n]")
_LINE = 100


def write(value: Value) -> str:
    """The canonical text of `value`, ending in LF.

    Raises HeadwaterError for what the reader would refuse: NaN and infinities, whole numbers past 64 bits, halves of
    surrogate pairs.
    """
    lines = block(value, 0)
    return "\n".join(lines) + "\n"


def block(value: Value, indent: int) -> list[str]:
    """The lines of `value` in block style, indented by `indent` spaces; one line for what has no block style."""
    pad = " " * indent
    if isinstance(value, dict) and value:
        return [line for key, item in value.items() for line in entry(f"{pad}{scalar(key)}:", item, indent + 2)]
    if isinstance(value, list) and value and not _short(value):
        lines: list[str] = []
        for item in value:
            if isinstance(item, dict | list) and item and not _short(item):
                inner = block(item, indent + 2)
                lines.append(f"{pad}- {inner[0][indent + 2 :]}")
                lines.extend(inner[1:])
            else:
                lines.extend(entry(f"{pad}-", item, indent + 2))
        return lines
    return [pad + flow(value)]


def entry(lead: str, item: Value, indent: int) -> list[str]:
    """`lead` (a key with its colon, or a dash) followed by `item`, whose further lines are indented by `indent`."""
    if isinstance(item, dict | list):
        if item and not _short(item):
            return [lead, *block(item, indent)]
        return [f"{lead} {flow(item)}"]
    if isinstance(item, str) and "\n" in item and not _NO_BLOCK.search(item) and not has_lone_surrogate(item):
        body = item.rstrip("\n")
        chomp = {0: "-", 1: ""}.get(len(item) - len(body), "+")
        tail = [""] * (len(item) - len(body) - 1)
        return [f"{lead} |{chomp}", *[" " * indent + line if line else "" for line in body.split("\n")], *tail]
    return [f"{lead} {scalar(item)}"]


def flow(value: Value) -> str:
    """`value` on one line, in brackets where it has parts."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key, in_flow=True)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    return scalar(value, in_flow=True)


def scalar(value: Value, *, in_flow: bool = False) -> str:
    """A scalar on one line. Raises HeadwaterError as `write` does."""
    if value is None:
        return "null"
    if isinstance(value, bool | int):
        return number_text(value)
    if isinstance(value, float):
        # Without the point, readers of YAML 1.1 take a power of ten for text.
        digits, exponent, power = number_text(value).partition("e")
        return digits + (".0" if "." not in digits else "") + exponent + power
    assert isinstance(value, str)
    pattern = _PLAIN_IN_FLOW if in_flow else _PLAIN
    if pattern.match(value) and value[-1] != " " and not reads_as_other(value):
        return value
    return quoted(value)


def quoted(value: str) -> str:
    """Text in double quotes. Raises HeadwaterError (rule `text-lone-surrogate`)."""
    return _ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", quoted_text(value))


def _short(value: Value) -> bool:
    """Whether a list goes on one line: scalars only, and not much of them."""
    if not isinstance(value, list) or any(isinstance(item, dict | list) for item in value):
        return False
    return not any(isinstance(item, str) and "\n" in item for item in value) and len(flow(value)) <= _LINE
