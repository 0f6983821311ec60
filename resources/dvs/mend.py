"""The safe repairs of what is wrong with a repository of versioned data: as changes that can be shown before they are made.

No data and no object is touched, and nothing that git tracks but text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from resources.dvs import doctor
from resources.dvs.doctor import git_around, is_readable, newest_state
from resources.dvs.findings import read_text
from resources.dvs.findings import repairs as manifest_repairs
from resources.dvs.gitignore import FILE as IGNORE
from resources.dvs.gitignore import pattern
from resources.dvs.init import IGNORED, MERGE_LINE, MERGE_SETTINGS
from resources.storage.base import ABSENT, Change, Expect, Storage
from schemas.dvs import sidecar
from schemas.dvs import state as states
from schemas.errors import HeadwaterError
from schemas.findings import Finding
from schemas.oid import bytes_oid

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo

_LIMIT: Final = 1 << 30


@dataclass(slots=True)
class Repairs:
    """What `--fix` would do: changes of files with what they hold now, settings of git in this clone, a line for each step."""

    changes: list[Change] = field(default_factory=list)
    before: dict[str, bytes] = field(default_factory=dict)
    settings: list[tuple[str, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.changes or self.settings)


def repairs(storage: Storage, root: str, wanted: Sequence[Finding], repo: DvsRepo | None = None) -> Repairs:
    """The safe repairs of those findings: nothing that is data is touched, no sidecar's meaning, no tracked file of git.

    Patterns that hide only sidecars go, those that hide more get exceptions; data and the clone's folder are ignored; manifest
    and sidecars agree; a second sidecar that says the same goes; dvs.lock is merged by its driver. With `repo` the clone's log
    loses the lines that cannot be read (they are kept beside it), and its HEAD names a state.
    """
    made = Repairs()
    rules = {one.rule for one in wanted}
    for change in manifest_repairs(storage, root, wanted):
        _take(storage, made, change, "bring dvs.lock in step with the sidecars")
    _mend_text(storage, root, made, wanted)
    if doctor.TWICE.id in rules:
        for one in wanted:
            if one.rule == doctor.TWICE.id:
                data = storage.read(one.path)
                _take(storage, made, Change(one.path, None, bytes_oid(data)), f"remove {one.path}: it says what the other does")
    if rules & {doctor.ATTRIBUTE.id, doctor.DRIVER.id}:
        side = git_around(storage, root)
        if side is not None and not side.knows_driver():
            made.settings += MERGE_SETTINGS
            made.lines.append("tell git in this clone how dvs.lock is merged")
    if repo is not None and doctor.STATE.id in rules:
        _mend_state(repo, made)
    return made


def _mend_text(storage: Storage, root: str, made: Repairs, wanted: Sequence[Finding]) -> None:
    """The changes of `.gitignore` and `.gitattributes` files, one for each."""
    edits = _Edits(storage)
    lead = f"{root}/" if root else ""
    clone = None
    if any(one.rule == doctor.SIDECAR_IGNORED.id for one in wanted):
        config = read_text(storage, root).config
        clone = _below(root, IGNORE) if config is not None and config.metadata_folder is None else None
    for one in wanted:
        if one.rule == doctor.SIDECAR_IGNORED.id and one.line is not None and one.value is not None:
            _show_sidecars(edits, one, clone)
        elif one.rule == doctor.DATA_NOT_IGNORED.id:
            for path in _not_ignored(storage, root) if "more versioned files" in one.message else [one.path[len(lead) :]]:
                above, _, name = path.rpartition("/")
                edits.add(_below(root, f"{above}/{IGNORE}" if above else IGNORE), pattern(name))
        elif one.rule == doctor.CLONE_STATE.id and one.value is not None:
            edits.add(one.path, one.value)
        elif one.rule == doctor.ATTRIBUTE.id:
            edits.add(one.path, MERGE_LINE)
    for change, said in edits.changes():
        _take(storage, made, change, said)


def set_in_git(storage: Storage, root: str, settings: Iterable[tuple[str, str]]) -> None:
    """Set settings of git in this clone."""
    side = git_around(storage, root)
    if side is not None:
        for name, value in settings:
            side.git.config_set(name, value)


def _not_ignored(storage: Storage, root: str) -> list[str]:
    """Every versioned file that git neither ignores nor tracks: a finding names only the first thousand."""
    side = git_around(storage, root)
    return [] if side is None else sorted(side.open_data(read_text(storage, root)))


def _show_sidecars(edits: _Edits, one: Finding, clone: str | None) -> None:
    """Take a pattern out that names sidecars alone; let sidecars through behind one that hides more. One that hides whole folders
    stays: git does not look into them, whatever stands behind it. `clone` is the `.gitignore` that must hide the clone's own
    folder, which such a pattern hides by the way (`*.dvs` is `.dvs` too); None where the sidecars lie in it."""
    assert one.line is not None
    assert one.value is not None
    if one.value.rstrip().endswith((sidecar.JSON_SUFFIX, sidecar.TOML_SUFFIX, "*.dvs*")):
        edits.remove(one.path, one.line, one.value)
        if clone is not None:
            edits.add(clone, IGNORED, equal=(".dvs/", ".dvs", "/.dvs"))
    elif not one.value.endswith("/") and "*" in one.value.rpartition("/")[2]:
        # Something before the dot: these lines must not let the folder .dvs through.
        edits.add(one.path, f"!?*{sidecar.JSON_SUFFIX}")
        edits.add(one.path, f"!?*{sidecar.TOML_SUFFIX}")


class _Edits:
    """Lines that files lose and get."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.added: dict[str, dict[str, tuple[str, ...]]] = {}
        self.removed: dict[str, dict[int, str]] = {}

    def add(self, path: str, line: str, *, equal: tuple[str, ...] = ()) -> None:
        """Let a file end in this line, if it does not hold it or its equal."""
        self.added.setdefault(path, {})[line] = (line, *equal)

    def remove(self, path: str, number: int, line: str) -> None:
        """Take a line out, if it still stands at that place."""
        self.removed.setdefault(path, {})[number] = line

    def changes(self) -> Iterator[tuple[Change, str]]:
        """Each file that changes, with what is done to it."""
        for path in sorted({*self.added, *self.removed}):
            data: bytes | None
            try:
                data = self.storage.read(path)
            except FileNotFoundError:
                data = None
            # Lines as git counts them; what else Python takes for the end of one is part of a name.
            before = [line.decode("utf-8", "surrogateescape") for line in (data or b"").split(b"\n")]
            if not before[-1]:
                before.pop()
            gone = self.removed.get(path, {})
            lines = [line for number, line in enumerate(before, 1) if line.rstrip() != gone.get(number, "\0").rstrip()]
            present = {line.removesuffix("\r") for line in lines}
            new = [line for line, same in self.added.get(path, {}).items() if present.isdisjoint(same)]
            if not new and len(lines) == len(before):
                continue
            end = "\r" if any(line.endswith("\r") for line in before) else ""
            after = "".join(f"{line}\n" for line in [*lines, *(line + end for line in new)])
            expect: Expect = ABSENT if data is None else bytes_oid(data)
            yield (
                Change(path, after.encode("utf-8", "surrogateescape") or None, expect),
                _said(path, len(before) - len(lines), new),
            )


