"""What is never taken for data: our own files, git's, and what `.dvsignore` names.

`.dvsignore` lies in the repository's folder and has the syntax of `.gitignore` (the last pattern that matches decides). What
`.gitignore` names is not left out: that is where the data files themselves are listed. Light until there is a `.dvsignore`.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Final

from resources.dvs.working import NEVER_ENTERED
from schemas.dvs import sidecar
from schemas.dvs.config import FILES
from schemas.dvs.manifest import FILE as MANIFEST
from schemas.errors import HeadwaterError

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

    from resources.dvs.repo import DvsRepo

FILE: Final = ".dvsignore"
OWN: Final = frozenset({*FILES, MANIFEST, FILE, ".gitignore", ".gitattributes", ".gitmodules", "headwater.toml"})
"""Names that are text of the repository or of git wherever they lie."""
_LIMIT: Final = 1 << 20


class Ignored:
    """The rules of one repository."""

    def __init__(self, repo: DvsRepo) -> None:
        self._repo = repo

    @cached_property
    def _spec(self) -> GitIgnoreSpec | None:
        data = self._repo.read(FILE, limit=_LIMIT)
        if data is None or not data.strip():
            return None
        from pathspec import GitIgnoreSpec
        from pathspec.patterns.gitignore import GitIgnorePatternError

        lines = data.decode("utf-8-sig", "surrogateescape").splitlines()
        try:
            return GitIgnoreSpec.from_lines(lines)
        except GitIgnorePatternError as error:
            raise HeadwaterError(
                f"a pattern cannot be read: {error}", rule="dvs-ignore", path=self._repo.path(FILE), fix="correct or remove it"
            ) from error

    def own(self, name: str) -> bool:
        """Whether a file of that name is never data, wherever it lies."""
        return name in OWN or sidecar.data_path(name) is not None

    def folder(self, path: str) -> bool:
        """Whether nothing below the folder is data."""
        name = path.rpartition("/")[2]
        if name in NEVER_ENTERED or name == ".dvs":
            return True
        return self._spec is not None and self._spec.match_file(f"{path}/")

    def file(self, path: str) -> bool:
        """Whether `.dvsignore` names the file."""
        return self._spec is not None and self._spec.match_file(path)
