"""Findings as a SARIF 2.1.0 document (OASIS, 2020), the format code-review tools read. Pure; light."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from orchestration.cli import VERSION
from schemas.findings import RULES, Finding

_LEVELS = {"error": "error", "warning": "warning", "info": "note"}


def document(findings: Iterable[Finding]) -> dict[str, Any]:
    """One run of `headwater check` with the rules its results name. Columns count characters, as ours do."""
    found = sorted(findings)
    used = sorted({finding.rule for finding in found})
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "headwater", "version": VERSION, "rules": [_rule(name) for name in used]}},
                "columnKind": "unicodeCodePoints",
                "originalUriBaseIds": {"WORKSPACE": {"description": {"text": "The workspace's root folder."}}},
                "results": [_result(finding, used.index(finding.rule)) for finding in found],
            }
        ],
    }


def _rule(name: str) -> dict[str, Any]:
    described: dict[str, Any] = {"id": name}
    if name in RULES:
        described["shortDescription"] = {"text": RULES[name].title}
        described["defaultConfiguration"] = {"level": _LEVELS[str(RULES[name].severity)]}
    return described


def _result(finding: Finding, index: int) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(finding.path), "uriBaseId": "WORKSPACE"}}
    if finding.line is not None:
        place["region"] = {"startLine": finding.line}
        if finding.column is not None:
            place["region"]["startColumn"] = finding.column
    text = finding.message if finding.fix is None else f"{finding.message}. Fix: {finding.fix}"
    return {
        "ruleId": finding.rule,
        "ruleIndex": index,
        "level": _LEVELS[str(finding.severity)],
        "message": {"text": text},
        "locations": [{"physicalLocation": place}],
    }