def _said(path: str, gone: int, new: Sequence[str]) -> str:
    """What is done to a file, in words."""
    added = f"add `{new[0]}`" if len(new) == 1 else f"add {len(new):,} lines" if new else ""
    removed = f"take {gone} {'line' if gone == 1 else 'lines'} out" if gone else ""
    return f"{path}: {', '.join(filter(None, [removed, added]))}"


def _mend_state(repo: DvsRepo, made: Repairs) -> None:
    records, problems = repo.log()
    data = repo.read(states.LOG, limit=_LIMIT) or b""
    if problems:
        bad = {problem.line for problem in problems}
        lines = data.split(b"\n")
        kept = b"".join(line + b"\n" for number, line in enumerate(lines, 1) if number not in bad and line.strip())
        lost = b"".join(line + b"\n" for number, line in enumerate(lines, 1) if number in bad)
        beside = f"{states.LOG}.damaged"
        held = repo.read(beside, limit=_LIMIT)
        expect: Expect = ABSENT if held is None else bytes_oid(held)
        path = repo.path(states.LOG)
        _take(
            repo.storage, made, Change(repo.path(beside), (held or b"") + lost, expect), f"keep what cannot be read in {beside}"
        )
        _take(repo.storage, made, Change(path, kept, bytes_oid(data)), f"take {len(bad):,} damaged lines out of the log")
    good = newest_state(repo, records)
    held = repo.read(states.HEAD)
    wanted = f"{good}\n".encode() if good is not None else None
    if held != wanted and (good is not None or not _usable_head(repo)):
        expect = ABSENT if held is None else bytes_oid(held)
        said = "let HEAD name the newest state that can be read" if wanted else "forget HEAD: no state can be read"
        _take(repo.storage, made, Change(repo.path(states.HEAD), wanted, expect), said)


def _usable_head(repo: DvsRepo) -> bool:
    try:
        head = repo.head()
    except HeadwaterError:
        return False
    return head is None or is_readable(repo, head)


def _take(storage: Storage, made: Repairs, change: Change, said: str) -> None:
    if storage.stat(change.path) is not None:
        made.before[change.path] = storage.read(change.path)
    made.changes.append(change)
    made.lines.append(said)


def _below(root: str, name: str) -> str:
    return f"{root}/{name}" if root and name else name or root
