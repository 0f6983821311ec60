"""Safe repairs of a project's CSV files for `check --fix`: only what cannot change a value, one span at a time.

What is safe is decided where the finding is made (`Finding.replacement`); here it is put into the file.
"""

from __future__ import annotations

from collections.abc import Iterable

from resources.storage.base import Change, Storage
from schemas.csv_edit import rewrite
from schemas.csv_text import Reader
from schemas.errors import InvalidText
from schemas.findings import Finding
from schemas.oid import bytes_oid
from schemas.tables.strict import BOM, FINAL_NEWLINE

_MARK = b"\xef\xbb\xbf"


def fix(storage: Storage, root: str, findings: Iterable[Finding]) -> list[Change]:
    """`Kind.fix`: the Changes that repair what can be repaired safely, one per CSV file; other findings are left alone."""
    by_path: dict[str, list[Finding]] = {}
    prefix = f"{root}/data/" if root else "data/"
    for finding in findings:
        if finding.path.endswith(".csv") and finding.path.startswith(prefix):
            by_path.setdefault(finding.path, []).append(finding)
    changes = []
    for path, problems in sorted(by_path.items()):
        before = storage.read(path)
        after = repaired(before, path, problems)
        if after != before:
            changes.append(Change(path, after, bytes_oid(before)))
    return changes


def repaired(data: bytes, path: str, findings: Iterable[Finding]) -> bytes:
    """`data` with the safe repairs of `findings` made: replacements of cells, the byte-order mark, the last line feed."""
    findings = list(findings)
    replacements = {
        (finding.line, finding.column): (finding.value, finding.replacement)
        for finding in findings
        if finding.replacement is not None
    }
    rules = {finding.rule for finding in findings}
    if replacements:
        data = _replace_cells(data, path, replacements)
    if BOM.id in rules:
        data = data.removeprefix(_MARK)
    if FINAL_NEWLINE.id in rules and not data.endswith(b"\n"):
        data += b"\n"
    return data


def _replace_cells(data: bytes, path: str, replacements: dict[tuple[int | None, int | None], tuple[str | None, str]]) -> bytes:
    """`replacements` are value and replacement by line and column; a cell that says something else by now is left alone."""
    lines = {line for line, _ in replacements}
    changed: dict[int, list[str | None] | None] = {}
    try:
        reader = Reader(data, path)
        assert reader.header is not None
        for number, record in enumerate([reader.header, *reader], -1):
            last = record.line + record.raw.count("\n")
            if lines.isdisjoint(range(record.line, last + 1)):
                continue
            cells = list(record.cells)
            for index in range(len(cells)):
                written = replacements.get(record.position(index))
                if written is not None and cells[index] == written[0]:
                    cells[index] = written[1]
            if cells != record.cells:
                changed[number] = cells
    except InvalidText:
        # Records that cannot be told apart are mended by hand first.
        return data
    return b"".join(rewrite(data, path, replace=changed))
