"""Starting a project from what is there: CSV files, a SQLite or DuckDB file, an SQL dump, a data package, or CSVW metadata.

Everything is decided once, here, and written down: types, keys, names. Nothing is written to disk; the caller commits.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resources.tables.introspect import Imported, clean_file_name
from resources.tables.records import write_record
from schemas import yaml_write
from schemas.csv_text import Reader
from schemas.errors import HeadwaterError, InvalidText
from schemas.findings import Finding
from schemas.json_text import read as read_json
from schemas.paths import check_path
from schemas.tables.csvw import import_csvw, is_csvw
from schemas.tables.datapackage import import_datapackage, table_paths
from schemas.tables.infer import TableGuess, clean_names
from schemas.tables.project import read_project
from schemas.tables.strict import OTHER_SEPARATORS

PROJECT_FILE = "project.yaml"
_MOST_FINDINGS = 100


def import_files(files: Sequence[Path]) -> tuple[dict[str, bytes], list[str]]:
    """(path in the project to bytes, what was left out or changed) for one database, one dump, one data package, or CSV files.

    Raises InvalidText for CSV that breaks a rule, HeadwaterError (rule `tables-import`) for files of another kind.
    """
    if len(files) == 1:
        head = _head(files[0])
        if head.startswith(b"SQLite format 3\0"):
            from resources.tables.from_sqlite import import_sqlite

            return _from_database(import_sqlite(files[0]))
        if head[8:12] == b"DUCK":
            from resources.tables.from_duckdb import import_duckdb

            return _from_database(import_duckdb(files[0]))
        if files[0].suffix.lower() == ".sql":
            from resources.tables.from_sql_dump import import_dump

            return _from_database(import_dump(files[0]))
        if files[0].suffix.lower() == ".json":
            return _from_package(files[0])
    for file in files:
        if file.suffix.lower() != ".csv":
            raise HeadwaterError(
                "this is neither a CSV file nor a SQLite or DuckDB database, an SQL dump or a datapackage.json",
                path=str(file),
                rule="tables-import",
                fix="name CSV files, or one database, one .sql file, or one datapackage.json",
            )
    return _from_csv(files)


def _head(file: Path) -> bytes:
    with open(file, "rb") as stream:
        return stream.read(16)


def _from_database(imported: Imported) -> tuple[dict[str, bytes], list[str]]:
    made = {PROJECT_FILE: yaml_write.write(imported.tree).encode("utf-8")}
    for name, table in imported.project.tables.items():
        made[table.data_file] = b"".join(imported.csv(name))
    return made, imported.notes


def _from_csv(files: Sequence[Path]) -> tuple[dict[str, bytes], list[str]]:
    tables: dict[str, Any] = {}
    made: dict[str, bytes] = {}
    notes: list[str] = []
    names = clean_names(file.stem for file in files)
    for name, file in zip(names, files, strict=True):
        tree, data = _csv_table(name, file, notes)
        if clean_file_name(name) != name:
            tree = {"file": f"data/{clean_file_name(name)}.csv", **tree}
        if name != file.stem:
            notes.append(f"{file.name} becomes table {name!r}")
        tables[name] = tree
        made[tree.get("file", f"data/{name}.csv")] = data
    text = yaml_write.write({"version": 1, "tables": tables}).encode("utf-8")
    read_project(text, PROJECT_FILE)
    return {PROJECT_FILE: text, **made}, notes


def _csv_table(name: str, file: Path, notes: list[str]) -> tuple[dict[str, Any], bytes]:
    findings: list[Finding] = []

    def report(finding: Finding) -> None:
        if finding.blocking:
            findings.append(finding)
        if len(findings) >= _MOST_FINDINGS:
            raise InvalidText(findings)

    with open(file, "rb") as stream:
        reader = Reader(stream, str(file), report=report)
        guess = TableGuess(name, reader.columns)
        for record in reader:
            guess.see(record.cells)
    if findings:
        raise InvalidText(findings)
    for old, new in zip(reader.columns, guess.columns, strict=True):
        if old != new:
            notes.append(f"column {old!r} of {file.name} is called {new!r} now")
    only = reader.columns[0] if len(reader.columns) == 1 else ""
    for sign, named in OTHER_SEPARATORS.items():
        if sign in only:
            notes.append(f"{file.name} has one column, {only!r}: if {named} separate its cells, use commas")
    convert = guess.converter()
    lines = [write_record(guess.columns, "\0")]
    with open(file, "rb") as stream:
        lines.extend(write_record(convert(record.cells)) for record in Reader(stream, str(file)))
    return guess.tree(), b"\n".join(lines) + b"\n"


def _from_package(file: Path) -> tuple[dict[str, bytes], list[str]]:
    described = read_json(file.read_bytes(), str(file)).value
    if not isinstance(described, dict):
        raise HeadwaterError(
            "this is neither a data package nor CSVW metadata",
            path=str(file),
            rule="tables-import",
            fix="name a datapackage.json",
        )
    if is_csvw(described):
        tree, originals, notes = import_csvw(described, str(file))
    else:
        tree, notes = import_datapackage(described, str(file))
        originals = table_paths(described)
    text = yaml_write.write(tree).encode("utf-8")
    project = read_project(text, PROJECT_FILE)
    made = {PROJECT_FILE: text}
    for table, original in zip(project.tables.values(), originals, strict=True):
        # A file on the web is looked for beside the description; nothing is fetched.
        inside = original.rpartition("/")[2] if "://" in original else original
        found = file.parent / check_path(inside, portable=False)
        if not found.resolve().is_relative_to(file.parent.resolve()):
            raise HeadwaterError("the file lies outside the package", path=original, rule="path-outside", fix="copy it inside")
        if found.is_file():
            made[table.data_file] = found.read_bytes()
        else:
            notes.append(f"the file of table {table.name!r} is not there: {original}")
    return made, notes
