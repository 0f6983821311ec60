"""How text is put before the full-text index, and how a query's text must be put to match it.

SQLite's `unicode61` tokenizer takes a run of Chinese, Japanese or Korean characters for one word, so that nothing inside it is
found; `trigram` finds nothing shorter than three characters. Every such character is therefore set apart by spaces in the index,
and a query makes a phrase of them. Light: standard library only.
"""

from __future__ import annotations

import re
import unicodedata

_CJK = (
    "\u2e80-\u2fdf"  # radicals
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c"  # iteration marks, ideographic zero, Hangzhou numerals
    "\u3041-\u3096\u309d-\u309f"  # Hiragana
    "\u30a1-\u30fa\u30fc-\u30ff"  # Katakana
    "\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff"  # Bopomofo, Hangul letters, Katakana extensions
    "\u3400-\u4dbf\u4e00-\u9fff"  # ideographs
    "\ua960-\ua97c\uac00-\ud7fb\u1100-\u11ff"  # Hangul
    "\uf900-\ufaff"  # compatibility ideographs
    "\uff66-\uffdc"  # half-width Katakana and Hangul
    "\U0001aff0-\U0001b16f"  # Kana supplements
    "\U00020000-\U0003fffd"  # ideographs of the supplementary planes
)
_CHARACTER = re.compile(f"[{_CJK}]")
_LOWEST = "\u1100"


def has_cjk(text: str) -> bool:
    """Whether `text` holds a character that `spaced` sets apart."""
    return not text.isascii() and max(text) >= _LOWEST and _CHARACTER.search(text) is not None


def spaced(text: str) -> str:
    """`text` in NFC, with every CJK character between spaces."""
    if text.isascii():
        return text
    text = unicodedata.normalize("NFC", text)
    if max(text) < _LOWEST:
        return text
    return _CHARACTER.sub(r" \g<0> ", text)
