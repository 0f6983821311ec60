"""The scalars of YAML: what plain text means (1.2 core schema), and what other YAML versions take for something else.

Light: standard library only.
"""

from __future__ import annotations

import re

NULLS = frozenset(["", "~", "null", "Null", "NULL"])
TRUES = frozenset(["true", "True", "TRUE"])
FALSES = frozenset(["false", "False", "FALSE"])
OLD_BOOLEANS = frozenset(spelling for word in ("yes", "no", "on", "off") for spelling in (word, word.capitalize(), word.upper()))
"""Truth values of YAML 1.1 that real readers apply (`y` and `n`, which none of them do, are text)."""

INTEGER = re.compile(r"[-+]?[0-9]+\Z")
BASED = re.compile(r"0(?:o[0-7]+|x[0-9a-fA-F]+)\Z")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
SPECIAL = re.compile(r"(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z")
OLD_NUMBER = re.compile(
    r"(?:[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
    r"|[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?)\Z"
)
_OLD_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}.*)?\Z")


def reads_as_other(text: str) -> bool:
    """Whether some YAML version reads the plain scalar `text` as null, a truth value, a number or a date."""
    return (
        text in NULLS
        or text in TRUES
        or text in FALSES
        or text in OLD_BOOLEANS
        or any(pattern.match(text) for pattern in (FLOAT, BASED, SPECIAL, OLD_NUMBER, _OLD_DATE))
    )
