"""Tracking what lies at a URL, in a bucket, or at a path outside of the repository, with where it came from.

The bytes go into the storage; the sidecar says the URL and the server's ETag, so that an unchanged file is not fetched again. The
working file follows, but never over bytes that no store holds. From a bucket or a path whole folders come too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from resources.dvs.add import local_root
from resources.dvs.carry import scratch_file
from resources.dvs.fetching import Limits, fetch, shown_url
from resources.dvs.foreign import Both
from resources.dvs.incoming import Arrival, OnConflict, Plan, needs_writing, plan, told, write
from resources.dvs.results import Outcome, Report, Row
from resources.dvs.url_files import Wanted, shown, too_large
from resources.dvs.url_files import listed as list_files
from resources.packed import SMALL
from schemas.document import Value
from schemas.dvs.oids import oid_of_stream, read_oid
from schemas.dvs.sidecar import Sidecar, SidecarFormat
from schemas.dvs.state import TrackedFile
from schemas.errors import HeadwaterError, UsageError
from schemas.paths import check_path

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo, SidecarFile
    from resources.packed import Batch

SOURCE: Final = "source"
"""The key of a sidecar that says where its file came from: `url`, `etag` and `modified` where the server gives them, and the
`oid` of what came, which is another one's once the file was changed here."""
_BLOCK: Final = 1 << 20
_MD5_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class Got:
    """What came: None for `oid` where the server says that nothing has changed."""

    oid: str | None
    size: int | None
    source: Mapping[str, Value] = field(default_factory=dict)


def import_url(
    repo: DvsRepo,
    url: str,
    path: str,
    *,
    expect: str | None = None,
    limits: Limits | None = None,
    keep_query: bool = False,
    conflict: OnConflict = OnConflict.ABORT,
    give_files: bool = True,
    rescue: bool = False,
    message: str = "",
    dry_run: bool = False,
    watch: Callable[[str, int, int | None], object] = lambda _path, _got, _size: None,
) -> Report:
    """Track the file at `url` (https, s3 or a path) as `path`, or the files below a folder of a bucket or of this machine.

    `expect` is the digest that one file must have, `algorithm:hex` with blake3, sha256, xxh3 or md5. A file that came from the
    same URL before is brought up to date; any other that is tracked at the path with other bytes is a clash. The sidecar says the
    URL without its query, which may hold a key, unless `keep_query`. With `give_files` the working files are written too;
    `rescue` puts unsaved bytes that lie there into the storage first. `watch(path, bytes so far, of how many)` sees them come.
    Raises UsageError, FetchFailed, HeadwaterError (rule `dvs-hash-mismatch`).
    """
    root = local_root(repo)
    if "://" not in url and Path(url).expanduser().resolve().is_relative_to(root.resolve()):
        raise UsageError("the file lies in this repository", rule="usage", fix="track it with `headwater dvs add`")
    wanted_digest = _digest(expect)
    bring = _Bring(repo, limits or Limits(), wanted_digest, message or f"imported from {shown(url)}", keep_query, watch)
    listed = list(list_files(url, check_path(path, portable=False), bring.limits, repo))
    if wanted_digest is not None and (len(listed) != 1 or listed[0].path != path):
        raise UsageError(
            "one digest cannot be that of a folder's files", rule="usage", fix="leave --expect away, or name one file"
        )
    report = Report("import")
    if dry_run:
        bring.look(listed)
        report.add(bring.rows)
        return report
    with repo.lease("import"):
        arrivals = bring.take(listed)
        made = plan(repo, arrivals, conflict=conflict, may_replace=_same_source)
        _renewed(repo, made)
        actual = bring.unsaved(made, rescue=rescue) if give_files else {}
        report.add(bring.rows)
        if made.clashes or any(row.outcome is Outcome.ERROR for row in made.rows):
            return told(report, made)
        if needs_writing(repo, made):
            report.state = write(repo, made, operation="import", message=bring.message)
    if give_files:
        return _give(repo, told(report, made), made, actual, rescue)
    return told(report, made)


# bringing it


