"""Intent records: how a set of renames and removals becomes all-or-nothing on a local file system.

The new bytes already lie, flushed, in temporary files beside their targets; writing the record is the moment the set counts
as done; whoever finds a record carries it out. Carrying one out twice does no harm. How the temporary files came to be is
`resources.storage.local`'s business. Others who keep records of their own in such a folder (`assets.engine.publish`) write and
drop them with the same calls. Light: standard library only.

Record, format 1: `{"format": 1, "label": str, "moves": [[temporary, target], …], "removals": [path, …],
"prune": [folder, …]}`, paths relative to the storage's root, in a file `<name>.json` of the intents folder.
"""

from __future__ import annotations

import json
import os
import stat
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from resources.storage.folders import Folder, open_folder, split_path
from resources.storage.leftovers import is_leftover, unlink_dead
from resources.storage.staging import discard, stage
from schemas.errors import HeadwaterError

FORMAT = 1


@dataclass(slots=True)
class Intent:
    """A set about to be carried out: renames (temporary, target), files to remove, folders to remove once empty."""

    label: str
    moves: list[tuple[str, str]] = field(default_factory=list)
    removals: list[str] = field(default_factory=list)
    prune: list[str] = field(default_factory=list)

    def to_json(self) -> bytes:
        record = {
            "format": FORMAT,
            "label": self.label,
            "moves": [list(move) for move in self.moves],
            "removals": self.removals,
            "prune": self.prune,
        }
        return json.dumps(record, sort_keys=True, ensure_ascii=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Intent | None:
        """The record, or None when it is of another format or not one of ours."""
        try:
            record = json.loads(data)
            if record["format"] != FORMAT:
                return None
            made = cls(
                str(record["label"]),
                [(str(temporary), str(target)) for temporary, target in record["moves"]],
                [str(path) for path in record["removals"]],
                [str(path) for path in record["prune"]],
            )
            for path in (*made.removals, *made.prune, *(path for move in made.moves for path in move)):
                split_path(path)
        except (ValueError, KeyError, TypeError, HeadwaterError):
            return None
        return made


def pending(folder: Path) -> list[Path]:
    """The records in `folder`, oldest name first; none when the folder is missing."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [folder / name for name in sorted(names) if name.endswith(".json")]


def write_record(folder: Path, name: str, data: bytes) -> Path:
    """Write or replace the record `name` in `folder` (made when missing), atomically and durably; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    with open_folder(folder, ()) as opened:
        temporary = stage(opened, name, name, data)
        try:
            opened.rename(temporary, opened, name)
        except BaseException:
            discard(opened, temporary)
            raise
        opened.sync()
    return folder / name


def forget_record(record: Path) -> None:
    """Remove a record that has been carried out, if it is there. Durably, or a power cut could bring back one whose removals
    name files made anew since."""
    with suppress(FileNotFoundError), open_folder(record.parent, ()) as folder:
        folder.unlink(record.name)
        folder.sync()


def sweep_records(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote a record."""
    with suppress(OSError), open_folder(folder, ()) as opened:
        for entry in opened.entries():
            if is_leftover(entry.name):
                unlink_dead(opened, entry.name)


def carry_out(root: Path, intent: Intent) -> list[str]:
    """Do what the record says, durably; returns lines about what could not be done because its place is taken.

    Raises OSError where the file system refuses (no permission, I/O error): the record then stays for the next command.
    """
    troubles: list[str] = []
    with ExitStack() as stack:
        folders: dict[tuple[str, ...], Folder] = {}

        def parent(path: str) -> tuple[Folder, str]:
            parts = split_path(path)
            if parts[:-1] not in folders:
                folders[parts[:-1]] = stack.enter_context(open_folder(root, parts[:-1]))
            return folders[parts[:-1]], parts[-1]

        for temporary, target in intent.moves:
            try:
                folder, name = parent(temporary)
                target_folder, target_name = parent(target)
                folder.rename(name, target_folder, target_name)
            except FileNotFoundError:
                continue  # done before the last attempt was cut short
            except (IsADirectoryError, NotADirectoryError, HeadwaterError) as error:
                troubles.append(_set_aside(root, temporary, target, error))
        for path in intent.removals:
            with suppress(FileNotFoundError, NotADirectoryError, HeadwaterError):
                folder, name = parent(path)
                if not stat.S_ISDIR(folder.stat(name).st_mode):
                    folder.unlink(name)
        for path in intent.prune:
            with suppress(OSError, HeadwaterError):
                folder, name = parent(path)
                folder.rmdir(name)
        for folder in folders.values():
            with suppress(FileNotFoundError):
                folder.sync()
    return troubles


def _set_aside(root: Path, temporary: str, target: str, error: Exception) -> str:
    """A folder or link took the target's place since: keep the new bytes under a name that no sweep touches."""
    kept = f"{target}.unfinished"
    try:
        parts = split_path(temporary)
        with open_folder(root, parts[:-1]) as folder:
            folder.rename(parts[-1], folder, split_path(kept)[-1])
            folder.sync()
    except (OSError, HeadwaterError):
        kept = temporary
    return f"{target}: could not be written ({error}); its new content is kept in {kept}"
