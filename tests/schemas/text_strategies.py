"""Values and texts the property tests draw from."""

from __future__ import annotations

from hypothesis import strategies as st

from schemas.document import Value

TRICKY = [
    "", "null", "no", "1", "1.0", "~", "a: b", "a #b", "- x", "x\n", "x\ny", "x\n\ny\n\n", " x\n", "\n", "a\n b\n", "'", '"',
    "2024-01-01", "1:30", "0o7", "012", "=", "<<", "y", "a,b", "https://x.y/z", "key:", "\t", "a\tb\n", "\u2028", "\x85",
    "\ufeff", "x \ny", "#", "a\r\nb", "a\r", "a.b", "é", "e\u0301", "\x7f", "\U0001f600",
]  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(TRICKY)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
PLAIN: st.SearchStrategy[Value] = st.booleans() | INTEGERS | FLOATS | TEXT


def values(leaves: st.SearchStrategy[Value]) -> st.SearchStrategy[Value]:
    """Nested values with the given leaves."""
    return st.recursive(
        leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4), max_leaves=12
    )


VALUES = values(st.none() | PLAIN)
TOML_VALUES = values(PLAIN)
TOML_TABLES = st.dictionaries(TEXT, TOML_VALUES, max_size=5)
CELLS = st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('",\n\r\t'), max_size=8)