class _Bring:
    def __init__(
        self,
        repo: DvsRepo,
        limits: Limits,
        expect: tuple[str, str] | None,
        message: str,
        keep_query: bool,
        watch: Callable[[str, int, int | None], object],
    ) -> None:
        self.repo = repo
        self.limits = limits
        self.expect = expect
        self.message = message
        self.keep_query = keep_query
        self.watch = watch
        self.rows: list[Row] = []

    def look(self, listed: list[Wanted]) -> None:
        """Say what would come, from what the server says of it."""
        for one in listed:
            held = self._held(one)
            size = one.size
            if one.open is None:
                with scratch_file(self.repo) as local, local.open("xb") as file:
                    answer = fetch(str(one.url), file, self.limits, known=self._known(one, held), head_only=True)
                unchanged, size = answer.unchanged, answer.size
            else:
                unchanged = held is not None and one.version is not None and one.version == self._known(one, held)
            oid = held.sidecar.oid if unchanged and held is not None else None
            self.rows.append(Row(one.path, Outcome.PRESENT if unchanged else Outcome.COPIED, oid, size))

    def take(self, listed: list[Wanted]) -> list[Arrival]:
        """Put the bytes of every file into the storage."""
        from resources.dvs.repo import now

        spelling = SidecarFormat(self.repo.config.metadata_format)
        arrivals = []
        with self.repo.objects.batch() as batch:
            for one in listed:
                self.watch(one.path, 0, one.size)
                held = self._held(one)
                got = self._one(one, self._known(one, held), batch)
                if got.oid is None:
                    assert held is not None  # only what is known can be unchanged
                    arrivals.append(Arrival(TrackedFile(one.path, held.sidecar, held.spelling)))
                    continue
                extra: dict[str, Value] = dict(held.sidecar.extra) if held is not None else {}
                extra.pop(SOURCE, None)
                if got.source:
                    extra[SOURCE] = dict(got.source)
                sidecar = Sidecar(got.oid, got.size or 0, now(), self.message, self.repo.actor, extra=extra)
                arrivals.append(Arrival(TrackedFile(one.path, sidecar, held.spelling if held is not None else spelling)))
        return arrivals

    def _held(self, one: Wanted) -> SidecarFile | None:
        return self.repo.sidecar_file(one.path)

    def _recorded(self, one: Wanted) -> str | None:
        if one.url is None:
            return None
        return one.url if self.keep_query else shown_url(one.url)

    def _known(self, one: Wanted, held: SidecarFile | None) -> str | None:
        """The ETag of the file that is here, when it came from there and the storage has it still."""
        if held is None or one.url is None or self.expect is not None:
            return None
        source = _source(held)
        if source.get("url") != one.url:
            return None  # that of a URL whose query is not recorded may be another file's
        etag = source.get("etag")
        return etag if isinstance(etag, str) and self.repo.objects.has(held.sidecar.oid) else None

    def _one(self, one: Wanted, known: str | None, batch: Batch) -> Got:
        source: dict[str, Value] = {}
        url = self._recorded(one)
        if url is not None:
            source["url"] = url
        if one.local is not None and self.expect is None and (one.size or 0) >= SMALL:
            oid = batch.put(one.local, algorithm=self.repo.config.hash_algo)
            return Got(oid, one.size)
        if one.open is not None:
            if one.version is not None and one.version == known:
                return Got(None, None)
            with one.open() as stream, self._scratch() as (file, hashing):
                while block := stream.read(_BLOCK):
                    if file.tell() + len(block) > self.limits.max_bytes:
                        raise too_large(one.path, self.limits)
                    hashing.made.update(block)
                    file.write(block)
                    self.watch(one.path, file.tell(), one.size)
                if one.version is not None:
                    source["etag"] = one.version
                return self._put(one, file, hashing, source, batch)
        with self._scratch() as (file, hashing):
            answer = fetch(
                str(one.url),
                file,
                self.limits,
                see=hashing.see,
                watch=partial(self.watch, one.path),
                again=hashing.again,
                known=known,
            )
            if answer.unchanged:
                return Got(None, None)
            if answer.etag is not None:
                source["etag"] = answer.etag
            if answer.modified is not None:
                source["modified"] = answer.modified
            return self._put(one, file, hashing, source, batch)

    @contextmanager
    def _scratch(self) -> Iterator[tuple[BinaryIO, _Hashing]]:
        algorithm = self.repo.config.hash_algo
        with scratch_file(self.repo) as local, local.open("x+b") as file:
            yield file, _Hashing(algorithm, self.expect[0] if self.expect is not None else algorithm)

    def _put(self, one: Wanted, file: BinaryIO, hashing: _Hashing, source: Mapping[str, Value], batch: Batch) -> Got:
        file.flush()
        size = file.tell()
        if self.expect is not None and hashing.made.foreign != self.expect[1]:
            raise HeadwaterError(
                f"the bytes are not those of {':'.join(self.expect)}: they are {self.expect[0]}:{hashing.made.foreign}",
                rule="dvs-hash-mismatch",
                path=one.path,
                fix="do not use the file before you know why; correct --expect if it was wrong",
            )
        oid = hashing.made.oid
        if size < SMALL:
            file.seek(0)
            batch.put(file.read(), oid=oid)
        else:
            batch.put(Path(file.name), oid=oid)
        return Got(oid, size, {**source, "oid": oid} if source else {})

    def unsaved(self, made: Plan, *, rescue: bool) -> dict[str, str | None]:
        """The oids of working files that lie where new bytes arrive; one whose bytes no store holds becomes a clash."""
        root = local_root(self.repo)
        actual: dict[str, str | None] = {}
        for arrival in made.fresh:
            try:
                with (root / arrival.path).open("rb") as file:
                    actual[arrival.path] = oid_of_stream(file, arrival.oid.partition(":")[0])[0]
            except OSError:
                continue
        wanted = {arrival.path: arrival.oid for arrival in made.fresh}
        differing = {path: oid for path, oid in actual.items() if oid is not None and oid != wanted[path]}
        saved = self.repo.objects.present(differing.values()) | self.repo.cache.present(differing.values())
        for path, oid in differing.items():
            if oid not in saved and not rescue:
                made.rows.append(Row(path, Outcome.ERROR, oid, error=_unsaved(path)))
                made.clashes += 1
        return actual


