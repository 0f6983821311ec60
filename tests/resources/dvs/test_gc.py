"""Collecting garbage: what is needed, claimed, young or retained stays; what goes lies in the trash and comes back."""

from __future__ import annotations

import json
import os
import subprocess
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resources.dvs import trash
from resources.dvs.add import add
from resources.dvs.edit import remove
from resources.dvs.gc import Options, Result, carry_out, make_plan, read_plan
from resources.dvs.history import rollback
from resources.dvs.init import init
from resources.dvs.leases import StorageBusy
from resources.dvs.repack import repack
from resources.dvs.repo import DvsRepo
from resources.dvs.restore import get
from resources.dvs.results import Outcome
from resources.dvs.roots import needed
from resources.storage.local import LocalStorage
from schemas.dvs.config import RepoConfig
from schemas.errors import HeadwaterError, UsageError
from schemas.oid import bytes_oid

ALL = Options(expire=0.0, history=False, grace=0.0)
"""Only what the present state names is needed."""
BIG = os.urandom(100_000)

Make = Callable[..., DvsRepo]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A clone by name; all of them share the storage `store`."""
    opened: list[DvsRepo] = []

    def made(name: str = "one", **settings: object) -> DvsRepo:
        storage = LocalStorage(tmp_path / name, state=tmp_path / f"{name}-state")
        if not (tmp_path / name / "dvs.toml").exists():
            init(storage, "", RepoConfig("../store", **settings), tmp_path / f"{name}-local", in_git=False)  # type: ignore[arg-type]
        opened.append(DvsRepo(storage, "", tmp_path / f"{name}-local", actor=name))
        return opened[-1]

    yield made
    for repo in opened:
        repo.close()


def put(repo: DvsRepo, files: dict[str, bytes], message: str = "") -> None:
    assert repo.folder is not None
    for path, data in files.items():
        target = repo.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    assert not add(repo, sorted(files), message=message).failed


def drop(repo: DvsRepo, *paths: str) -> None:
    assert not remove(repo, list(paths), delete=True).failed


def held(repo: DvsRepo) -> set[str]:
    return {oid for oid, _ in repo.objects.list()}


def collect(repo: DvsRepo, options: Options = ALL, **more: object) -> Result:
    return carry_out(repo, options, **more)  # type: ignore[arg-type]  # as carry_out takes them


def test_what_is_tracked_now_stays_and_the_rest_goes_into_the_trash(make: Make) -> None:
    repo = make()
    put(repo, {"big": BIG, "small": b"small", "keep": b"keep"})
    drop(repo, "big", "small")
    result = collect(repo)
    assert {item.oid for item in result.collected} == {bytes_oid(BIG), bytes_oid(b"small")}
    assert held(repo) == {bytes_oid(b"keep")}
    repo.objects.verify(bytes_oid(b"keep"))
    (collected,) = trash.collections(repo)
    # The whole old pack lies there: what is still needed of it lies in a new one as well.
    assert (collected.objects, collected.user) == (3, "one")
    assert collect(repo).collection is None


def test_a_state_of_the_log_keeps_what_it_names_until_it_expires(make: Make) -> None:
    repo = make()
    put(repo, {"a": b"one"})
    put(repo, {"a": b"two"})
    assert make_plan(repo, Options(grace=0.0)).items == []
    assert make_plan(repo, Options(expire=3600.0, grace=0.0)).items == []
    assert [item.oid for item in make_plan(repo, ALL).items] == [bytes_oid(b"one")]
    collect(repo)
    with pytest.raises(HeadwaterError):
        rollback(repo, "1")
    assert trash.restore(repo) == [bytes_oid(b"one")]
    rollback(repo, "1")
    assert repo.folder is not None
    assert (repo.folder / "a").read_bytes() == b"one"


def test_what_git_reaches_is_needed_from_any_branch_and_stash(make: Make, tmp_path: Path) -> None:
    repo = make()

    def git(*words: str) -> None:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *words], cwd=tmp_path / "one", check=True, capture_output=True)

    git("init", "--initial-branch=main")
    put(repo, {"a": b"on main"})
    git("add", "-A")
    git("commit", "-m", "one")
    git("checkout", "-b", "side")
    put(repo, {"a": b"on side"})
    git("commit", "-am", "two")
    put(repo, {"a": b"stashed"})
    git("stash")
    git("checkout", "main")
    drop(repo, "a")
    git("commit", "-am", "three")
    names = {bytes_oid(text) for text in (b"on main", b"on side", b"stashed")}
    assert names <= needed(repo, expire=0.0).keys()
    assert make_plan(repo, Options(expire=0.0, grace=0.0)).items == []
    git("branch", "-D", "side")
    assert make_plan(repo, Options(expire=0.0, grace=0.0)).items == []  # the reflog still has it
    assert {item.oid for item in make_plan(repo, ALL).items} == names


def test_what_another_clone_added_stays_unless_this_one_speaks_for_all(make: Make) -> None:
    one, two = make("one"), make("two")
    put(one, {"a": b"shared", "b": b"own"})
    put(two, {"c": b"shared", "d": b"theirs"})
    drop(one, "a", "b")
    plan = make_plan(one, ALL)
    assert {item.oid for item in plan.items} == {bytes_oid(b"own")}
    assert plan.stays == {"other clones added them": 2}
    collect(one)
    assert held(two) == {bytes_oid(b"shared"), bytes_oid(b"theirs")}
    everything = make_plan(one, Options(expire=0.0, history=False, grace=0.0, all_clones=True))
    assert {item.oid for item in everything.items} == {bytes_oid(b"shared"), bytes_oid(b"theirs")}


def test_objects_that_nobody_claims_stay_unless_asked_for(make: Make) -> None:
    repo = make()
    put(repo, {"a": b"mine"})
    other = repo.objects.put(b"left by a killed add")
    assert make_plan(repo, ALL).stays == {"needed": 1, "nobody claims them": 1}
    unclaimed = Options(expire=0.0, history=False, grace=0.0, unclaimed=True)
    assert [item.oid for item in make_plan(repo, unclaimed).items] == [other]


def test_what_was_put_lately_stays(make: Make) -> None:
    repo = make()
    put(repo, {"big": BIG, "small": b"small"})
    drop(repo, "big", "small")
    lately = Options(expire=0.0, history=False)
    assert make_plan(repo, lately).stays == {"young": 2}
    old = time.time() - 2 * 86_400
    root = repo.objects.storage.local_root
    assert root is not None
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (old, old))
    assert len(make_plan(repo, lately).items) == 2


def test_retention_is_obeyed_by_gc_and_rm(make: Make) -> None:
    repo = make(retain="1d")
    put(repo, {"a": b"one"})
    (row,) = remove(repo, ["a"]).rows
    assert row.outcome is Outcome.ERROR
    assert row.error is not None
    assert row.error.rule == "dvs-retained"
    assert repo.sidecar_file("a") is not None
    put(repo, {"a": b"two"})
    assert make_plan(repo, ALL).stays == {"needed": 1, "retained": 1}
    # As if a day had gone by since the first was added.
    log = repo.objects.storage.local_root
    assert log is not None
    path = log / "audit.log.jsonl"
    path.write_text(path.read_text().replace('"time":"20', '"time":"19'))
    assert [item.oid for item in make_plan(repo, ALL).items] == [bytes_oid(b"one")]
    assert not remove(repo, ["a"]).failed


def test_nobody_collects_while_somebody_puts_and_the_other_way_round(make: Make) -> None:
    one, two = make("one"), make("two")
    put(one, {"a": b"x"})
    with two.lease("add"), pytest.raises(StorageBusy):
        collect(one)
    with one.lease("gc", exclusive=True), pytest.raises(StorageBusy):
        put(two, {"b": b"y"})


def test_a_reviewed_plan_is_carried_out_but_for_what_is_needed_by_then(make: Make) -> None:
    repo = make()
    put(repo, {"a": b"one", "b": b"two", "c": b"three"})
    drop(repo, "a", "b")
    plan = make_plan(repo, ALL)
    assert plan.path is not None
    text = repo.read(plan.path)
    assert text is not None
    options, only = read_plan(repo, text, plan.path)
    assert (options, only) == (ALL, {bytes_oid(b"one"), bytes_oid(b"two")})
    put(repo, {"again": b"one", "d": b"four"})
    drop(repo, "d")
    result = collect(repo, options, only=only)
    assert [item.oid for item in result.collected] == [bytes_oid(b"two")]
    assert result.spared == [bytes_oid(b"one")]
    assert {bytes_oid(b"one"), bytes_oid(b"three"), bytes_oid(b"four")} <= held(repo)


@pytest.mark.parametrize(
    "change",
    [
        {"storage": "/elsewhere"},
        {"format": 2},
        {"collect": [{"oid": "blake3:12"}]},
        {"options": {"wrong": 1}},
        {"collect": None},
    ],
    ids=str,
)
def test_a_plan_that_does_not_fit_is_refused(make: Make, change: dict[str, object]) -> None:
    repo = make()
    plan = make_plan(repo, ALL)
    record = json.loads(repo.read(plan.path or "") or b"")
    with pytest.raises(HeadwaterError) as caught:
        read_plan(repo, json.dumps({**record, **change}).encode(), "p")
    assert caught.value.rule == "dvs-gc-plan"
    with pytest.raises(HeadwaterError):
        read_plan(repo, b"[]", "p")


def test_a_pack_of_which_little_is_garbage_is_left_alone(make: Make) -> None:
    repo = make()
    put(repo, {f"f{number}": b"%d" % number * 100 for number in range(10)})
    drop(repo, "f3")
    plan = make_plan(repo, ALL)
    assert plan.items == []
    assert plan.stays == {"needed": 9, "little of their pack": 1}
    drop(repo, "f4", "f5", "f6")
    assert len(collect(repo).collected) == 4
    assert len(held(repo)) == 6


def test_what_lies_in_the_trash_and_is_needed_again_comes_back_by_itself(make: Make) -> None:
    repo = make()
    put(repo, {"big": BIG, "small": b"small"})
    text = {path: repo.read(path) for path in ("big.dvs", "small.dvs")}
    drop(repo, "big", "small")
    collect(repo)
    assert held(repo) == set()
    for path, data in text.items():  # as git would bring the sidecars back
        repo.storage.write(path, data or b"")
    result = collect(repo)
    assert set(result.brought_back) == {bytes_oid(BIG), bytes_oid(b"small")}
    assert repo.objects.get(bytes_oid(b"small")) == b"small"
    assert repo.objects.get(bytes_oid(BIG)) == BIG


def test_the_trash_is_emptied_when_its_time_has_come_and_spares_what_is_needed(make: Make) -> None:
    repo = make()
    put(repo, {"big": BIG, "a": b"a"})
    sidecar = repo.read("big.dvs") or b""
    drop(repo, "big", "a")
    collect(repo)
    assert collect(repo, keep_trash=3600.0).emptied == []
    repo.storage.write("big.dvs", sidecar)
    _, gone = trash.empty(repo, older_than=0.0, keep=needed(repo, expire=0.0))
    assert gone == [bytes_oid(b"a")]
    assert held(repo) == {bytes_oid(BIG)}
    assert trash.collections(repo) == []
    assert list(repo.objects.storage.scan("trash")) == []


def test_a_damaged_object_of_the_trash_is_never_brought_back(make: Make) -> None:
    repo = make()
    put(repo, {"big": BIG})
    drop(repo, "big")
    name = collect(repo).collection
    root = repo.objects.storage.local_root
    assert root is not None
    (path,) = (path for path in (root / "trash").rglob("*") if path.is_file() and path.name != "plan.json")
    path.chmod(0o644)
    path.write_bytes(BIG[:-1] + b"?")
    with pytest.raises(HeadwaterError):
        trash.restore(repo, name)
    assert held(repo) == set()


def test_nothing_is_collected_when_the_log_cannot_be_read(make: Make) -> None:
    repo = make()
    put(repo, {"a": b"one"})
    put(repo, {"a": b"two"})
    repo.storage.append(".dvs/logs/refs/HEAD", b"not a record\n")
    with pytest.raises(HeadwaterError) as caught:
        collect(repo)
    assert caught.value.rule == "dvs-state-damaged"
    assert len(held(repo)) == 2


def test_a_missing_reason_stops_gc_where_one_is_asked_for(make: Make) -> None:
    repo = make(require_reason=True)
    put(repo, {"a": b"one"}, "because")
    assert not remove(repo, ["a"], message="because").failed
    with pytest.raises(UsageError):
        collect(repo)
    collect(repo, reason="room")
    assert [record.reason for record in repo.audit_log.records()][-1] == "room"
    assert repo.audit_log.verify()[1] == []


# repack


def test_repack_takes_packs_apart_and_gathers_them_again(make: Make) -> None:
    repo = make()
    files = {f"f{number}": b"%d" % number * 50 for number in range(20)} | {"big": BIG}
    for path, data in files.items():
        put(repo, {path: data})
    before = held(repo)
    merged = repack(repo)
    assert (merged.packs_before, merged.packs_after) == (20, 1)
    loose = repack(repo, "loose")
    assert (loose.unpacked, loose.packs_after) == (20, 0)
    assert held(repo) == before
    assert repack(repo).packed == 20
    assert held(repo) == before
    for oid in before:
        repo.objects.verify(oid)
    assert len([oid for oid, _ in repo.objects.list()]) == len(before)


def test_repack_leaves_what_is_damaged_where_it_is(make: Make) -> None:
    repo = make(layout="loose")
    put(repo, {"a": b"whole", "b": b"broken"})
    root = repo.objects.storage.local_root
    assert root is not None
    path = root / repo.objects.files.path(bytes_oid(b"broken"))
    path.chmod(0o644)
    path.write_bytes(b"brokem")
    made = repack(repo, "packed")
    assert (made.packed, len(made.damaged)) == (1, 1)
    assert path.read_bytes() == b"brokem"
    assert repo.objects.get(bytes_oid(b"whole")) == b"whole"


def test_repack_never_lets_a_damaged_copy_take_the_place_of_a_whole_one(make: Make) -> None:
    repo = make()
    put(repo, {"a": b"whole"})
    root = repo.objects.storage.local_root
    assert root is not None
    path = root / repo.objects.files.path(bytes_oid(b"whole"))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"wholf")
    repack(repo, "loose")
    assert repo.objects.get(bytes_oid(b"whole")) == b"whole"
    repack(repo, "packed")
    (pack,) = repo.objects.packs.packs()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"whole")
    with (root / pack.path).open("r+b") as file:
        os.fchmod(file.fileno(), 0o644)
        file.seek(8)
        file.write(b"W")
    repo.close()
    assert len(repack(repo, "packed").damaged) == 1
    assert path.read_bytes() == b"whole"


def _committed(root: Path, repo: DvsRepo) -> None:
    """A repository in git whose first commit alone names `old`, and which no state of the log names any more."""

    def git(*words: str) -> None:
        who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *words], cwd=root, check=True, capture_output=True)

    git("init", "--initial-branch=main")
    for data in (b"old", b"new"):
        put(repo, {"a": data})
        git("add", "-A")
        git("commit", "-m", "more")


HISTORY = Options(expire=0.0, grace=0.0)


def test_nothing_is_collected_when_git_refuses_to_say_what_its_history_names(make: Make, tmp_path: Path) -> None:
    repo = make()
    _committed(tmp_path / "one", repo)
    # As for a checkout of somebody else's, or one with a damaged reference: git ends with 128 and says nothing.
    (tmp_path / "one/.git/config").write_text("[core\n")
    with pytest.raises(HeadwaterError) as caught:
        make_plan(repo, HISTORY)
    assert caught.value.rule == "git-failed"


def test_nothing_is_collected_when_a_version_of_a_sidecar_is_not_in_this_clone_of_git(make: Make, tmp_path: Path) -> None:
    repo = make()
    _committed(tmp_path / "one", repo)
    said = subprocess.run(
        ["git", "rev-parse", "HEAD~1:a.dvs"], cwd=tmp_path / "one", check=True, capture_output=True, text=True
    ).stdout.strip()
    (tmp_path / "one/.git/objects" / said[:2] / said[2:]).unlink()
    with pytest.raises(HeadwaterError) as caught:
        make_plan(repo, HISTORY)
    assert caught.value.rule == "git-incomplete"


def test_nothing_is_collected_when_a_newer_version_wrote_a_manifest_that_git_reaches(make: Make, tmp_path: Path) -> None:
    repo = make()
    _committed(tmp_path / "one", repo)
    lock = tmp_path / "one/dvs.lock"
    mine = lock.read_bytes()
    lock.write_text('{"version": 99, "entries": []}')
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, "commit", "-am", "newer"], cwd=tmp_path / "one", check=True, capture_output=True)
    lock.write_bytes(mine)
    with pytest.raises(HeadwaterError, match="newer"):
        make_plan(repo, HISTORY)


def test_git_without_a_commit_names_nothing(make: Make, tmp_path: Path) -> None:
    repo = make()
    put(repo, {"a": b"old"})
    put(repo, {"a": b"new"})
    subprocess.run(["git", "init"], cwd=tmp_path / "one", check=True, capture_output=True)
    assert [item.oid for item in make_plan(repo, HISTORY).items] == [bytes_oid(b"old")]


@pytest.mark.parametrize("text", [b"<<<<<<< ours\n{}\n", b"", b"\xff"], ids=["conflict", "empty", "no text"])
def test_nothing_is_collected_while_a_sidecar_cannot_be_read(make: Make, text: bytes) -> None:
    repo = make()
    put(repo, {"a": b"one", "b": b"two"})
    assert repo.folder is not None
    (repo.folder / "a.dvs").write_bytes(text)
    with pytest.raises(HeadwaterError) as caught:
        make_plan(repo, ALL)
    assert "a.dvs" in str(caught.value)


def test_both_sidecars_of_a_file_count(make: Make) -> None:
    repo = make()
    put(repo, {"a": b"one"})
    assert repo.folder is not None
    other = bytes_oid(b"said by the other one")
    (repo.folder / "a.dvs.toml").write_text(
        f'blake3_checksum = "{other.partition(":")[2]}"\nhash_algo = "blake3"\nsize = 3\n'
        'add_time = "2026-01-01T00:00:00Z"\nmessage = ""\nsaved_by = "x"\n'
    )
    (repo.folder / "dvs.lock").unlink()
    wanted = needed(repo, history=False)
    assert wanted[other] == "working tree: a"
    assert wanted[bytes_oid(b"one")] == "working tree: a"


# a storage that is no folder


def test_a_storage_on_s3_is_collected_restored_and_repacked_like_a_folder(tmp_path: Path, s3_url: str) -> None:
    storage = LocalStorage(tmp_path / "one", state=tmp_path / "state")
    init(storage, "", RepoConfig(f"{s3_url}/storage"), tmp_path / "local", in_git=False)
    repo = DvsRepo(storage, "", tmp_path / "local", actor="one")
    try:
        put(repo, {"big": BIG, "small": b"small", "keep": b"keep", "keep-too": BIG[::-1]})
        drop(repo, "big", "small")
        kept = {bytes_oid(b"keep"), bytes_oid(BIG[::-1])}
        # Whole seconds of the store's own clock: what was put now may seem to be put later.
        time.sleep(1.1)
        result = collect(repo)
        assert {item.oid for item in result.collected} == {bytes_oid(BIG), bytes_oid(b"small")}
        assert held(repo) == kept
        assert [one.objects for one in trash.collections(repo)] == [3]
        assert set(trash.restore(repo)) == {bytes_oid(BIG), bytes_oid(b"small")}
        for oid in (*kept, bytes_oid(BIG), bytes_oid(b"small")):
            repo.objects.verify(oid)
        assert repack(repo, "loose").unpacked >= 2
        assert repack(repo, "packed").packed == 2
        assert collect(repo, keep_trash=0.0).emptied
        repo.close()
        assert held(repo) == kept
        assert repo.audit_log.verify()[1] == []
    finally:
        repo.close()


def test_repack_needs_little_memory_for_a_large_object_that_is_stored_small(make: Make) -> None:
    repo = make(layout="loose", compression="zstd")
    put(repo, {"zeros": bytes(48 << 20), "a": b"small" * 10})
    oid = bytes_oid(bytes(48 << 20))
    located = repo.objects.file_of(oid)
    assert located is not None
    assert located.stored < 64 << 10
    tracemalloc.start()
    try:
        made = repack(repo, "packed")
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20
    assert (made.packed, made.damaged) == (1, ())
    assert repo.objects.file_of(oid) == located
    repo.objects.verify(oid)


def test_rescued_bytes_stay_although_no_text_names_them(make: Make) -> None:
    repo = make()
    put(repo, {"a": b"saved"})
    assert repo.folder is not None
    (repo.folder / "a").write_bytes(b"never added")
    assert not get(repo, [], rescue=True).failed
    assert (repo.folder / "a").read_bytes() == b"saved"
    rescued = bytes_oid(b"never added")
    assert needed(repo, history=False)[rescued] == "rescued: a"
    assert make_plan(repo, Options(grace=0.0)).items == []
    # As with the states of the log, `expire` says when they count no more.
    assert needed(repo, expire=3600.0, history=False)[rescued] == "rescued: a"
    time.sleep(1.1)
    assert rescued not in needed(repo, expire=0.0, history=False)
    assert [item.oid for item in make_plan(repo, ALL).items] == [rescued]


def test_what_a_damaged_line_of_the_audit_log_names_may_be_somebody_elses(make: Make) -> None:
    one, two = make("one"), make("two")
    for repo in (one, two):
        put(repo, {"a": b"both"})
    drop(one, "a")
    log = one.objects.storage.local_root
    assert log is not None
    path = log / "audit.log.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert b'"user":"two"' in lines[1]
    # Two machines that append at once on a network share: the end of the one lies over the beginning of the other.
    path.write_bytes(b"".join([lines[0], lines[1][40:], *lines[2:]]))
    plan = make_plan(one, ALL)
    assert plan.items == []
    assert plan.stays["other clones added them"] == 1


def test_what_another_repository_pushed_here_is_its_own_too(make: Make, tmp_path: Path) -> None:
    from resources.dvs.sync import push

    one = make("one")
    put(one, {"a": b"shared", "b": b"own"})
    other = LocalStorage(tmp_path / "apart", state=tmp_path / "apart-state")
    init(other, "", RepoConfig("../store-apart"), tmp_path / "apart-local", in_git=False)
    two = DvsRepo(other, "", tmp_path / "apart-local", actor="two")
    try:
        put(two, {"x": b"shared", "y": b"theirs"})
        assert not push(two, remote=str(tmp_path / "store")).failed
        drop(one, "a", "b")
        assert {item.oid for item in make_plan(one, ALL).items} == {bytes_oid(b"own")}
        with one.lease("gc", exclusive=True):
            put(two, {"z": b"more"})
            with pytest.raises(StorageBusy):
                push(two, remote=str(tmp_path / "store"))
    finally:
        two.close()


def test_a_copied_clone_is_another_one(make: Make, tmp_path: Path) -> None:
    import shutil

    one = make("one")
    put(one, {"a": b"one"})
    name = one.clone_id()
    assert one.clone_id() == name
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    copy = DvsRepo(LocalStorage(tmp_path / "copy", state=tmp_path / "copy-state"), "", tmp_path / "copy-local", actor="c")
    try:
        assert copy.clone_id() not in ("", name)
        assert copy.clone_id() == copy.clone_id()
        (tmp_path / "one").rename(tmp_path / "moved")
        moved = DvsRepo(LocalStorage(tmp_path / "moved", state=tmp_path / "one-state"), "", tmp_path / "one-local", actor="m")
        assert moved.clone_id() == name
        moved.close()
    finally:
        copy.close()


def test_nothing_is_collected_when_a_state_of_the_log_is_gone(make: Make) -> None:
    repo = make()
    put(repo, {"a": b"one"})
    put(repo, {"a": b"two"})
    state = repo.log()[0][0].new
    repo.storage.delete(f".dvs/state/snapshots/{state}.json")
    with pytest.raises(HeadwaterError) as caught:
        collect(repo, Options(grace=0.0))
    assert caught.value.rule == "dvs-state-damaged"
