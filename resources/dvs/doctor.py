"""What is wrong with a repository of versioned data beyond its text, and the repairs that are safe: what git hides and tracks of
it, where its storage lies, what its clone remembers, which of its objects are nowhere.

What is wrong inside the text is found in `resources.dvs.findings`. Data files are never read here, objects only looked up.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

from resources.dvs.findings import Text, findings_of, read_text
from resources.dvs.init import MERGE_LINE, MERGE_SETTINGS, storage_place
from resources.git import Git, GitError, top_level
from resources.storage.base import ABSENT, Storage
from schemas.dvs import config as configs
from schemas.dvs import local_config, manifest, sidecar
from schemas.dvs import state as states
from schemas.errors import HeadwaterError, InvalidText
from schemas.findings import Finding, Severity, found, rule

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo

SIDECAR_IGNORED = rule("dvs-sidecar-ignored", Severity.ERROR, "Git is told to ignore no sidecar: sidecars are what is committed.")
DATA_IN_GIT = rule("dvs-data-in-git", Severity.ERROR, "Git tracks no file that is versioned here.")
DATA_NOT_IGNORED = rule("dvs-data-not-ignored", Severity.WARNING, "Git is told to ignore every versioned file.")
TWICE = rule("dvs-sidecar-twice", Severity.INFO, "A versioned file has one sidecar.")
INSIDE = rule("dvs-storage-inside", Severity.ERROR, "The storage lies outside of the repository.")
ATTRIBUTE = rule("dvs-merge-attribute", Severity.WARNING, "Git is told to merge dvs.lock file by file.")
DRIVER = rule("dvs-merge-driver", Severity.INFO, "Git in this clone knows the driver that merges dvs.lock.")
CLONE_STATE = rule("dvs-clone-state", Severity.ERROR, "Git keeps away from the clone's own folder .dvs, which may hold a token.")
MISSING = rule("dvs-object-missing", Severity.ERROR, "A place is known that holds the object of every versioned file.")
ELSEWHERE = rule("dvs-object-elsewhere", Severity.INFO, "The storage or the cache holds the object of every versioned file.")
STATE = rule("dvs-state-damaged", Severity.WARNING, "What the clone remembers of its states can be read.")
FORKED = rule("dvs-log-forked", Severity.INFO, "Each operation of the log begins from the state to which the one before it led.")
LOST_STATE = rule("dvs-state-missing", Severity.INFO, "The states of the log are there, so that one can go back to them.")
GIT_SILENT = rule("dvs-git-silent", Severity.WARNING, "Git answers what it tracks and ignores.")
TOKEN = rule(
    "dvs-token-readable", Severity.WARNING, "The settings of a clone that hold a token are readable by their owner alone."
)

_MOST: Final = 1_000
"""So many files of one rule are named one by one."""
_IGNORE: Final = ".gitignore"
_ATTRIBUTES: Final = ".gitattributes"
_CLONE: Final = ".dvs"


def findings(storage: Storage, root: str, *, git: bool = True) -> list[Finding]:
    """Everything that is wrong with the text of the repository in the folder `root` of a storage, sorted by place.

    With `git` also what the checkout around it says about the files; neither objects nor the clone's own folder are looked at.
    """
    text = read_text(storage, root)
    made = [*findings_of(root, text), *_twice(storage, root, text), *_inside(storage, root, text)]
    side = git_around(storage, root) if git else None
    if side is not None:
        try:
            made += list(side.findings(text))
        except GitError as error:
            made.append(found(GIT_SILENT, _below(root, _IGNORE), f"git does not answer: {error.message}", fix=error.fix))
    return sorted(made)


def kept_findings(storage: Storage, root: str) -> list[Finding]:
    """Those findings that follow from the text, and from the `.gitignore` and `.gitattributes` beside the configuration and at
    the top of the storage: they can be remembered as long as these files are the same. Sorted by place."""
    text = read_text(storage, root)
    made = [*findings_of(root, text), *_twice(storage, root, text), *_inside(storage, root, text)]
    side = git_around(storage, root)
    if side is not None:
        watched = {_IGNORE, _below(root, _IGNORE)}
        with suppress(GitError):  # the doctor says that git does not answer
            made += [one for one in side.hidden(text) if one.path in watched]
            made += [one for one in side.merging(text) if one.rule == ATTRIBUTE.id]
    return sorted(made)


def clone_findings(repo: DvsRepo, *, objects: bool = True) -> list[Finding]:
    """What is wrong with what this clone remembers, and with `objects` which of them it cannot find; sorted by place."""
    made = [*_state(repo), *_history(repo), *_token(repo)]
    if objects and _has_manifest(repo):
        made += _objects(repo)
    return sorted(made)


# text


def _twice(storage: Storage, root: str, text: Text) -> Iterator[Finding]:
    for inside, other in _twins(storage, root, text):
        held = _sidecar(storage, _below(root, other))
        chosen = text.tracked[inside][1]
        if held is not None and held.says_the_same(chosen):
            message = f"{text.tracked[inside][0]} says the same and is the one that counts"
            yield found(TWICE, _below(root, other), message, fix="remove this one; `headwater dvs doctor --fix` does")


def _twins(storage: Storage, root: str, text: Text) -> Iterator[tuple[str, str]]:
    """(data path, path of its JSON sidecar) of the files that have a TOML sidecar too."""
    for inside, (place, _said) in text.tracked.items():
        if place.endswith(sidecar.TOML_SUFFIX):
            other = place.removesuffix(sidecar.TOML_SUFFIX) + sidecar.JSON_SUFFIX
            if storage.stat(_below(root, other)) is not None:
                yield inside, other


def _sidecar(storage: Storage, path: str) -> sidecar.Sidecar | None:
    try:
        return sidecar.read_sidecar(storage.read(path, limit=sidecar.LIMITS.size), path)
    except (HeadwaterError, OSError):
        return None


def _inside(storage: Storage, root: str, text: Text) -> Iterator[Finding]:
    if text.config is None or storage.local_root is None:
        return
    try:
        place = storage_place(storage, root, text.config.storage_dir)
    except HeadwaterError:
        return
    folder = Path(os.path.realpath(storage.local_root / root))
    if not isinstance(place, Path):
        return
    real = Path(os.path.realpath(place))
    if real != folder and folder not in real.parents:
        return
    path = next(_below(root, name) for name in configs.FILES if storage.stat(_below(root, name)) is not None)
    line = column = None
    try:
        document = configs.document_of(storage.read(path), path)
        line, column = document.position(("backend", "path") if text.config.generation == 3 else ("storage_dir",))
    except (InvalidText, KeyError):
        pass
    fix = "move it out of the repository, then `headwater dvs config set storage_dir PATH`"
    yield found(INSIDE, path, "the storage lies inside the repository: its objects would be taken for data", line=line,
                column=column, fix=fix, value=text.config.storage_dir)  # fmt: skip


# git


@dataclass(frozen=True, slots=True)
class GitAround:
    """The git checkout around a repository. `lead` is before every path of the repository in git."""

    storage: Storage
    root: str
    git: Git
    lead: str

    def findings(self, text: Text) -> Iterator[Finding]:
        tracked = self.git.tracked_below([self.lead.rstrip("/")])
        yield from self.hidden(text)
        yield from self._data(text, tracked)
        yield from self._clone_state(text, tracked)
        yield from self.merging(text)

    def hidden(self, text: Text) -> Iterator[Finding]:
        """One finding per pattern that hides sidecars, where it stands."""
        places = {self.lead + place: place for place, _said in text.tracked.values()}
        by_pattern: dict[tuple[str, int, str], list[str]] = {}
        for path, place in self.git.ignored_by(places).items():
            by_pattern.setdefault(place, []).append(places[path])
        for (source, line, hiding), hidden in sorted(by_pattern.items()):
            shown = ", ".join(sorted(hidden)[:3]) + (", …" if len(hidden) > 3 else "")
            many = f"{len(hidden):,} sidecars" if len(hidden) > 1 else "a sidecar"
            message = f"the pattern {hiding!r} hides {many} from git: {shown}"
            fix = "take the pattern out, or add `!?*.dvs` and `!?*.dvs.toml` behind it"
            inside = self.inside(source)
            if inside is None:
                message, inside = f"{message} (line {line} of {source})", _below(self.root, sorted(hidden)[0])
                yield found(SIDECAR_IGNORED, inside, message, fix=fix, value=hiding)
            else:
                yield found(SIDECAR_IGNORED, inside, message, line=line, fix=fix, value=hiding)

    def _data(self, text: Text, tracked: set[str]) -> Iterator[Finding]:
        paths = sorted(text.tracked)
        in_git = [path for path in paths if self.lead + path in tracked]
        for path, more in _some(in_git):
            message = f"git tracks {path}, which is versioned here" if not more else f"git tracks {more:,} more versioned files"
            yield found(DATA_IN_GIT, _below(self.root, path), message, fix=f"git rm --cached -- {_quoted(self.lead + path)}")
        open_paths = sorted(self.open_data(text))
        for path, more in _some(open_paths):
            message = f"git does not ignore {path}" if not more else f"git does not ignore {more:,} more versioned files"
            fix = "`headwater dvs doctor --fix` puts it into .gitignore"
            yield found(DATA_NOT_IGNORED, _below(self.root, path), message, fix=fix)

    def open_data(self, text: Text) -> set[str]:
        """The versioned files in the working tree that git neither ignores nor tracks."""
        start = len(self.lead)
        return {path[start:] for path in self.git.untracked(self.lead)} & text.tracked.keys()

    def _clone_state(self, text: Text, tracked: set[str]) -> Iterator[Finding]:
        """The clone's folder; in the third generation it holds the sidecars, which git tracks."""
        mirror = text.config.metadata_folder if text.config is not None else None
        if mirror == _CLONE:
            return
        held = sorted(path for path in tracked if path.startswith(f"{self.lead}{_CLONE}/"))
        if held:
            fix = f"git rm -r --cached -- {_quoted(self.lead + _CLONE)}; if it held a token, revoke it"
            message = f"git tracks {len(held):,} files of the clone's own folder"
            yield found(CLONE_STATE, _below(self.root, held[0][len(self.lead) :]), message, fix=fix)
        elif not self.git.ignored([f"{self.lead}{_CLONE}/config.toml"]):
            message, fix = "git does not ignore the clone's own folder", "`headwater dvs doctor --fix` puts it into .gitignore"
            yield found(CLONE_STATE, _below(self.root, _IGNORE), message, fix=fix, value=f"/{_CLONE}/")

    def merging(self, text: Text) -> Iterator[Finding]:
        """How git merges the manifest, where there is something to merge."""
        keeps_one = text.config is not None and text.config.generation == 1 and text.tracked
        if text.manifest_oid is ABSENT and not keeps_one:
            return
        if self.git.attribute("merge", self.lead + manifest.FILE) != "dvs-lock":
            message = "git merges dvs.lock line by line, so that two branches that add files conflict"
            fix = f"write `{MERGE_LINE}` into it; `headwater dvs doctor --fix` does"
            yield found(ATTRIBUTE, _below(self.root, _ATTRIBUTES), message, fix=fix)
        elif not self.knows_driver():
            message = "git in this clone does not know the driver that merges dvs.lock"
            yield found(DRIVER, _below(self.root, _ATTRIBUTES), message, fix="`headwater git setup` installs it")

    def knows_driver(self) -> bool:
        """Whether git in this clone can merge manifests by their driver."""
        return all(self.git.config_get(name) is not None for name, _value in MERGE_SETTINGS if name.endswith(".driver"))

    def inside(self, source: str) -> str | None:
        """A file that git names as a path of the storage; None where it lies outside of it."""
        full = Path(os.path.normpath(self.git.root / source))
        above = self.storage.local_root
        if above is None:
            return None
        for top in (above, above.resolve()):
            if full.is_relative_to(top) and ".git" not in full.relative_to(top).parts:
                return full.relative_to(top).as_posix()
        return None


