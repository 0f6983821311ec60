"""The errors every layer raises: one class per way out of the command line, each naming where, which rule, and what to do.

No error text is built anywhere else from loose parts, so that every message has the same shape. Light: standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.findings import Finding


class HeadwaterError(Exception):
    """The operation failed. `exit_code` is what the command line ends with.

    `message` says what is wrong, `fix` what to do about it (one imperative sentence or a command), `rule` the stable id
    of the rule that was broken, `path` the workspace-relative file, `line` and `column` count from 1 (columns in
    characters, not bytes).
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        fix: str | None = None,
        rule: str | None = None,
        path: str | None = None,
        line: int | None = None,
        column: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.rule = rule
        self.path = path
        self.line = line
        self.column = column

    @property
    def place(self) -> str:
        """`path:line:column` as far as it is known, else the empty string."""
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)

    def __str__(self) -> str:
        place = f"{self.place}: " if self.place else ""
        rule = f" [{self.rule}]" if self.rule else ""
        fix = f"\n  fix: {self.fix}" if self.fix else ""
        return f"{place}{self.message}{rule}{fix}"

    def to_json(self) -> dict[str, object]:
        """The `error` object that `--json` prints."""
        return {
            "message": self.message,
            "fix": self.fix,
            "rule": self.rule,
            "path": self.path,
            "line": self.line,
            "column": self.column,
        }


class UsageError(HeadwaterError):
    """The command was called in a way that cannot work (exit code 2)."""

    exit_code = 2


class InvalidText(HeadwaterError):
    """Authoritative text breaks a rule (exit code 3); `findings` holds every problem found, blocking ones first."""

    exit_code = 3

    def __init__(self, findings: Sequence[Finding], message: str | None = None) -> None:
        from schemas.findings import Severity

        self.findings = sorted(findings, key=lambda finding: (finding.severity != Severity.ERROR, finding))
        first = self.findings[0] if self.findings else None
        super().__init__(
            message or (first.message if first else "the text is invalid"),
            fix=first.fix if first else None,
            rule=first.rule if first else None,
            path=first.path if first else None,
            line=first.line if first else None,
            column=first.column if first else None,
        )


class Conflict(HeadwaterError):
    """A compare-and-swap lost: the file is no longer what the caller read. Nothing was written."""


class NewerFormat(HeadwaterError):
    """The file was written by a newer Headwater; it is left untouched."""

    exit_code = 3


class Refused(HeadwaterError):
    """A file that is not ours to replace lies where we would write; `fix` holds the exact words that allow it.

    `run_config` is the YAML that allows the same to a run started in the Dagster UI, where the refusal was of a build.
    """

    run_config: str | None = None

    def to_json(self) -> dict[str, object]:
        return super().to_json() | ({} if self.run_config is None else {"run_config": self.run_config})


class InputChanged(HeadwaterError):
    """An input was edited while it was being read; the build starts again from the new text, at most twice."""
