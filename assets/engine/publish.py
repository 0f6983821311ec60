"""Publish: finished scratch files become an artifact's outputs, all of them or, after a crash, all of them later.

An intent record in machine state names the new files with their oids, what may be replaced, and the provenance that will be
true afterwards. The next command carries it out again from the kept scratch files. Files that are not ours were decided on
before (`assets.engine.ownership`); here they are only copied to the rescue folder. Light.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.engine.model import Ref, Store
from assets.engine.places import SIDECARS, Key, Places, Present, Spot, scratch_name
from assets.engine.provenance import OutputFile, Provenance, Records
from assets.engine.recipe import Place, Recipe
from assets.engine.scratch import scratch_path
from resources.storage.intents import forget_record, pending, write_record
from schemas.canonical import canonical_json
from schemas.errors import Conflict, HeadwaterError, Refused
from schemas.oid import file_oid, parse_oid

if TYPE_CHECKING:
    from resources.storage.base import Storage
    from resources.workspace import Workspace

FORMAT = 1
RESCUE_FOLDER = "headwater-rescue"
DERIVED_FOLDER = "derived"
"""Where in it copies lie of files that the text's format says are derived."""
DERIVED_KEPT = 3
"""How many of those stay for each file name."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A set of outputs about to be published: where they lie in scratch, what lies in their place now, what is recorded."""

    store: Store
    recipe: Recipe
    folder: Path
    """The scratch folder whose `outputs/` hold the new files; those that lie in their place already may be left out."""
    record: Provenance
    outputs: tuple[OutputFile, ...]
    """Every file of the set. The record lists fewer where it lists a manifest of them instead."""
    present: Mapping[Key, Present]
    keep_backup: bool
    previous: str | None = None
    """The oid of the record that this one replaces, None where there is none."""

    def written(self) -> list[OutputFile]:
        """The files that change, a manifest after the files it lists."""
        changed = [output for output in self.outputs if not self._there(output)]
        return sorted(changed, key=lambda output: (output in self.record.outputs, output))

    def _there(self, output: OutputFile) -> bool:
        here = self.present.get(output.key)
        return here is not None and here.oid == output.oid


