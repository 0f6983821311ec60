"""What a recipe and a kind are: plain, import-light declarations whose bodies load only when they run.

A kind's module of recipes holds nothing but values of these classes. No I/O, no heavy import, no Dagster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from importlib import import_module
from typing import Any


class Reproducibility(StrEnum):
    """How two builds of the same fingerprint may differ: not at all, not in their canonical dump, or within a tolerance."""

    BYTE_EQUAL = "byte-equal"
    DUMP_EQUAL = "dump-equal"
    CLOSE = "close"


class Confirm(StrEnum):
    """Whether replacing our own older output is asked about at a terminal."""

    NEVER = "never"
    ALWAYS = "always"


class Place(StrEnum):
    """Where an output path starts: the store's folder, or `.headwater/artifacts/<kind>/<store>/`."""

    STORE = "store"
    ARTIFACTS = "artifacts"


@dataclass(frozen=True, slots=True)
class Lazy:
    """A function named as `package.module:function`, imported when it is first called for."""

    target: str

    def load(self) -> Callable[..., Any]:
        module, _, name = self.target.partition(":")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function


@dataclass(frozen=True, slots=True)
class Source:
    """A named group of authoritative files of a store.

    `include` and `exclude` are globs over store-relative paths (`*` within one folder, `**` across folders, matched case-
    sensitively). `description` is shown in the UI.
    """

    name: str
    include: tuple[str, ...]
    description: str
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Input:
    """What a recipe reads, under a role: exactly one of a source of its store, another artifact of its store, or
    (`everything`, workspace recipes only) every source or artifact of the workspace.

    `names` says whether file names enter the fingerprint; a recipe that does not use them leaves them out.
    `only` narrows a source to files matching these globs.
    """

    role: str
    source: str | None = None
    artifact: str | None = None
    everything: str | None = None
    names: bool = True
    only: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Output:
    """One file or folder that a recipe writes, at `path` below `place`. `folder` outputs hold any number of files."""

    path: str
    place: Place = Place.ARTIFACTS
    folder: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """A pure function with a version that builds one artifact.

    `body(view, scratch, parameters) -> Summary` (see `assets.engine.view`). `version` rises with every change of the output's
    bytes for the same input. `libraries` are distributions whose version can change the output; they enter the
    fingerprint. `output_digest` of a byte-equal recipe is the oid over its files, else `Summary.digest`.

    `content(path) -> str` is the canonical-dump digest of an output that lies on disk, for files that other tools may
    rewrite without changing what they say. `preview(view, paths) -> Difference` says what replacing the present files
    would change, without building. `before_replace(path)` frees the way for the new file (stale journals, open connections)
    or raises Refused.
    """

    name: str
    version: int
    description: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    body: Lazy
    reproducibility: Reproducibility = Reproducibility.BYTE_EQUAL
    confirm: Confirm = Confirm.NEVER
    libraries: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    """Names of store settings (`[stores.x.settings]`) that enter the fingerprint and reach the body."""
    content: Lazy | None = None
    preview: Lazy | None = None
    before_replace: Lazy | None = None
    keep: tuple[str, ...] = ()
    """Source roles whose files are kept among the local objects after a build, so that `preview` can read what it was built from
    (`View.built`)."""
    compare: Lazy | None = None
    """`compare(left_folder, right_folder) -> list[str]` for `close` artifacts: the differences past the tolerance."""
    items: Lazy | None = None
    """`items(view, parameters) -> Iterable[Item]`: makes this an item artifact, whose body builds one item at a time:
    `body(view, scratch, parameters, item) -> bytes`, called from several threads. It has one output, a folder."""
    item_files: bool = False
    """Whether each item's bytes become a file named by its key in the output folder (large results); otherwise they lie in
    the artifact's item records (small results)."""
    fold: Lazy | None = None
    """`fold(view, scratch, parameters, previous_folder, delta) -> Summary`: the body given a copy of its own previous output
    and what changed by role (`assets.engine.folded.Delta`). Its canonical dump must equal that of `body`."""
    derived_by_format: bool = False
    """Whether the text's format itself says that a file at the output path is derived (as `.qipu/qipu.db` is): one that is edited
    or unknown is then copied to the rescue folder and replaced without a question, also where nobody can be asked."""
    expensive: bool = False
    """Expensive artifacts run on a schedule or by hand; cheap ones follow their sources."""
    kinds: tuple[str, ...] = ()
    """Dagster kinds shown as badges, such as `sqlite`."""

    def placed(self, place: Place) -> Recipe:
        """The recipe for a store in which what it would place in the store's folder lies at `place`."""
        if place is Place.STORE or all(output.place is place for output in self.outputs):
            return self
        return replace(self, outputs=tuple(replace(output, place=place) for output in self.outputs))


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of `[stores.<name>.settings]` for a kind, with its help text and default."""

    name: str
    default: object
    help: str
    choices: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class GitConfig:
    """One setting that git needs in a clone, such as `merge.headwater-tables.driver`; `.gitattributes` says where it applies."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of store: how it is found, what is authoritative in it, and what is built from it."""

    name: str
    title: str
    sources: tuple[Source, ...]
    recipes: tuple[Recipe, ...]
    markers: tuple[str, ...]
    """File or folder names (globs on the last parts of a path) whose presence makes a folder a candidate store."""
    recognise: Lazy
    """`recognise(storage, marker_path) -> str | None`: the store's root folder ('' for the workspace root) when the marker
    is ours. The verdict over a file is cached by the file's oid, that over a folder is asked for at every look."""
    check: Lazy | None = None
    """`check(storage, root) -> list[Finding]` over the store's text; workspace-relative paths in the findings."""
    check_version: int = 1
    findings_of: str | None = None
    """The artifact whose content holds the findings: a check then brings it up to date and asks `findings` instead of `check`."""
    findings: Lazy | None = None
    """`findings(paths, storage, root, settings) -> list[Finding]`: what the outputs (local paths) of `findings_of` say is wrong
    with the store's text; workspace-relative paths in the findings."""
    quarantines: bool = False
    """Whether the recipes build from whatever can be read: no finding then keeps an artifact from being built."""
    folders: tuple[str, ...] = ()
    """Names of folders that make a store by being there. They are entered even where git ignores them or where they are a
    worktree of their own, and from anywhere in the folder around one a command means its store."""
    derived: tuple[str, ...] = ()
    """Globs of what a store's folder holds that is derived: no source file, and not looked at when the store is scanned."""
    selective: bool = False
    """Whether files that no source names are passed over unread: for stores in whose folders large data lies beside the text."""
    protects: Lazy | None = None
    """`protects(storage, root, path) -> bool`: whether the file at a workspace-relative path is somebody's data which the store's
    text names. Nothing is then built to that path, and `clean` leaves it alone, whoever wrote what lies there."""
    known: Lazy | None = None
    """`known(storage, root, below, stat_cache) -> list[(path, oid, size)]`: files in the folder `below` (workspace-relative, as
    the paths) whose blake3 oids this store's text knows, whether or not they are here. What was built from them can then be
    restored where they are not."""
    place: Lazy | None = None
    """`place(storage, root, settings) -> Place`: where the outputs lie that a recipe places in the store, for kinds whose stores
    are not all laid out alike."""
    bodies_check: bool = False
    """Whether the recipes' bodies verify the text themselves, at least as strictly as `check`, and raise InvalidText: the
    engine then does not run `check` before a build, and only heeds findings that are known already."""
    fix: Lazy | None = None
    """`fix(storage, root, findings) -> list[Change]`: safe repairs for `check --fix`."""
    catalog: Lazy | None = None
    """`catalog(storage, root) -> dict[table, pyarrow.Table]`: this store's small records for the workspace catalog."""
    settings: tuple[Setting, ...] = ()
    git_setup: Lazy | None = None
    """`git_setup() -> list[GitConfig]`: merge drivers and text conversions of this kind, for `headwater git setup`."""
    migrate: Lazy | None = None
    """`migrate(storage, root) -> list[Change]`: what brings the store's text to the current format version, validated, with a
    copy of what it replaces; [] when it is current. Paths are workspace-relative. Raises NewerFormat or InvalidText."""

    def __post_init__(self) -> None:
        # Findings that come from an artifact cannot keep it from being built: that would ask for themselves.
        if self.findings_of is not None and not (self.quarantines and self.findings is not None):
            raise ValueError(
                f"the kind {self.name} takes findings from {self.findings_of}: it must quarantine and name `findings`"
            )


@dataclass(slots=True)
class SummaryTable:
    """A small table shown in the UI and by `explain`: column names, then rows of JSON scalars (at most a few hundred)."""

    columns: list[str]
    rows: list[list[Any]]


@dataclass(slots=True)
class Summary:
    """What a body returns: counts by name, small tables, Markdown and pictures (SVG or PNG bytes) for people, and, for
    dump-equal and close outputs, the digest of the canonical dump."""

    counts: dict[str, int] = field(default_factory=dict)
    tables: dict[str, SummaryTable] = field(default_factory=dict)
    markdown: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    digest: str | None = None

    def to_json(self) -> dict[str, Any]:
        """What provenance keeps; pictures are left out, they lie in the outputs."""
        return {
            "counts": self.counts,
            "tables": {name: {"columns": table.columns, "rows": table.rows} for name, table in self.tables.items()},
            "markdown": self.markdown,
            "digest": self.digest,
        }


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an item artifact: a key (unique, becomes a file name when results are files) and what it is made of.

    `inputs` is any JSON value that, with the recipe and parameters, decides the item's bytes (normally file oids)."""

    key: str
    inputs: Any
    payload: Mapping[str, Any] = field(default_factory=dict)
