"""Merging any two repositories does what the words say, for every policy and prefix."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from resources.dvs.add import add
from resources.dvs.incoming import OnConflict
from resources.dvs.init import init
from resources.dvs.merge_repo import merge_repo
from resources.dvs.repo import DvsRepo
from resources.dvs.snapshots import tracked_now
from resources.storage.local import LocalStorage
from schemas.dvs.config import RepoConfig
from schemas.oid import bytes_oid

PATHS = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/f", "a.csv", "ü x"])
BYTES = st.sampled_from([b"", b"one", b"two", b"x" * 70_000])
FILES = st.dictionaries(PATHS, BYTES, max_size=5)


def made(folder: Path, name: str, files: dict[str, bytes], config: RepoConfig) -> DvsRepo:
    storage = LocalStorage(folder / name, state=folder / f"{name}-state")
    (folder / name).mkdir()
    init(storage, "", config, folder / f"{name}-local", in_git=False)
    repo = DvsRepo(storage, "", folder / f"{name}-local", actor=name)
    for path, data in files.items():
        (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / path).write_bytes(data)
    if files:
        add(repo, [""])
    return repo


def tracked(repo: DvsRepo) -> dict[str, str]:
    return {file.path: file.sidecar.oid for file in tracked_now(repo)}


@given(FILES, FILES, st.sampled_from(OnConflict), st.sampled_from(["", "d", "new/deep"]), st.booleans())
@settings(max_examples=50, deadline=None)
def test_any_two_repositories(
    ours: dict[str, bytes], theirs: dict[str, bytes], conflict: OnConflict, prefix: str, toml: bool
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        repo = made(folder, "ours", ours, RepoConfig("../store", layout="loose"))
        source = made(folder, "theirs", theirs, RepoConfig("../other", metadata_format="toml" if toml else "json"))
        before, arriving = tracked(repo), {(f"{prefix}/" if prefix else "") + path: oid for path, oid in tracked(source).items()}
        report = merge_repo(repo, source, prefix=prefix, conflict=conflict)
        blocked = {
            path
            for path in arriving
            if any(
                path.startswith(f"{other}/") or other.startswith(f"{path}/") for other in (*before, *arriving) if other != path
            )
        }
        differing = {path for path in arriving if path in before and before[path] != arriving[path]} - blocked
        expected = dict(before)
        if not blocked and not (differing and conflict is OnConflict.ABORT):
            taken = arriving.keys() - (differing if conflict is OnConflict.SKIP else set())
            expected |= {path: arriving[path] for path in taken}
        assert tracked(repo) == expected
        assert {path: entry.oid for path, entry in repo.manifest().entries.items()} == expected
        assert report.failed == bool(blocked or (differing and conflict is OnConflict.ABORT))
        for oid in expected.values():
            repo.objects.verify(oid)
        assert {path: (folder / "ours" / path).read_bytes() for path in ours} == ours
        assert tracked(source) == {path: bytes_oid(data) for path, data in theirs.items()}
        repo.close()
        source.close()
