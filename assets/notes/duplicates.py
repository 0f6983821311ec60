"""Notes that say nearly the same: pairs whose words, weighed by how rare they are, point the same way (cosine).

No pair is compared that cannot be near enough. A note's words are put in one order, the rarest first; as long as what is left of
it is shorter than the threshold, two notes without a common word before that point cannot reach it (Bayardo, Ma and Srikant,
"Scaling Up All Pairs Similarity Search", 2007), so only notes that share a rare word are met. Light: standard library only.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from assets.notes.related import STOP_WORDS
from schemas.errors import UsageError
from schemas.findings import Finding, found
from schemas.notes import rules

THRESHOLD: Final = 0.85
_FEWEST_WORDS: Final = 3
"""A note with fewer different words says too little to be like another."""
_WORD = re.compile(r"\w+")
_MOST_MET: Final = 256
"""Notes that one note is compared with, those first that share most rare words: a bound for stores full of one template."""
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """Two notes by path, the first the lesser, and how near they are: 0 to 1."""

    first: str
    second: str
    similarity: float


def check_threshold(value: float) -> float:
    """`value` when it lies between 0 and 1. Raises UsageError."""
    if not 0 <= value <= 1:
        raise UsageError(
            f"{value:g} is no similarity",
            rule="notes-threshold",
            fix="give a number from 0 (nothing alike) to 1 (the same words)",
        )
    return value


def duplicate_findings(connection: Any, prefix: str, threshold: float = THRESHOLD) -> list[Finding]:
    """One finding per note that is near to others, naming them, the nearest first; `prefix` is put before paths.

    Raises UsageError for a threshold that is none.
    """
    rows = connection.execute(
        "SELECT path, t.title, body FROM notes JOIN notes_text AS t USING (number) WHERE outcome <> 'quarantined' ORDER BY path"
    )
    texts = {path: f"{title}\n{body}" for path, title, body in map(tuple, rows)}
    near: dict[str, list[tuple[float, str]]] = {}
    for pair in near_duplicates(texts, threshold):
        near.setdefault(pair.second, []).append((-pair.similarity, pair.first))
    made = []
    for path, others in sorted(near.items()):
        shown = [f"{prefix}{other} ({-similarity:.0%})" for similarity, other in sorted(others)]
        more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
        message = f"says nearly the same as {', '.join(shown[:_SHOWN])}{more}"
        made.append(
            found(
                rules.NEAR_DUPLICATE,
                prefix + path,
                message,
                line=1,
                fix="join them with `headwater notes merge`, or link one from the other and say how they differ",
            )
        )
    return made


def near_duplicates(texts: Mapping[str, str], threshold: float = THRESHOLD) -> list[Pair]:
    """The pairs of `texts` (by path) that are at least as near as `threshold`, sorted; the same for the same texts.

    Words that say nothing (stop words, one or two letters) do not count. Raises UsageError for a threshold outside of 0 to 1.
    """
    check_threshold(threshold)
    vectors = _vectors(texts)
    meeting: dict[str, list[str]] = {}
    pairs = []
    for path, vector in vectors.items():
        shared: Counter[str] = Counter()
        prefix = list(_beginning(vector, threshold))
        for word in prefix:
            shared.update(meeting.get(word, ()))
        nearest = sorted(shared, key=lambda other: (-shared[other], other))[:_MOST_MET]
        for other in nearest:
            similarity = min(1.0, _cosine(vector, vectors[other]))
            # Sums of fractions may miss a threshold by the last digit.
            if similarity >= threshold - 1e-9:
                # Texts are met in the order of their paths.
                pairs.append(Pair(other, path, round(similarity, 6)))
        for word in prefix:
            meeting.setdefault(word, []).append(path)
    return sorted(pairs)


def _vectors(texts: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Word -> weight of each text that has enough words, of length 1, the rarest word first."""
    counts = {path: Counter(_words(text)) for path, text in sorted(texts.items())}
    counts = {path: words for path, words in counts.items() if len(words) >= _FEWEST_WORDS}
    spread: Counter[str] = Counter()
    for words in counts.values():
        spread.update(words.keys())
    weight = {word: math.log(1 + len(counts) / many) for word, many in spread.items()}
    vectors = {}
    for path, words in counts.items():
        weighed = [(word, words[word] * weight[word]) for word in sorted(words, key=lambda word: (spread[word], word))]
        length = math.sqrt(math.fsum(value * value for _, value in weighed))
        vectors[path] = {word: value / length for word, value in weighed}
    return vectors


def _words(text: str) -> Iterable[str]:
    for word in _WORD.findall(text.casefold()):
        if word not in STOP_WORDS and (len(word) > 2 or not word.isascii() or word.isdigit()):
            yield word


def _beginning(vector: Mapping[str, float], threshold: float) -> Iterator[str]:
    """The words before the point from which the rest alone cannot reach the threshold."""
    rest = 1.0
    for word, value in vector.items():
        if rest < (threshold - 1e-9) ** 2:
            return
        yield word
        rest -= value * value


def _cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    return math.fsum([one[word] * other[word] for word in one.keys() & other.keys()])