def git_around(storage: Storage, root: str) -> GitAround | None:
    if storage.local_root is None:
        return None
    folder = storage.local_root / root
    top = top_level(folder)
    if top is None:
        return None
    inside = folder.resolve().relative_to(top.resolve()).as_posix()
    return GitAround(storage, root, Git(top), "" if inside == "." else f"{inside}/")


# the clone


def _has_manifest(repo: DvsRepo) -> bool:
    """Whether the manifest can be read; where it cannot, that is found in the text."""
    try:
        repo.manifest()
    except HeadwaterError:
        return False
    return True


def _state(repo: DvsRepo) -> Iterator[Finding]:
    records, problems = repo.log()
    fix = "`headwater dvs doctor --fix` takes it out; the bytes are kept beside it"
    for problem in problems:
        yield found(STATE, repo.path(states.LOG), problem.message, line=problem.line, fix=fix)
    mend = "`headwater dvs doctor --fix` sets it to the newest state that can be read"
    try:
        head = repo.head()
    except HeadwaterError as error:
        yield found(STATE, repo.path(states.HEAD), error.message, fix=mend)
        return
    if head is None:
        if records:
            yield found(STATE, repo.path(states.HEAD), "there is a log, and no present state", fix=mend)
        return
    try:
        repo.snapshot(head)
    except HeadwaterError as error:
        yield found(STATE, repo.path(states.HEAD), f"the present state is of no use: {error.message}", fix=mend)
        return
    newest = newest_state(repo, records)
    if newest is not None and newest != head:
        yield found(STATE, repo.path(states.HEAD), "the last operation of the log led to another state", fix=mend)


