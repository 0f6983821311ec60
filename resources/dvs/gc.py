"""Collecting garbage: objects of the storage that nobody needs go into the trash, and from there, later, away.

A plan comes first: a file that names every object that would go, and counts what stays and why. It is carried out under an
exclusive lease, after everything was looked at again. What is collected must be named by nothing of this repository (working
tree, manifest, states, git history), must have been added by this clone and no other, must be older than the grace time and
past its retention. Members of packs go by writing the other members into new packs; the old pack goes into the trash whole.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from resources.dvs import trash
from resources.dvs.roots import Claims, claims, needed, retained_until
from resources.packs import Pack
from schemas.errors import HeadwaterError
from schemas.oid import parse_oid

if TYPE_CHECKING:
    from resources.dvs.repo import DvsRepo
    from resources.packed import PackedObjects

PLANS: Final = ".dvs/state/gc"
GRACE: Final = 86_400.0
"""Seconds for which whatever was put stays: somebody who takes no leases may be about to name it."""
CLOCKS_DIFFER: Final = 300.0
"""Seconds by which the clocks of machines may differ."""
KEEP_TRASH: Final = 7 * 86_400.0
WASTE: Final = 0.25
"""A pack is rewritten when so much of it is garbage."""
_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Options:
    """What may be collected. `expire` are seconds after which states of the log count no more (None: never)."""

    expire: float | None = None
    history: bool = True
    """Whether what git history names is needed."""
    all_clones: bool = False
    """Whether this repository speaks for everybody who ever added: what only others added may go too."""
    unclaimed: bool = False
    """Whether objects that no line of the audit log names may go: those of tools that keep none, or of an add that was killed."""
    grace: float = GRACE

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Item:
    """One object that would go: its stored bytes, and the file or pack it lies in."""

    oid: str
    bytes: int
    path: str


@dataclass(slots=True)
class Plan:
    """What would go, sorted by oid, and how many objects stay for which reason."""

    options: Options
    storage: str
    created: str
    items: list[Item] = field(default_factory=list)
    stays: Counter[str] = field(default_factory=Counter)
    bytes_staying: int = 0
    path: str | None = None
    """Where the plan was written."""

    @property
    def bytes(self) -> int:
        return sum(item.bytes for item in self.items)

    def summary(self) -> dict[str, Any]:
        return {
            "collect": len(self.items),
            "bytes": self.bytes,
            "stay": dict(sorted(self.stays.items())),
            "bytes_staying": self.bytes_staying,
            "plan": self.path,
        }


@dataclass(slots=True)
class Result:
    """What was done: the collection in the trash (None when nothing was left to collect), its objects, what left the trash."""

    collection: str | None
    collected: list[Item]
    spared: list[str]
    """Objects of the plan that are needed by now."""
    emptied: list[str]
    """Oids that were deleted for good."""
    brought_back: list[str]
    """Oids that lay in the trash and are needed."""


def make_plan(repo: DvsRepo, options: Options, *, write: bool = True) -> Plan:
    """Look at everything and say what may go; with `write` the plan is kept in the clone. Raises HeadwaterError where what is
    needed cannot be known."""
    from resources.dvs.repo import now

    plan = Plan(options, str(repo.storage_url), now())
    claimed = claims(repo)
    _check_clock(max(claimed.first.values(), default=""))
    wanted = needed(repo, expire=options.expire, history=options.history)
    _sort_out(repo, plan, wanted, claimed)
    plan.items.sort(key=lambda item: (item.oid, item.path))
    if write:
        name = plan.created.replace("-", "").replace(":", "")
        plan.path = f"{PLANS}/{name}.json"
        repo.storage.write(repo.path(plan.path), _plan_text(plan, wanted_count=len(wanted)))
    return plan


def _check_clock(newest: str) -> None:
    """Ages cannot be told when somebody added at a time that has not come yet: this clock is behind, or theirs ahead."""
    limit = datetime.fromtimestamp(time.time() + CLOCKS_DIFFER, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if newest > limit:
        raise HeadwaterError(
            f"something was added at {newest}, which has not come yet: the clocks of the machines differ",
            rule="dvs-clock",
            fix="set the clocks right; nothing is collected until that time has come",
        )


def _plan_text(plan: Plan, *, wanted_count: int) -> bytes:
    head = {
        "format": _FORMAT,
        "created": plan.created,
        "storage": plan.storage,
        "options": plan.options.to_json(),
        "needed": wanted_count,
        "stay": dict(sorted(plan.stays.items())),
        "bytes": plan.bytes,
    }
    lines = ",\n".join(
        "    " + json.dumps({"oid": item.oid, "bytes": item.bytes, "path": item.path}, ensure_ascii=False) for item in plan.items
    )
    text = json.dumps(head, indent=2, ensure_ascii=False)[:-2]
    return f'{text},\n  "collect": [{chr(10) + lines + chr(10) + "  " if lines else ""}]\n}}\n'.encode()


def read_plan(repo: DvsRepo, data: bytes, path: str) -> tuple[Options, set[str]]:
    """The options and the oids of a plan that was written here. Raises HeadwaterError (rule `dvs-gc-plan`)."""
    try:
        record = json.loads(data)
        if record["format"] != _FORMAT:
            raise ValueError("another version wrote it")
        if record["storage"] != str(repo.storage_url):
            raise ValueError(f"it is for the storage {record['storage']}")
        options = Options(**record["options"])
        oids = {str(item["oid"]) for item in record["collect"]}
        for oid in oids:
            parse_oid(oid)
        return options, oids
    except (ValueError, KeyError, TypeError, AttributeError, HeadwaterError) as error:
        raise HeadwaterError(
            f"this is no plan that can be carried out: {error}",
            rule="dvs-gc-plan",
            path=path,
            fix="make a new one with `headwater dvs gc --dry-run`",
        ) from error


def _sort_out(repo: DvsRepo, plan: Plan, wanted: Mapping[str, str], claimed: Claims) -> None:
    """Fill the plan: what may go and what stays why."""
    store = repo.objects
    clone = repo.clone_id()
    oldest = (time.time() - plan.options.grace) * 1e9
    retain = repo.config.retain_seconds

    def why_stays(oid: str) -> str | None:
        if oid in wanted:
            return "needed"
        if retained_until(claimed.first, oid, retain) is not None:
            return "retained"
        clones = claimed.clones.get(oid)
        if clones is None:
            return None if plan.options.unclaimed else "nobody claims them"
        if not plan.options.all_clones and clones - {clone}:
            return "other clones added them"
        return None

    def keep(oid: str, size: int, reason: str | None) -> bool:
        if reason is None:
            return False
        plan.stays[reason] += 1
        plan.bytes_staying += size
        return True

    for pack in store.packs.packs(again=True):
        young = (store.storage.modified(pack.path) or 0) > oldest
        for member in pack:
            if not keep(member.oid, member.stored, why_stays(member.oid) or ("young" if young else None)):
                plan.items.append(Item(member.oid, member.stored, pack.path))
    _leave_little_waste(plan, store)
    for oid, size in store.files_only():
        reason = why_stays(oid)
        located = store.file_of(oid) if reason is None else None
        if located is not None and (store.storage.modified(located.path) or 0) > oldest:
            reason = "young"
        if not keep(oid, size, reason) and located is not None:
            plan.items.append(Item(oid, size, located.path))


def _leave_little_waste(plan: Plan, store: PackedObjects) -> None:
    """Packs of which only little is garbage stay as they are: rewriting them would cost more than it frees."""
    dead: Counter[str] = Counter()
    for item in plan.items:
        dead[item.path] += item.bytes
    stay = {pack.path for pack in store.packs.packs() if pack.path in dead and dead[pack.path] < WASTE * pack.stored_bytes}
    for item in plan.items:
        if item.path in stay:
            plan.stays["little of their pack"] += 1
            plan.bytes_staying += item.bytes
    plan.items = [item for item in plan.items if item.path not in stay]


def carry_out(
    repo: DvsRepo,
    options: Options,
    *,
    only: set[str] | None = None,
    keep_trash: float = KEEP_TRASH,
    reason: str = "",
    progress: Callable[[str], None] | None = None,
) -> Result:
    """Put into the trash what may go, of `only` where a plan was reviewed, and delete what lay there longer than `keep_trash`.

    Everything is looked at anew under an exclusive lease. Killed at any moment every object lies in the storage or in the trash,
    and everything that is needed in the storage; the next collection goes on. Raises StorageBusy, AuditFailed.
    """
    repo.require_reason(reason)
    with repo.lease("gc", exclusive=True):
        plan = make_plan(repo, options, write=False)
        spared = sorted(only - {item.oid for item in plan.items}) if only is not None else []
        chosen = [item for item in plan.items if only is None or item.oid in only]
        wanted = needed(repo, expire=options.expire, history=options.history)
        back = trash.restore_held(repo, trash.names(repo.objects.storage), wanted, "needed again")
        name = _collect(repo, chosen, reason, progress) if chosen else None
        _, gone = trash.empty_held(repo, keep_trash, wanted, reason or "kept long enough")
        repo.objects.packs.packs(again=True)
    return Result(name, chosen, spared, gone, back)


def _collect(repo: DvsRepo, items: list[Item], reason: str, progress: Callable[[str], None] | None) -> str:
    from resources.dvs.repo import now

    store, name = repo.objects, trash.new_name()
    # Said before it is done: an object that the log calls collected and that is still there is collected the next time.
    repo.audit("gc", {f"trash/{name}/{item.oid}": item.oid for item in items}, reason)
    record = {"user": repo.actor, "reason": reason, "time": now(), "oids": [item.oid for item in items]}
    store.storage.write(trash.path_in(name, trash.PLAN), json.dumps(record, ensure_ascii=False).encode() + b"\n")
    dead = {(item.path, item.oid) for item in items}
    packs = {pack.path: pack for pack in store.packs.packs()}
    for path in sorted({item.path for item in items} & packs.keys()):
        _without(store, packs[path], name, {oid for where, oid in dead if where == path})
    for item in items:
        if progress is not None:
            progress(item.oid)
        if item.path not in packs:
            store.storage.move(item.path, trash.path_in(name, item.path))
    return name


def _without(store: PackedObjects, pack: Pack, name: str, dead: set[str]) -> None:
    """Write what is left of a pack into a new one, then put the old one into the trash."""
    with store.batch() as batch:
        for member in pack:
            if member.oid not in dead:
                batch.put_stored(member.oid, pack.stored(member), member.size, member.encoding)
        new = batch.flush()
    if pack.path not in new:
        store.storage.move(pack.path, trash.path_in(name, pack.path))
