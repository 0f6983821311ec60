"""Push, pull and sync: a repository's objects against its remotes.

A remote is where `--remote` says, else `[remotes.NAME]` or `base_url` of the clone, else `base_url` of the manifest. What the
manifest names is what is shared; an object that several files have is copied once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.dvs.choose import choose_tracked
from resources.dvs.results import Outcome, Report, Row, not_tracked
from resources.remotes.ledger import Ledger
from resources.storage import is_url
from schemas.dvs import local_config
from schemas.dvs import manifest as manifest_text
from schemas.dvs.manifest import ORIGIN, Entry
from schemas.errors import HeadwaterError
from schemas.oid import bytes_oid

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.packed import PackedObjects
    from resources.remotes.base import Meter, Remote


@dataclass(frozen=True, slots=True)
class RemoteSetting:
    """One remote and who named it: option, clone or manifest."""

    name: str
    url: str
    given_by: str

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "url": self.url, "given_by": self.given_by}


def resolved_remotes(repo: DvsRepo, option: str | None = None) -> list[RemoteSetting]:
    """Every remote that is known, by name, each as the strongest voice says. Raises InvalidText."""
    found: dict[str, RemoteSetting] = {}
    held = repo.local_config
    base = repo.manifest_base_url()
    if base:
        found[ORIGIN] = RemoteSetting(ORIGIN, base, "manifest")
    if held.base_url:
        found[ORIGIN] = RemoteSetting(ORIGIN, held.base_url, "clone")
    for name, url in held.remotes.items():
        found[name] = RemoteSetting(name, url, "clone")
    if option:
        named = found.get(option)
        if named is None and not is_url(option) and not {"/", "\\"}.intersection(option):
            # A slip of the pen must not make a folder of that name and call it a remote.
            known = f"name one of {', '.join(sorted(found))}" if found else "none is set"
            raise _no_remote(option, f"{known}; write ./{option} for a folder")
        found[ORIGIN] = RemoteSetting(ORIGIN, named.url if named is not None else option, "option")
    return [found[name] for name in sorted(found)]


def _remote_of(repo: DvsRepo, name: str, option: str | None) -> RemoteSetting:
    known = {one.name: one for one in resolved_remotes(repo, option)}
    chosen = known.get(ORIGIN if option else name)
    if chosen is None:
        raise _no_remote(name, f"name one with --remote, or keep it with `headwater dvs local-config set remotes.{name} URL`")
    return chosen


def _no_remote(name: str, fix: str) -> HeadwaterError:
    said = f"there is no remote {name!r}" if name != ORIGIN else "no remote is set"
    return HeadwaterError(said, rule="dvs-config-error", fix=fix)


def remote_url(repo: DvsRepo, setting: RemoteSetting) -> str:
    """The URL or path under which the ledger knows the remote of a setting. Opens nothing."""
    if setting.url.startswith(("http://", "https://")):
        return setting.url.rstrip("/")
    return str(_place(repo, setting))


def _place(repo: DvsRepo, setting: RemoteSetting) -> str | Path:
    if is_url(setting.url):
        return setting.url
    path = Path(setting.url).expanduser()
    folder = repo.folder
    if not path.is_absolute() and setting.given_by != "option" and folder is not None:
        path = folder / path
    return path.absolute()


def open_remote(repo: DvsRepo, setting: RemoteSetting) -> Remote:
    """The remote that a setting names. Raises UsageError for a URL that cannot be used."""
    if setting.url.startswith(("http://", "https://")):
        from resources.remotes.credentials import TOKEN, origin_of, token_for
        from resources.remotes.http import HttpRemote

        # The clone's token is for the servers that the clone names: whoever can change the manifest, or any other server that is
        # tried with --remote, would otherwise be sent it.
        held = repo.local_config
        named = {url for url in (held.base_url, *held.remotes.values()) if url and url.startswith(("http://", "https://"))}
        own = {origin_of(url) for url in named}
        token = held.token if origin_of(setting.url) in own else None
        trusted = setting.given_by != "manifest"
        if trusted and setting.url in named and os.environ.get(TOKEN):
            trusted = not _is_committed(repo, local_config.FILE)
        token = token or token_for(setting.url, trusted=trusted)
        return HttpRemote(setting.url, repo.local / "remote", token=token)
    from resources.remotes.store import StoreRemote

    return StoreRemote(_place(repo, setting), repo.local / "remote")


def _is_committed(repo: DvsRepo, path: str) -> bool:
    """Whether git tracks a file that is meant to be this clone's alone: others may have written it then."""
    from resources.dvs.gitignore import GitSide
    from resources.git import GitError

    try:
        return bool(GitSide(repo).tracked([path]))
    except GitError:
        return True


