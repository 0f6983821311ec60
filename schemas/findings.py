"""Findings: one problem in authoritative text, with the rule it breaks, where, and how to mend it.

Every rule id is registered here or in its kind's schema module through `rule`, which is what the docs test walks. Light:
standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """`error` blocks every recipe that reads the file; `warning` and `info` block nothing."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the text: a stable kebab-case id such as `csv-ragged-row`, its severity, and one sentence for the docs."""

    id: str
    severity: Severity
    title: str


RULES: dict[str, Rule] = {}


def rule(name: str, severity: Severity, title: str) -> Rule:
    """Register a rule; a second registration of the same name must be identical."""
    made = Rule(name, severity, title)
    if RULES.setdefault(name, made) != made:
        raise ValueError(f"rule {name} is registered twice with different texts")
    return made


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem. `path` is workspace-relative with `/`; `line` and `column` count from 1 in characters, `None` where
    the problem is the file as a whole. `fix` is one imperative sentence or a command. `value` is the offending text, cut
    to 200 characters. `replacement` is the exact text that would mend `value`, when there is exactly one safe answer.
    """

    rule: str
    severity: Severity
    path: str
    message: str
    line: int | None = None
    column: int | None = None
    fix: str | None = None
    value: str | None = None
    replacement: str | None = None

    @property
    def blocking(self) -> bool:
        return self.severity is Severity.ERROR

    def __lt__(self, other: Finding) -> bool:
        return self._order() < other._order()

    def _order(self) -> tuple[str, int, int, str, str]:
        return (self.path, self.line or 0, self.column or 0, self.rule, self.message)

    def render(self) -> str:
        """One line in the manner of a compiler: `path:line:column: severity: message [rule]`, the fix on a second line."""
        place = ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)
        fix = f"\n  fix: {self.fix}" if self.fix else ""
        return f"{place}: {self.severity}: {self.message} [{self.rule}]{fix}"

    def to_json(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, record: dict[str, object]) -> Finding:
        return cls(**{**record, "severity": Severity(str(record["severity"]))})  # type: ignore[arg-type]  # slots are checked by __init__


def found(
    broken: Rule,
    path: str,
    message: str,
    *,
    line: int | None = None,
    column: int | None = None,
    fix: str | None = None,
    value: str | None = None,
    replacement: str | None = None,
) -> Finding:
    """A finding of `broken`, its value cut to 200 characters."""
    shown = value if value is None or len(value) <= 200 else value[:199] + "…"
    return Finding(broken.id, broken.severity, path, message, line, column, fix, shown, replacement)
