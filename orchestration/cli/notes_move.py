"""`headwater notes mv|rm|merge`: commands that rename, delete and join notes, with every link to them.

What a rename rewrites is `resources.notes`' business, asking and writing `orchestration.cli.notes_plans`'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from orchestration.cli.app import App, command, pass_app
from orchestration.cli.notes_plans import carry_out, dry_run_option, found_note, inside, linker, yes_option
from orchestration.cli.notes_stores import note_argument, store_option
from schemas.errors import UsageError
from schemas.paths import is_usable

if TYPE_CHECKING:
    from assets.notes.opened import OpenedNotes
    from resources.notes.changes import Plan

RESCUE: Final = "headwater-rescue"


@command("mv")
@note_argument
@click.argument("target")
@store_option
@dry_run_option
@yes_option
@pass_app
def mv(app: App, note: str, target: str, store: str | None, dry_run: bool, yes: bool) -> None:
    """Rename or move a note, an attachment or a folder, and rewrite every link to what moved.

    TARGET is a path in the store; an existing folder, or one that ends in /, keeps the name. For a note that is named by its id
    or title, a TARGET without / is its new name where it lies. The links of a moved note are rewritten too. At a terminal a
    move that changes many files shows the difference and asks.

    \b
    Examples:
      headwater notes mv qp-a1b2 archive/
      headwater notes mv drafts/idea.md notes/content-addressing.md --dry-run
      headwater notes mv notes/2023 archive/2023
    """

    def make(notes: OpenedNotes) -> Plan:
        from resources.notes.moving import move

        old, by_path = _meant(notes, note)
        return move(notes.store, linker(notes), old, _destination(notes, old, target, by_path=by_path))

    carry_out(app, store, make, label="notes mv", dry_run=dry_run, yes=yes)


@command("rm")
@click.argument("notes", nargs=-1, required=True, metavar="NOTE...")
@store_option
@click.option("--force", "-f", is_flag=True, help="Delete them even when other notes link to them; those links break.")
@dry_run_option
@pass_app
def rm(app: App, notes: tuple[str, ...], store: str | None, force: bool, dry_run: bool) -> None:
    """Delete notes; refused while other notes link to them, with those links listed.

    A file that git does not have as it is now is moved to headwater-rescue/.

    \b
    Examples:
      headwater notes rm qp-a1b2
      headwater notes rm qp-a1b2 qp-c3d4 --force
    """

    def make(opened: OpenedNotes) -> Plan:
        from resources.notes.moving import remove

        paths = list(dict.fromkeys(found_note(opened, note) for note in notes))
        plan = remove(opened.store, linker(opened), paths, force=force)
        plan.lines += [f"broken: {link.path}:{link.line}:{link.column}: {link.target}" for link in plan.broken]
        return plan

    carry_out(app, store, make, label="notes rm", dry_run=dry_run, before=lambda opened, plan: rescue(app, opened, plan))


@command("merge")
@click.argument("source", metavar="A")
@click.argument("target", metavar="B")
@store_option
@dry_run_option
@yes_option
@pass_app
def merge(app: App, source: str, target: str, store: str | None, dry_run: bool, yes: bool) -> None:
    """Join note A into note B: B gets A's text, tags and links, every link to A leads to B, and A is deleted.

    \b
    Examples:
      headwater notes merge qp-a1b2 qp-c3d4 --dry-run
      headwater notes merge "Raft (draft)" "Raft"
    """

    def make(opened: OpenedNotes) -> Plan:
        from resources.notes.moving import merge_notes

        first, second = found_note(opened, source), found_note(opened, target)
        return merge_notes(opened.store, linker(opened), first, second, now=opened.now)

    carry_out(
        app, store, make, label="notes merge", dry_run=dry_run, yes=yes, before=lambda opened, plan: rescue(app, opened, plan)
    )


def rescue(app: App, notes: OpenedNotes, plan: Plan, *, replaced: bool = False) -> None:
    """Copy what the plan deletes (and replaces) to `headwater-rescue/`, unless git has it as it is or the plan puts it elsewhere.

    A copy is named `<16 digits of the oid>-<name>`, as the engine names what it rescues. In a plain folder, where nothing of
    ours may appear, it lies in the user's cache.
    """
    from schemas.oid import bytes_oid, parse_oid

    workspace = app.workspace()
    storage = workspace.state if workspace.is_plain else workspace.root
    written = {change.data for change in plan.changes if change.data is not None}
    for change in plan.changes:
        data = plan.before.get(change.path)
        if (change.data is not None and not replaced) or data is None or data in written or _in_git(notes, change.path, data):
            continue
        name = change.path.rpartition("/")[2]
        target = f"{RESCUE}/{parse_oid(bytes_oid(data))[1][:16]}-{name}"
        if storage.stat(f"{RESCUE}/.gitignore") is None:
            storage.write(f"{RESCUE}/.gitignore", b"*\n")
        storage.write(target, data)
        shown = f"{storage.local_root}/{target}" if workspace.is_plain else target
        app.note(f"kept a copy of {change.path}, which git does not have as it was: {shown}")


def _in_git(notes: OpenedNotes, path: str, data: bytes) -> bool:
    """Whether the last commit of the checkout around the file has these bytes at its path."""
    from resources.git import Git, GitError, top_level

    root = notes.store.storage.local_root
    if root is None:
        return False
    place = (root / path).resolve()
    top = top_level(place.parent)
    if top is None:
        return False
    try:
        git = Git(top)
        return git.head() is not None and git.show("HEAD", place.relative_to(top.resolve()).as_posix()) == data
    except GitError:
        return False


def _meant(notes: OpenedNotes, word: str) -> tuple[str, bool]:
    """(the store's path of the file or folder that is to move, whether it was named by that path)."""
    path = inside(notes, word)
    if path and is_usable(path) and (notes.store.exists(path) or _is_folder(notes, path)):
        return path, True
    return found_note(notes, word), False


def _destination(notes: OpenedNotes, old: str, target: str, *, by_path: bool) -> str:
    """The store's path that `target` means for what lies at `old`. Raises UsageError for none."""
    name = old.rpartition("/")[2]
    new = inside(notes, target)
    if target.endswith("/") or target == "." or (new != old and _is_folder(notes, new)):
        return f"{new}/{name}" if new else name
    if not new:
        raise UsageError("no target is named", rule="notes-place", fix="give a path in the store")
    if not by_path and "/" not in target:
        folder = old.rpartition("/")[0]
        new = f"{folder}/{new}" if folder else new
    is_note = notes.store.exists(old) and notes.store.is_note(old)
    return new if not is_note or new.lower().endswith((".md", ".markdown")) else f"{new}.{name.rpartition('.')[2]}"


def _is_folder(notes: OpenedNotes, path: str) -> bool:
    """Whether a folder of the store lies there."""
    root = notes.store.storage.local_root
    if not path or ".." in path.split("/") or path.startswith("/"):
        return False
    if root is not None:
        place = root / notes.store.workspace_path(path)
        return place.is_dir() and not place.is_symlink()
    return next(iter(notes.store.storage.scan(notes.store.workspace_path(path))), None) is not None