def _history(repo: DvsRepo) -> Iterator[Finding]:
    """Where the chain of the log breaks, and which of its states nobody can go back to."""
    records, _problems = repo.log()
    place = repo.path(states.LOG)
    for before, record in pairwise(records):
        if record.old != before.new:
            began = f"from the state {record.old[:12]}" if record.old is not None else "from none"
            message = f"{record.op} at {record.ts} began {began}, and {before.op} before it led to {before.new[:12]}"
            yield found(
                FORKED, place, message, fix=f"see what lies between: `headwater dvs diff {before.new[:12]} {record.new[:12]}`"
            )
    start = len(repo.path(states.SNAPSHOTS)) + 1
    there = {stat.path[start:].removesuffix(".json") for stat in repo.storage.scan(repo.path(states.SNAPSHOTS))}
    lost = sorted({record.new for record in records} - there)
    if lost:
        shown = ", ".join(state_id[:12] for state_id in lost[:5]) + (", …" if len(lost) > 5 else "")
        message = f"{len(lost):,} states of the log are gone: {shown}"
        yield found(LOST_STATE, place, message, fix="`headwater dvs rollback` goes to the others; git may hold what they said")


def newest_state(repo: DvsRepo, records: Sequence[states.LogRecord]) -> str | None:
    """The state that the last operation led to whose state can be read."""
    return next((record.new for record in reversed(records) if is_readable(repo, record.new)), None)


