"""One tables project behind a storage: where its files are, what is wrong with them, its rows, and how they are put in order.

What the text means is in `schemas.tables`, writing changed rows in `resources.tables.records`, safe repairs in
`resources.tables.repair`.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from resources.storage.base import ABSENT, Change, Storage
from resources.tables import records
from schemas import paths
from schemas.errors import InvalidText, NewerFormat
from schemas.findings import Finding, Severity, found, rule
from schemas.oid import bytes_oid
from schemas.tables import gitfiles
from schemas.tables.model import Project, Table
from schemas.tables.project import examine_project, read_project
from schemas.tables.rows import check_rows
from schemas.tables.strict import read_rows

PROJECT_FILE = "project.yaml"
DATA_FOLDER = "data"
HISTORY_FILE = "history.log"
PROJECT_LIMIT = 16 << 20

NO_PROJECT = rule("tables-no-project", Severity.ERROR, "The project has its project.yaml.")
NO_FILE = rule("tables-missing-file", Severity.ERROR, "A table with `rows: required` has its CSV file.")
NO_ROWS = rule("tables-no-rows", Severity.WARNING, "Every table has its CSV file; one without is built empty.")
NOT_A_FILE = rule("tables-not-a-file", Severity.ERROR, "A table's rows lie in a file, not behind a link or in a folder.")
UNDECLARED = rule("tables-undeclared-file", Severity.WARNING, "Every CSV file below data/ belongs to a table.")
OTHER_FORM = rule("tables-file-name-form", Severity.WARNING, "A CSV file's name has the Unicode form project.yaml has.")
GIT_FILE = rule("tables-git-file", Severity.INFO, "git ignores derived files and leaves line ends in CSV files alone.")

Row = Sequence[str | None]


class TablesStore:
    """The project in the folder `root` ('' for the storage's own root). Paths it gives and takes are the storage's."""

    def __init__(self, storage: Storage, root: str = "") -> None:
        self.storage = storage
        self.root = root

    def path(self, inside: str) -> str:
        """The storage's path of a path inside the project."""
        return f"{self.root}/{inside}" if self.root else inside

    @property
    def project_path(self) -> str:
        """Where project.yaml lies."""
        return self.path(PROJECT_FILE)

    def read_project_text(self) -> bytes:
        """The bytes of project.yaml. Raises InvalidText when there is none."""
        try:
            return self.storage.read(self.project_path, limit=PROJECT_LIMIT)
        except FileNotFoundError:
            missing = found(NO_PROJECT, self.project_path, "there is no project.yaml", fix="run `headwater tables init`")
            raise InvalidText([missing]) from None

    def project(self) -> Project:
        """The project, migrated in memory when its text is older. Raises InvalidText with every finding, NewerFormat."""
        return read_project(self.read_project_text(), self.project_path)

    def data_files(self) -> dict[str, str]:
        """The CSV files below data/: their path in the project, in Unicode form NFC, to the storage's path.

        Where a folder holds both forms of a name, the one that is NFC wins. Names that no table can declare are left out.
        """
        return self._scan_data()[0]

    def _scan_data(self) -> tuple[dict[str, str], list[str]]:
        """`data_files`, and the storage's paths of those that were left out."""
        start = len(self.path(""))
        files: dict[str, str] = {}
        unusable: list[str] = []
        for stat in self.storage.scan(self.path(DATA_FOLDER)):
            if stat.path.endswith(".csv"):
                inside = stat.path[start:]
                if not paths.is_usable(inside):
                    unusable.append(stat.path)
                    continue
                form = unicodedata.normalize("NFC", inside)
                if form not in files or form == inside:
                    files[form] = stat.path
        return files, unusable

    def data_path(self, table: Table) -> str:
        """The storage's path of a table's CSV file: of the one that is there in another Unicode form, else as declared."""
        declared = self.path(table.data_file)
        if table.data_file.isascii() or self.storage.stat(declared) is not None:
            return declared
        return self.data_files().get(unicodedata.normalize("NFC", table.data_file), declared)

    def rows(self, project: Project, table_name: str) -> Iterator[list[str | None]]:
        """The cells of a table's rows in the order of its stored columns; none where there is no file. Raises InvalidText."""
        table = project.tables[table_name]
        path = self.data_path(table)
        if self.storage.stat(path) is not None:
            with self.storage.open(path) as stream:
                yield from read_rows(stream, path, project, table_name)

    def check(self, *, proven: Callable[[Project, Mapping[str, str]], bool] | None = None) -> list[Finding]:
        """Everything wrong with the project's text: shape and meaning of project.yaml, cells, keys, relationships, checks.

        Rows are judged only when project.yaml itself has no blocking finding, and only when `proven`, given the project and
        the path of each table's file, does not know already that nothing at all can be found in them. Raises NewerFormat.
        """
        try:
            text = self.read_project_text()
        except InvalidText as invalid:
            return list(invalid.findings)
        project, findings = examine_project(text, self.project_path)
        unclear = any(finding.blocking for finding in findings)
        findings += self._git_findings() + self._history_findings()
        if project is None or unclear:
            return sorted(findings)
        files, more = self._match_files(project)
        findings += more
        if proven is not None and proven(project, files):
            return sorted(findings)
        openers = {name: partial(self.storage.open, path) for name, path in files.items()}
        shown = {project.tables[name].data_file: path for name, path in files.items()}
        findings += check_rows(project, openers, lambda inside: shown.get(inside, self.path(inside)))
        return sorted(findings)

    def _match_files(self, project: Project) -> tuple[dict[str, str], list[Finding]]:
        """(table -> the storage's path of its file, findings about files)."""
        present, unusable = self._scan_data()
        files: dict[str, str] = {}
        findings = []
        for name, table in project.tables.items():
            actual = present.pop(unicodedata.normalize("NFC", table.data_file), None)
            if actual is None:
                findings.append(self._absent(table))
                continue
            files[name] = actual
            if actual != self.path(table.data_file):
                message = f"the file's name is not in the Unicode form of {table.data_file!r} in project.yaml"
                findings.append(found(OTHER_FORM, actual, message, fix=f"rename it to {table.data_file!r}"))
        for path in unusable:
            message, fix = "no table can have a file of this name", "rename it, and declare its table in project.yaml"
            findings.append(found(UNDECLARED, paths.escaped(path), message, fix=fix))
        folded = {paths.fold(table.data_file): name for name, table in project.tables.items()}
        for inside, actual in present.items():
            near = folded.get(paths.fold(inside))
            fix = (
                f"rename it to {project.tables[near].data_file!r}" if near else "declare its table in project.yaml, or remove it"
            )
            findings.append(found(UNDECLARED, actual, "no table has this file", fix=fix))
        return files, findings

    def _absent(self, table: Table) -> Finding:
        """The finding about a table whose file is not among those that are read."""
        path = self.path(table.data_file)
        if obstructed(self.storage, path):
            message = "a link, a folder or a device lies where the table's file belongs, and none of them is read"
            return found(NOT_A_FILE, path, message, fix="put the file itself there")
        if table.rows == "required":
            message = f"table {table.name!r} needs its rows, and the file is not there"
            return found(NO_FILE, path, message, fix="add the file, or remove `rows: required`")
        message = f"table {table.name!r} has no file, so it is built without rows"
        return found(
            NO_ROWS, path, message, fix="add the file with its header, or set `rows: required` to never build without it"
        )

    def _history_findings(self) -> list[Finding]:
        """What keeps history.log from being read or written; it is the input of nothing that is built, so it blocks nothing."""
        from resources.tables.history_log import HistoryLog, HistoryTexts, fork_error
        from schemas.tables import history

        path = self.path(HISTORY_FILE)
        try:
            log = HistoryLog(self.storage, path).read()
        except InvalidText as invalid:
            return list(invalid.findings)
        except NewerFormat as newer:
            return [found(history.RECORD, path, newer.message, line=1, fix=newer.fix)]
        if log is None:
            return []
        if log.fork is not None:
            error = fork_error(log, log.fork, path)
            return [found(history.FORK, path, error.message, line=error.line, fix=error.fix)]
        findings = []
        if log.torn:
            message = f"the last record is torn: {len(log.torn)} bytes without a line feed"
            fix = "the next `headwater tables exec` moves them to history.log.torn"
            findings.append(found(history.TORN, path, message, fix=fix))
        texts = HistoryTexts(self.storage, self.path(""))
        for change in log.named():
            if not texts.has(change):
                message = f"a text of {change.path!r} that history.log names is not there: `headwater tables replay` stops at it"
                fix = (
                    "restore it from version control, or run `headwater tables history` where an earlier Headwater wrote the log"
                )
                findings.append(found(history.TEXT, texts.path(change), message, fix=fix))
        return findings

    def _git_findings(self) -> list[Finding]:
        findings = []
        for name, template in ((".gitignore", gitfiles.GITIGNORE), (".gitattributes", gitfiles.GITATTRIBUTES)):
            path = self.path(name)
            if self.storage.stat(path) is None:
                continue
            missing = gitfiles.missing_lines(template, self.storage.read(path).decode("utf-8", "replace"))
            if missing:
                findings.append(found(GIT_FILE, path, f"{len(missing)} lines are missing", fix=f"add: {', '.join(missing)}"))
        return findings


def obstructed(storage: Storage, path: str) -> bool:
    """Whether something that is no regular file lies at `path`; never on storages that hold nothing but files."""
    root = storage.local_root
    return root is not None and os.path.lexists(root / path) and storage.stat(path) is None


def sort_key(table: Table, columns: Sequence[str]) -> Callable[[records.Cells], Any]:
    """From cells of `columns` to a value that sorts in typed order: NULL first, text by code point (as SQLite's BINARY)."""
    kinds = [table.columns[name].column_type for name in columns]

    def order(cells: records.Cells) -> Any:
        return tuple(
            (cell is not None, None if cell is None else kind.parse(cell)) for kind, cell in zip(kinds, cells, strict=True)
        )

    return order


def canonical_key(table: Table) -> Callable[[records.Cells], records.Cells] | None:
    """What makes key cells of different spelling equal; None when every key column has one spelling per value."""
    names = table.primary_key or list(table.stored)
    kinds = [table.columns[name].column_type for name in names]
    if not any(kind.base == "float" for kind in kinds):
        return None

    def canonical(cells: records.Cells) -> records.Cells:
        return tuple(
            kind.format(kind.parse(cell)) if cell is not None and kind.base == "float" else cell
            for kind, cell in zip(kinds, cells, strict=True)
        )

    return canonical


def migrate(storage: Storage, root: str) -> list[Change]:
    """`Kind.migrate`: what brings the project to the current version; [] when it is current.

    The files as they were are kept below `.playground/backup-…/`, which git ignores.

    Raises NewerFormat, or InvalidText when the text, before or after, breaks a rule.
    """
    from schemas.tables.migrations import migrate_tree

    store = TablesStore(storage, root)
    text = store.read_project_text()
    tree = {PROJECT_FILE: text}
    for inside, actual in store.data_files().items():
        tree[inside] = storage.read(actual)
    after = migrate_tree(tree, store.project_path)
    changes = []
    for inside in sorted({*tree, *after}):
        old, new = tree.get(inside), after.get(inside)
        if old == new:
            continue
        if old is not None:
            kept = f".playground/backup-{bytes_oid(text).partition(':')[2][:12]}/{inside}"
            if storage.stat(store.path(kept)) is None:
                changes.append(Change(store.path(kept), old))
        changes.append(Change(store.path(inside), new, ABSENT if old is None else bytes_oid(old)))
    return changes
