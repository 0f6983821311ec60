"""What is said of a working tree and of remotes, before Dagster hears of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from assets.dvs.definitions import facts
from assets.dvs.states import look, shown_place, tree_state
from assets.engine.model import Store
from resources.dvs.repo import DvsRepo
from resources.dvs.scrub import scrub
from resources.dvs.status import FileStatus, StatusRow
from resources.remotes.ledger import Ledger
from resources.workspace import open_workspace
from schemas.dvs.manifest import Entry, Manifest, write_manifest
from tests.resources.dvs.test_status import open_repo, track
from tests.resources.dvs.test_status import root as root

ONE, TWO = "blake3:" + "1" * 64, "blake3:" + "2" * 64


@pytest.fixture
def repo(root: Path) -> Iterator[DvsRepo]:
    opened = open_repo(root)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/prefix", "s3://bucket/prefix"),
        ("https://ann:secret@host.example:8443/x/?token=1#y", "https://host.example:8443/x/"),
        ("http://token@host/x", "http://host/x"),
        ("../remote", "../remote"),
        ("/mnt/share", "a folder on this machine"),
        ("~/remote", "a folder on this machine"),
        ("file:///mnt/share", "a folder on this machine"),
        ("C:\\remote", "a folder on this machine"),
        ("\\\\server\\share", "a folder on this machine"),
    ],
)
def test_a_place_is_shown_without_credentials_and_without_folders_of_this_machine(url: str, shown: str) -> None:
    assert shown_place(url) == shown


class TestTree:
    def test_what_needs_attention_comes_first_and_at_most_a_hundred_are_named(self) -> None:
        rows = [StatusRow(f"{number:04}", FileStatus.CURRENT, ONE, 2, True) for number in range(300)]
        rows[250] = StatusRow("0250", FileStatus.UNSYNCED, ONE, 2, True)
        state = tree_state(rows)
        assert (state.files, state.bytes, state.counts) == (300, 600, {"current": 299, "unsynced": 1})
        assert [row.path for row in state.rows[:2]] == ["0250", "0000"]
        assert len(state.rows) == 100
        assert state.unsynced == ["0250"]

    @pytest.mark.parametrize(
        "other",
        [
            StatusRow("b", FileStatus.CURRENT, ONE, 2, True),
            StatusRow("a", FileStatus.ABSENT, ONE, 2, True),
            StatusRow("a", FileStatus.CURRENT, TWO, 2, True),
            StatusRow("a", FileStatus.CURRENT, ONE, 3, True),
            StatusRow("a", FileStatus.CURRENT, ONE, 2, False),
        ],
    )
    def test_the_version_changes_with_every_column(self, other: StatusRow) -> None:
        row = StatusRow("a", FileStatus.CURRENT, ONE, 2, True)
        assert tree_state([row]).version == tree_state([StatusRow("a", FileStatus.CURRENT, ONE, 2, True)]).version
        assert tree_state([row]).version != tree_state([other]).version

    def test_a_name_that_is_not_unicode_has_a_version_too(self) -> None:
        versions = {tree_state([StatusRow(path, FileStatus.ABSENT, ONE, 2, True)]).version for path in ("\udcfe", "\udcff")}
        assert len(versions) == 2


class TestLook:
    def _manifest(self, root: Path, **remotes: str | None) -> dict[str, str]:
        """Track a file for each name, which goes to that remote."""
        oids = {path: track(root, path, path.encode()) for path in remotes}
        entries = {path: Entry(path, oids[path], 1, remote=remotes[path]) for path in remotes}
        (root / "dvs.lock").write_bytes(write_manifest(Manifest(entries)))
        (root / ".dvs").mkdir(exist_ok=True)
        (root / ".dvs/config.toml").write_text('[remotes]\norigin = "/o"\nbig = "/b"\nspare = "https://h/s/"\n')
        return oids

    def test_each_remote_is_measured_by_what_goes_there(self, root: Path, repo: DvsRepo) -> None:
        oids = self._manifest(root, a=None, b="big", c="big")
        ledger = Ledger(repo.local / "ledger.db")
        ledger.prove("id-of-b", "/b", [oids["b"], ONE])
        ledger.prove("id-of-spare", "https://h/s", [oids["a"]])
        states = look(repo)
        told = {one.name: (one.objects, one.proved, [entry.path for entry in one.lacking]) for one in states.remotes}
        # Nothing names `spare`: it is measured by what goes to origin.
        assert told == {"big": (2, 1, ["c"]), "origin": (1, 0, ["a"]), "spare": (1, 1, [])}
        assert states.unproved == {oids["c"]: "c"}
        assert states.elsewhere == {oids["a"], oids["b"]}

    def test_the_version_of_a_remote_follows_what_is_proved_and_what_is_wanted_and_not_when(
        self, root: Path, repo: DvsRepo, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import time

        oids = self._manifest(root, a=None, b=None)
        ledger = Ledger(repo.local / "ledger.db")

        def versions() -> dict[str, str]:
            return {one.name: one.version for one in look(repo).remotes}

        first = versions()
        ledger.prove("id", "/o", [oids["a"]])
        second = versions()
        assert (first["big"], first["spare"]) == (second["big"], second["spare"])
        assert first["origin"] != second["origin"]
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 1000)
        ledger.prove("id", "/o", [oids["a"]])
        assert versions() == second
        ledger.forget("id", [oids["a"]])
        assert versions() == first
        self._manifest(root, a=None, b=None, c=None)
        assert versions()["origin"] != first["origin"]

    def test_objects_are_named_by_manifest_or_sidecar_and_what_was_read_is_known(self, root: Path, repo: DvsRepo) -> None:
        oids = self._manifest(root, a=None)
        alone = track(root, "alone", b"alone")
        assert (look(repo).standing.named, look(repo).standing.never) == (2, 2)
        assert len(list(scrub(repo))) == 2
        states = look(repo)
        assert (states.standing.proved, states.standing.bad) == (2, {})
        assert states.named == {oids["a"]: "a", alone: "alone"}


class TestFacts:
    def test_a_working_tree_elsewhere_is_no_asset(self) -> None:
        workspace = open_workspace("memory://test-dvs-facts")
        workspace.root.write("lab/dvs.toml", b'storage_dir = "s3://bucket/x"\n')
        workspace.root.write("lab/dvs.lock", b'{"version": 1, "base_url": "s3://bucket/remote", "entries": []}\n')
        store = Store("dvs", "lab", "lab")
        assert facts(workspace, store) == {"working_tree": False, "remotes": {"origin": "s3://bucket/remote"}}
        workspace.root.write("lab/dvs.lock", b'{"version": 1, "base_url": "s3://bucket/another", "entries": []}\n')
        assert facts(workspace, store)["remotes"] == {"origin": "s3://bucket/another"}

    def test_a_repository_that_is_gone_or_cannot_be_read_has_no_remotes(self, tmp_path: Path) -> None:
        (tmp_path / "headwater.toml").write_text("version = 1\n")
        workspace = open_workspace(tmp_path)
        nothing = {"working_tree": True, "remotes": {}}
        assert facts(workspace, Store("dvs", "lab", "lab", present=False)) == nothing
        assert facts(workspace, Store("dvs", "lab", "lab")) == nothing
        (tmp_path / "lab").mkdir()
        (tmp_path / "lab/dvs.toml").write_text("storage_dir = 7\n")
        assert facts(workspace, Store("dvs", "lab", "lab")) == nothing