def is_readable(repo: DvsRepo, state_id: str) -> bool:
    """Whether a state is there, and whole."""
    try:
        repo.snapshot(state_id)
    except HeadwaterError:
        return False
    return True


def _token(repo: DvsRepo) -> Iterator[Finding]:
    folder = repo.folder
    with suppress(OSError, HeadwaterError):
        if folder is not None and repo.local_config.token and (folder / local_config.FILE).stat().st_mode & 0o077:
            path = repo.path(local_config.FILE)
            yield found(TOKEN, path, "others on this machine may read the token", fix=f"chmod 600 {_quoted(path)}")


def _objects(repo: DvsRepo) -> Iterator[Finding]:
    """The objects that neither storage nor cache hold: an error where no remote was proved to either."""
    from resources.dvs.scrub import named_objects
    from resources.remotes.ledger import Ledger

    named = named_objects(repo)
    missing = named.keys() - repo.objects.present(named)
    missing -= repo.cache.present(missing) if missing else set()
    if not missing:
        return
    proofs = Ledger(repo.local / "ledger.db").anywhere(missing)
    lying = _lying(repo, missing)
    for oid, more in _some(sorted(missing - proofs.keys(), key=lambda oid: named[oid])):
        paths = named[oid]
        if more:
            message = f"of {more:,} more objects no place is known either"
        else:
            message = f"no place is known that holds {oid}, the bytes of {', '.join(paths[:3])}{', …' if len(paths) > 3 else ''}"
        fix = (
            "its bytes lie in the working tree: add it again"
            if oid in lying
            else "`headwater dvs pull`, or take them from a backup"
        )
        yield found(MISSING, repo.path(paths[0]), message, fix=fix)
    for oid, more in _some(sorted(missing & proofs.keys(), key=lambda oid: named[oid])):
        message = f"only {proofs[oid][0]} holds {oid}" if not more else f"of {more:,} more objects only remotes hold the bytes"
        yield found(ELSEWHERE, repo.path(named[oid][0]), message, fix="`headwater dvs pull` fetches it")


def _lying(repo: DvsRepo, oids: set[str]) -> set[str]:
    """Those of the oids whose bytes are a tracked file of the working tree now."""
    from resources.dvs.working import scan

    if repo.folder is None:
        return set()
    return {file.actual for file in scan(repo).files if file.actual is not None} & oids


# words


def _some(names: Iterable[str]) -> Iterator[tuple[str, int]]:
    """(name, 0) of the first thousand; (the next, how many there are of these) where there are more."""
    listed = list(names)
    for name in listed[:_MOST]:
        yield name, 0
    if len(listed) > _MOST:
        yield listed[_MOST], len(listed) - _MOST


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)


def _below(root: str, name: str) -> str:
    return f"{root}/{name}" if root and name else name or root