class Publisher:
    """Publishes into the storages of one workspace whose outputs are files at their own paths."""

    def __init__(self, workspace: Workspace, places: Places, records: Records) -> None:
        self.workspace = workspace
        self.places = places
        self.records = records
        self.folder = workspace.local / "publish"

    # rescue

    def rescue(self, store: Store, present: Mapping[Key, Present], keys: Sequence[Key], *, derived: bool = False) -> list[str]:
        """Copy files that are not ours into the rescue folder; returns the copies' workspace-relative paths.

        A copy is named `<16 digits of the oid>-<name>`, so that the same file is rescued once, and no time is in it. A
        database's journals go with it under the same digits: without them its last changes would be lost. Copies of what the
        format says is `derived` lie apart, and of each name only the last few stay: another program may make one a day.
        Raises Refused for what is no regular file.
        """
        storage = self.workspace.state if self.workspace.is_plain else self.workspace.root
        prefix = f"{RESCUE_FOLDER}/{DERIVED_FOLDER}/" if derived else f"{RESCUE_FOLDER}/"
        saved = []
        names = {key[1] for key in present}
        for key in sorted(keys):
            here = present[key]
            spot = self.places.spot(store, key)
            if here.obstacle:
                raise Refused(
                    "is a folder, a link or a device where a file would be written",
                    path=spot.shown,
                    rule="output-not-a-file",
                    fix="move it out of the way and build again",
                )
            main = next((key[1].removesuffix(end) for end in SIDECARS if key[1].endswith(end)), key[1])
            lead = present[key[0], main].oid if main != key[1] and main in names else here.oid
            target = f"{prefix}{parse_oid(lead)[1][:16]}-{key[1].rpartition('/')[2]}"
            if storage.stat(f"{RESCUE_FOLDER}/.gitignore") is None:
                storage.write(f"{RESCUE_FOLDER}/.gitignore", b"*\n")
            copy = scratch_path(self.workspace.local / "scratch", "rescue")
            try:
                spot.storage.fetch(spot.path, copy)
                if file_oid(copy) != here.oid:
                    raise Conflict(
                        "was changed while it was being rescued", path=spot.shown, rule="output-changed", fix="try again"
                    )
                storage.publish(copy, target)
            finally:
                copy.unlink(missing_ok=True)
            # In a folder of someone else's not one byte of ours may appear, so the copy is named where it really lies.
            saved.append(f"{storage.local_root}/{target}" if self.workspace.is_plain else target)
        if derived:
            _keep_last(storage, prefix, {key[1].rpartition("/")[2] for key in keys})
        return saved

    # publish

    def publish(self, publication: Publication) -> Provenance:
        """Put the outputs in place and write the record; returns the record as written.

        The caller holds the artifact's lock. Raises Conflict when a file in the way is no longer the one that was decided
        on, and whatever the recipe's `before_replace` raises; nothing has been replaced then.
        """
        for key in publication.present.keys() | {output.key for output in publication.outputs}:
            self._expect(publication.store, key, publication.present.get(key))
        self._free_the_way(publication)
        kept = publication.folder / "kept"
        for output in publication.written():
            _link(publication.folder / "outputs" / output.path, kept / output.path)
        publication = self._back_up(publication)
        intent = self.intent_of(publication.record.ref)
        write_record(intent.parent, intent.name, canonical_json(_intent_json(publication)))
        self._carry_out(publication)
        forget_record(intent)
        return publication.record

    def record(self, record: Provenance, _previous: str | None) -> None:
        """Replace the record alone; the artifact's lock keeps others from doing so."""
        self.records.write(record)

    def _expect(self, store: Store, key: Key, here: Present | None) -> None:
        spot = self.places.spot(store, key)
        if self._oid(spot) != (here.oid if here is not None else None):
            raise Conflict(
                "was changed by someone else while it was about to be replaced",
                path=spot.shown,
                rule="output-changed",
                fix="run the command again",
            )

    def _oid(self, spot: Spot) -> str | None:
        try:
            return self.places.digest(spot)
        except FileNotFoundError:
            return None

    def _free_the_way(self, publication: Publication) -> None:
        """Let the recipe close, checkpoint or refuse before a file of its own kind is replaced."""
        recipe = publication.recipe
        if recipe.before_replace is None:
            return
        prepare = recipe.before_replace.load()
        for output in recipe.outputs:
            local = self.places.spot(publication.store, (output.place, output.path)).local
            if local is not None and not output.folder:
                prepare(local)

    def _back_up(self, publication: Publication) -> Publication:
        """Keep the present files as `<name>.bak-<n>` until the next success, where the kind asks for it."""
        if not publication.keep_backup:
            return publication
        backups = []
        for output in publication.recipe.outputs:
            key = (output.place, output.path)
            if output.folder or key not in publication.present:
                continue
            spot = self.places.spot(publication.store, key)
            local = spot.local
            if local is None:
                continue
            number = 1
            while os.path.lexists(f"{local}.bak-{number}"):
                number += 1
            backup = Path(f"{local}.bak-{number}")
            _link(local, backup)
            backups.append(OutputFile(output.place, f"{output.path}.bak-{number}", file_oid(backup), backup.stat().st_size))
        return replace(publication, record=replace(publication.record, backups=tuple(backups)))

    def _carry_out(self, publication: Publication) -> None:
        """Everything after the intent is durable; doing it twice does no harm."""
        store = publication.store
        outputs = publication.folder / "outputs"
        written = publication.written()
        if len(written) == len(publication.outputs):
            # A whole folder is flushed at once, which file by file would cost a flush each.
            for declared in publication.recipe.outputs:
                source = outputs / declared.path
                if os.path.lexists(source):
                    spot = self.places.spot(store, (declared.place, declared.path))
                    spot.storage.publish(source, spot.path)
        else:
            for output in written:
                spot = self.places.spot(store, output.key)
                spot.storage.publish(outputs / output.path, spot.path)
        wanted = {output.key for output in publication.outputs}
        superfluous = publication.present.keys() - wanted
        for key in superfluous:
            spot = self.places.spot(store, key)
            spot.storage.delete(spot.path)
        for declared in publication.recipe.outputs:
            if declared.folder and superfluous:
                self.places.prune(self.places.spot(store, (declared.place, declared.path)))
        previous = self.records.read(publication.record.ref)
        for output in written:
            self.places.remember(self.places.spot(store, output.key), output.oid)
        self.records.write(publication.record)
        if previous is not None:
            self._drop_backups(store, previous, keep={backup.path for backup in publication.record.backups})

    def _drop_backups(self, store: Store, previous: Provenance, keep: set[str]) -> None:
        """Delete the backups of the publication before this one, unless someone changed them."""
        for backup in previous.backups:
            spot = self.places.spot(store, backup.key)
            if backup.path in keep:
                continue
            with suppress(Conflict, FileNotFoundError):
                spot.storage.delete(spot.path, expect=backup.oid)

    # recovery

    def intent_of(self, ref: Ref) -> Path:
        """Where the intent record of an artifact lies while it is being published."""
        return self.folder / f"{scratch_name(ref)}.json"

    def pending(self) -> list[Path]:
        """The intents of publications that were cut short; one look at one folder."""
        return pending(self.folder)

    def ref_of(self, intent: Path) -> Ref | None:
        """The artifact that an unfinished publication is of, None for a record that cannot be read."""
        try:
            return Ref(*json.loads(intent.read_bytes())["record"]["ref"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def scratch_of(self, intent: Path) -> str | None:
        """The name of the scratch folder an unfinished publication needs."""
        try:
            return str(json.loads(intent.read_bytes())["scratch"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def recover(self, intent: Path, found: tuple[Store, Recipe] | None) -> str | None:
        """Complete one publication that was cut short; `found` is the artifact's store and recipe, None when they are gone.
        The caller holds the artifact's lock. Returns a line for the user.

        A file that someone has put in the way since stays, and the publication is given up: the next build decides anew.
        """
        import shutil

        try:
            data = json.loads(intent.read_bytes())
            if data["format"] != FORMAT:
                return None
            record = Provenance.from_json(data["record"])
            folder = self.workspace.local / "scratch" / str(data["scratch"])
            before = {(Place(place), str(path)): Present(str(oid), 0) for place, path, oid in data["present"]}
            outputs = tuple(OutputFile.from_json(entry) for entry in data["outputs"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            forget_record(intent)
            return None
        if found is None:
            forget_record(intent)
            return f"{record.ref}: an unfinished publication was dropped, its store is gone"
        store, recipe = found
        now = self.places.present(store, recipe, record)
        wanted = {output.key: output.oid for output in outputs}
        untouched = all(here.oid in (wanted.get(key), before[key].oid if key in before else None) for key, here in now.items())
        publication = Publication(store, recipe, folder, record, outputs, now, keep_backup=False)
        if untouched and self._refill(publication):
            if any(here.oid != wanted.get(key) for key, here in now.items()):
                self._free_the_way(publication)
            self._carry_out(publication)
            line = f"{record.ref}: an interrupted build was completed"
        else:
            line = f"{record.ref}: an interrupted build was given up; build again"
        forget_record(intent)
        shutil.rmtree(folder, ignore_errors=True)
        return line

    def _refill(self, publication: Publication) -> bool:
        """Put what is still to be written back into the scratch folder from the kept links; whether all of it is whole."""
        for output in publication.written():
            kept = publication.folder / "kept" / output.path
            target = publication.folder / "outputs" / output.path
            if not kept.is_file() or file_oid(kept) != output.oid:
                return False
            if not target.exists():
                _link(kept, target)
        return True


def _intent_json(publication: Publication) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "scratch": publication.folder.name,
        "record": publication.record.to_json(),
        "outputs": [output.to_json() for output in publication.outputs],
        "present": [[str(key[0]), key[1], here.oid] for key, here in sorted(publication.present.items())],
    }


def _keep_last(storage: Storage, prefix: str, names: set[str]) -> None:
    """Delete the copies of these names that were made first, down to the last few."""
    copies: dict[str, list[tuple[int, str]]] = {name: [] for name in names}
    for stat in storage.scan(prefix.rstrip("/")):
        name = stat.path[len(prefix) :].partition("-")[2]
        if name in copies:
            copies[name].append((stat.mtime_ns, stat.path))
    for found in copies.values():
        for _, path in sorted(found)[:-DERIVED_KEPT]:
            storage.delete(path)


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where the file system has none."""
    import shutil

    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def collect_outputs(recipe: Recipe, folder: Path, written: Sequence[str]) -> Iterator[OutputFile]:
    """The outputs a body has written, hashed. Raises HeadwaterError for a missing, undeclared or irregular one."""
    files = {output.path: output for output in recipe.outputs if not output.folder}
    folders = {output.path: output for output in recipe.outputs if output.folder}
    left = set(files)
    for path in written:
        local = folder / "outputs" / path
        output = files.get(path)
        if output is None:
            output = next((made for name, made in folders.items() if path.startswith(f"{name}/")), None)
        if output is None or local.is_symlink() or not local.is_file():
            raise HeadwaterError(
                f"the recipe {recipe.name} wrote {path}, which is {'no regular file' if output else 'not among its outputs'}",
                rule="output-undeclared",
                fix="this is an error in the recipe: report it",
            )
        left.discard(path)
        yield OutputFile(output.place, path, file_oid(local), local.stat().st_size)
    if left:
        raise HeadwaterError(
            f"the recipe {recipe.name} did not write {', '.join(sorted(left))}",
            rule="output-missing",
            fix="this is an error in the recipe: report it",
        )
