"""The rules for what comes into a project from outside of its text: edits of the live database, and spreadsheets.

Only the rules; they are applied by `assets.tables.live`, `assets.tables.export` and `resources.tables.sheet_read`. Light.
"""

from __future__ import annotations

from schemas.findings import Severity, rule

LIVE_CELL = rule("live-cell", Severity.ERROR, "Every value in the live database can be written as a cell of its column's type.")
LIVE_LIMIT = rule("live-limit", Severity.ERROR, "Every value in the live database is within the limits that project.yaml sets.")
SHEET_CELL = rule("sheet-cell", Severity.ERROR, "Every cell of an imported spreadsheet can be read as its column's type.")
SHEET_KEY = rule("sheet-key", Severity.ERROR, "Every row of an imported spreadsheet has its own primary key.")