class _Hashing:
    """Our hash and the expected one of what is being fetched, which may start anew."""

    def __init__(self, ours: str, expected: str) -> None:
        self._names = (ours, expected)
        self.made = Both(ours, expected)

    def see(self, block: bytes) -> None:
        self.made.update(block)

    def again(self) -> None:
        self.made = Both(*self._names)


def _give(repo: DvsRepo, report: Report, made: Plan, actual: Mapping[str, str | None], rescue: bool) -> Report:
    """Write the working files, but for those that were tracked and lie there; what keeps one from being written is its row."""
    from resources.dvs import restore

    root = local_root(repo)
    missing = [one for one in made.present if not os.path.lexists(root / one.path)]
    wanted = [restore.Wanted(one.path, one.oid, one.size) for one in (*made.fresh, *missing)]
    given = restore.restore(repo, wanted, actual, "get", rescue=rescue)
    errors = {row.path: row for row in given.rows if row.error is not None}
    report.rows = [errors.get(row.path, row) for row in report.rows]
    return report


def _renewed(repo: DvsRepo, made: Plan) -> None:
    """Files with the same bytes and another ETag are written again, so that the next time nothing is fetched."""
    for one in list(made.present):
        held = repo.sidecar_file(one.path)
        if held is not None and one.file.sidecar.extra.get(SOURCE) not in (None, held.sidecar.extra.get(SOURCE)):
            made.present.remove(one)
            made.fresh.append(one)
            made.old[one.path] = held


def _same_source(old: SidecarFile, new: Arrival) -> bool:
    """Whether both came from one URL, and the old one was not changed here since."""
    after = new.file.sidecar.extra.get(SOURCE)
    return isinstance(after, dict) and "url" in after and _source(old).get("url") == after["url"]


def _source(held: SidecarFile) -> Mapping[str, Value]:
    """Where the bytes that the sidecar records came from; nothing when they were changed here."""
    source = held.sidecar.extra.get(SOURCE)
    return source if isinstance(source, dict) and source.get("oid") == held.sidecar.oid else {}


def _digest(expect: str | None) -> tuple[str, str] | None:
    """(algorithm, digits) of a digest as people type it. Raises HeadwaterError (rule `oid-malformed`)."""
    if expect is None:
        return None
    algorithm, _, digits = expect.strip().lower().partition(":")
    if algorithm == "md5" and len(digits) == _MD5_LENGTH and not digits.strip("0123456789abcdef"):
        return algorithm, digits
    algorithm, _, digits = read_oid(expect).partition(":")
    return algorithm, digits


def _unsaved(path: str) -> HeadwaterError:
    return HeadwaterError(
        "conflict: the file that lies there holds bytes that no store has; they would be lost",
        rule="dvs-unsaved",
        path=path,
        fix="keep them with --rescue, or name another path, or track the new bytes alone with --no-file",
    )