def _chosen(repo: DvsRepo, paths: Sequence[str]) -> tuple[list[Entry], list[Row]]:
    entries = repo.manifest().entries
    if not entries:
        raise HeadwaterError(
            "the manifest dvs.lock names no file", rule="dvs-not-initialized", fix="track files with `headwater dvs add`"
        )
    chosen, nothing = choose_tracked(entries, paths)
    rows = [Row(path, Outcome.ERROR, error=not_tracked(path)) for path in nothing]
    return [entries[path] for path in sorted(chosen)], rows


def _by_remote(repo: DvsRepo, entries: Iterable[Entry], option: str | None) -> list[tuple[RemoteSetting, list[Entry]]]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(ORIGIN if option else entry.remote or ORIGIN, []).append(entry)
    return [(_remote_of(repo, name, option), listed) for name, listed in sorted(groups.items())]


def push(
    repo: DvsRepo,
    paths: Sequence[str] = (),
    *,
    remote: str | None = None,
    recheck: bool = False,
    dry_run: bool = False,
    every_row: bool = True,
    progress: Callable[[str], None] | None = None,
    meter: Meter | None = None,
) -> Report:
    """Bring what the manifest names to its remotes, from the storage or the cache. One row per path.

    What a remote was proved to hold is not asked for again, unless `recheck`. Without `every_row` files of a manifest that is
    known to be there as a whole are only counted, and it need not be read. Raises HeadwaterError (rule `dvs-config-error`) where
    no remote is set.
    """
    digest = _manifest_digest(repo) if not paths and not dry_run else None
    if digest is not None and not every_row and not recheck:
        known = _known_whole(repo, remote, digest)
        if known is not None:
            return known
    entries, rows = _chosen(repo, paths)
    report = Report("push")
    identities: set[str | None] = set()
    for setting, listed in _by_remote(repo, entries, remote):
        opened = open_remote(repo, setting)
        try:
            made, identity = _push_to(repo, opened, listed, recheck=recheck, dry_run=dry_run, progress=progress, meter=meter)
        finally:
            opened.close()
        rows += made
        identities.add(identity)
    report.add(rows)
    holder = identities.pop() if len(identities) == 1 else None
    if digest is not None and holder is not None and not report.failed:
        Ledger(repo.local / "ledger.db").prove_whole(holder, digest, len(entries))
    return report


def _manifest_digest(repo: DvsRepo) -> str | None:
    data = repo.read(manifest_text.FILE)
    return None if data is None else bytes_oid(data)


def _known_whole(repo: DvsRepo, option: str | None, digest: str) -> Report | None:
    """The report of a push with nothing to do, where everything of the manifest was proved to be in the one remote that is meant
    and that still is the same. Asks the remote who it is, nothing else."""
    held = Ledger(repo.local / "ledger.db").whole(digest)
    setting = _without_manifest(repo, option) if held is not None else None
    if held is None or setting is None:
        return None
    opened = open_remote(repo, setting)
    try:
        identity = opened.identity(make=False)
    finally:
        opened.close()
    return Report("push", unlisted=held[1]) if identity == held[0] else None


def _without_manifest(repo: DvsRepo, option: str | None) -> RemoteSetting | None:
    """The remote that is meant where option or clone say so; None where the manifest has to be read to know."""
    held = repo.local_config
    if option:
        url = held.remotes.get(option)
        return RemoteSetting(ORIGIN, url or option, "option") if url or "/" in option else None
    url = held.remotes.get(ORIGIN) or held.base_url
    return RemoteSetting(ORIGIN, url, "clone") if url else None


