"""One version of a project's text, wherever it lies: the working folder, a git commit, a zip file, plain bytes.

Only the project and the bytes of its CSV files are handed out; comparing versions is `assets.tables.compare`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from assets.tables.load import TableText
from resources.git import Git
from resources.storage.base import Storage
from resources.tables.archive import read_zip
from schemas.errors import HeadwaterError
from schemas.oid import bytes_oid
from schemas.tables.history import text_digest
from schemas.tables.model import Project
from schemas.tables.project import read_project

PROJECT_FILE = "project.yaml"


@dataclass(slots=True)
class Version:
    """A version of the text. `label` names it in messages; `read(path)` gives a file's bytes by store-relative path, None for a
    file that is not there; `paths` are the files there are."""

    label: str
    read: Callable[[str], bytes | None]
    paths: tuple[str, ...]
    shown: str = ""
    """The store's folder with a final `/`, as findings show it."""
    oids: Mapping[str, str] = field(default_factory=dict)
    """The oids of the files as far as they are known without reading."""
    actual: Mapping[str, str] = field(default_factory=dict)
    _project: Project | None = field(default=None)

    def where(self, path: str) -> str:
        """The path a file has on disk: on file systems that keep other Unicode forms, not always the declared one."""
        return self.actual.get(path, path)

    def same_file(self, path: str, other: Version, other_path: str) -> bool:
        """Whether the file is known to be equal to one of another version without reading either."""
        oid = self.oids.get(path)
        return oid is not None and oid == other.oids.get(other_path)

    @property
    def project_data(self) -> bytes:
        """The bytes of project.yaml. Raises HeadwaterError (rule `version-missing`) when this version has none."""
        data = self.read(PROJECT_FILE)
        if data is None:
            raise HeadwaterError(
                f"{self.label} has no {self.shown}{PROJECT_FILE}",
                rule="version-missing",
                fix="name a version that holds the project",
            )
        return data

    @property
    def project(self) -> Project:
        """The project, read once. Raises InvalidText when it breaks a rule."""
        if self._project is None:
            self._project = read_project(self.project_data, self.shown + PROJECT_FILE)
        return self._project

    def table(self, name: str) -> bytes:
        """The CSV bytes of a table of the project; only a header when it has no file."""
        table = self.project.tables[name]
        data = self.read(table.data_file)
        return header(self.project, name) if data is None else data

    def files(self) -> dict[str, bytes]:
        """project.yaml and every data file that is there."""
        wanted = [PROJECT_FILE, *(table.data_file for table in self.project.tables.values())]
        return {path: data for path in wanted if (data := self.read(path)) is not None}

    def digest(self) -> str:
        """The digest of the text, as history.log records it."""
        return digest(self.files())

    def texts(self, folder: Path) -> dict[str, TableText]:
        """Each table with a copy of its file in the local folder `folder`, ready to be loaded."""
        made = {}
        for place, (name, table) in enumerate(self.project.tables.items()):
            data = self.read(table.data_file)
            path = None
            if data is not None:
                path = folder / f"{place}.csv"
                path.write_bytes(data)
            made[name] = TableText(self.project, table, path, self.shown + table.data_file)
        return made


def header(project: Project, table: str) -> bytes:
    """The CSV text of an empty table."""
    from resources.tables.records import write_record

    return write_record(project.tables[table].stored) + b"\n"


def digest(files: Mapping[str, bytes]) -> str:
    """The digest of project.yaml and data files, as history.log records it."""
    return text_digest({path: bytes_oid(data) for path, data in files.items()})


def from_storage(storage: Storage, root: str, label: str = "the text") -> Version:
    """The text as it lies in `storage` below `root`."""
    shown = f"{root}/" if root else ""

    def read(path: str) -> bytes | None:
        try:
            return storage.read(shown + actual.get(path, path))
        except FileNotFoundError:
            return None

    def entered(folder: str) -> bool:
        inside = folder[len(shown) :]
        return inside == "data" or inside.startswith("data/")

    actual: dict[str, str] = {}
    for stat in storage.scan(root, enter=entered):
        path = stat.path[len(shown) :]
        composed = unicodedata.normalize("NFC", path)
        if composed == path or composed not in actual:
            actual[composed] = path
    return Version(label, read, tuple(actual), shown, actual=actual)


def from_files(files: Mapping[str, bytes], label: str, shown: str = "") -> Version:
    """A version held in memory."""
    return Version(label, files.get, tuple(files), shown)


def from_zip(path: Path) -> Version:
    """The project in a zip file. Raises as `read_zip`."""
    return from_files(read_zip(path, path.name).files, path.name)


def from_commit(git: Git, folder: str, revision: str) -> Version:
    """The project below `folder` (relative to the checkout's top level) at `revision`. Raises GitError for an unknown one."""
    shown = f"{folder}/" if folder else ""
    paths = tuple(path[len(shown) :] for path in git.files(revision, folder))
    present = set(paths)

    def read(path: str) -> bytes | None:
        return git.show(revision, shown + path) if path in present else None

    return Version(revision, read, paths, shown)