def _push_to(
    repo: DvsRepo,
    remote: Remote,
    entries: Sequence[Entry],
    *,
    recheck: bool,
    dry_run: bool,
    progress: Callable[[str], None] | None,
    meter: Meter | None,
) -> tuple[list[Row], str | None]:
    """The rows, and the identity of the remote."""
    ledger = Ledger(repo.local / "ledger.db")
    identity = remote.identity(make=not dry_run)
    sizes = {entry.oid: entry.bytes for entry in entries}
    wanted = set(sizes)
    proved = set() if recheck or identity is None else set(ledger.proved(identity, wanted))
    missing = wanted - proved
    errors: dict[str, HeadwaterError] = {}
    arrived: set[str] = set()
    here: set[str] = set()
    sources: dict[str, PackedObjects] = {}

    def done(oid: str, error: HeadwaterError | None) -> None:
        if progress is not None:
            progress(oid)
        if error is None:
            arrived.add(oid)
        else:
            errors[oid] = error

    with _claimed(repo, remote, entries, missing, dry_run=dry_run):
        here = remote.present(missing) if missing else set()
        lacking = missing - here
        sources = _sources(repo, lacking)
        for oid in lacking - sources.keys():
            errors[oid] = HeadwaterError(
                f"neither the storage nor the cache of this clone holds {oid}",
                rule="dvs-storage-missing",
                fix="push it from a clone that has it, or add the file again",
            )
        if sources and not dry_run:
            _watch(remote, meter, [sizes[oid] for oid in sources])
            remote.put(sources, sizes, done)
    if identity is not None and not dry_run and (arrived or here):
        ledger.prove(identity, remote.url, arrived | here)
    moved = set(sources) if dry_run else arrived
    return [_row(entry, moved, errors) for entry in entries], identity


def _claimed(
    repo: DvsRepo, remote: Remote, entries: Sequence[Entry], missing: set[str], *, dry_run: bool
) -> AbstractContextManager[None]:
    """While it is held, nobody collects what is looked for and put there; nothing is said where nothing is going to happen."""
    files = {entry.path: entry.oid for entry in entries if entry.oid in missing}
    if dry_run or not files:
        return nullcontext()
    from resources.dvs.repo import now
    from resources.remotes.base import Claim

    return remote.claimed("push", files, Claim(repo.actor, repo.clone_id(), now()))


def _watch(remote: Remote, meter: Meter | None, sizes: Sequence[int]) -> None:
    if meter is not None:
        meter.expect(len(sizes), sum(sizes))
        remote.moved = meter.moved


def _sources(repo: DvsRepo, oids: set[str]) -> dict[str, PackedObjects]:
    """Which store of this machine holds each object."""
    found: dict[str, PackedObjects] = {}
    for store in (repo.objects, repo.cache):
        rest = oids - found.keys()
        if rest:
            found.update(dict.fromkeys(store.present(rest), store))
    return found


def pull(
    repo: DvsRepo,
    paths: Sequence[str] = (),
    *,
    remote: str | None = None,
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
    meter: Meter | None = None,
) -> Report:
    """Bring what the manifest names into this clone's cache, unless storage or cache hold it already. One row per path."""
    entries, rows = _chosen(repo, paths)
    report = Report("pull")
    present = set(_sources(repo, {entry.oid for entry in entries}))
    lacking = [entry for entry in entries if entry.oid not in present]
    rows += [Row(entry.path, Outcome.PRESENT, entry.oid, entry.bytes) for entry in entries if entry.oid in present]
    for setting, listed in _by_remote(repo, lacking, remote) if lacking else ():
        opened = open_remote(repo, setting)
        try:
            rows += _pull_from(repo, opened, listed, dry_run=dry_run, progress=progress, meter=meter)
        finally:
            opened.close()
    report.add(rows)
    limit = repo.local_config.max_size
    if limit is not None and not dry_run:
        from resources.dvs.cache_limit import enforce

        # What was just asked for stays, even where it is more than the limit: the next pull makes room again.
        report.also["evicted"] = enforce(repo, limit, keep={entry.oid for entry in lacking}, confirm=_holds(repo, remote)).objects
    return report


def _holds(repo: DvsRepo, option: str | None) -> Callable[[str, set[str]], set[str]]:
    """Asks the remote at a URL which objects it holds; one that does not answer, or is not set any more, holds nothing."""

    def ask(url: str, oids: set[str]) -> set[str]:
        for setting in resolved_remotes(repo, option):
            if remote_url(repo, setting) == url:
                try:
                    opened = open_remote(repo, setting)
                    try:
                        return opened.present(oids)
                    finally:
                        opened.close()
                except (HeadwaterError, OSError):
                    return set()
        return set()

    return ask


def _pull_from(
    repo: DvsRepo,
    remote: Remote,
    entries: Sequence[Entry],
    *,
    dry_run: bool,
    progress: Callable[[str], None] | None,
    meter: Meter | None,
) -> list[Row]:
    sizes = {entry.oid: entry.bytes for entry in entries}
    errors: dict[str, HeadwaterError] = {}
    arrived: set[str] = set()
    if dry_run:
        arrived = remote.present(sizes)
        errors = {oid: _absent(oid) for oid in sizes.keys() - arrived}
    else:

        def done(oid: str, error: HeadwaterError | None) -> None:
            if progress is not None:
                progress(oid)
            if error is None:
                arrived.add(oid)
            else:
                errors[oid] = error

        _watch(remote, meter, list(sizes.values()))
        remote.fetch(sizes, sizes, repo.cache, done)
        identity = remote.identity(make=False)
        ledger = Ledger(repo.local / "ledger.db")
        if identity is not None:
            ledger.prove(identity, remote.url, arrived)
            ledger.forget(identity, errors)
    return [_row(entry, arrived, errors) for entry in entries]


def _row(entry: Entry, moved: set[str], errors: Mapping[str, HeadwaterError]) -> Row:
    error = errors.get(entry.oid)
    if error is not None:
        return Row(entry.path, Outcome.ERROR, entry.oid, entry.bytes, error)
    return Row(entry.path, Outcome.COPIED if entry.oid in moved else Outcome.PRESENT, entry.oid, entry.bytes)


def _absent(oid: str) -> HeadwaterError:
    return HeadwaterError(f"the remote does not hold {oid}", rule="dvs-storage-missing", fix="push it from a clone that has it")


def sync(
    repo: DvsRepo,
    *,
    remote: str | None = None,
    dry_run: bool = False,
    progress: Callable[[str], None] | None = None,
    meter: Meter | None = None,
) -> list[Report]:
    """Pull, put into the working tree what is missing there, push. Files with changes are left alone; each step's report."""
    from resources.dvs.restore import Wanted, restore
    from resources.dvs.working import scan

    reports = [pull(repo, remote=remote, dry_run=dry_run, progress=progress, meter=meter)]
    actual = {file.path: file.actual for file in scan(repo).files}
    absent = [
        Wanted(entry.path, entry.oid, entry.bytes) for entry in repo.manifest().entries.values() if actual.get(entry.path) is None
    ]
    reports.append(
        restore(repo, sorted(absent, key=lambda one: one.path), actual, "materialize", dry_run=dry_run, progress=progress)
    )
    reports.append(push(repo, remote=remote, dry_run=dry_run, progress=progress, meter=meter))
    return reports


def proofs(repo: DvsRepo, oids: Iterable[str]) -> dict[str, dict[str, Any]]:
    """oid -> {remote, at, age} of what remotes were last proved to hold, as this machine remembers."""
    now = time.time()
    found = Ledger(repo.local / "ledger.db").anywhere(oids)
    return {oid: {"remote": url, "at": at, "age": age_text(now - at)} for oid, (url, at) in found.items()}


def age_text(seconds: float) -> str:
    """`3 min`, `5 h`, `2 d`."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return "now"
