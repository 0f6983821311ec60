"""What is authoritative in a notes store and what is built from it: declarations only.

The bodies lie in `assets.notes.{index,fold,cache,graph}` and load when they run. Light: no I/O and no heavy import, because `ls`,
`status` and every command of the kind read this module.
"""

from __future__ import annotations

from assets.engine.recipe import Input, Kind, Lazy, Output, Place, Recipe, Reproducibility, Setting, Source

_HIDDEN = "**/.*/**"
"""What lies in a folder whose name begins with a dot is no part of a store; the store's own folder does not count."""

NOTES = Source(
    "notes",
    ("**/*.md", "**/*.markdown"),
    "The notes and maps of content: Markdown files with optional YAML frontmatter.",
    exclude=(_HIDDEN,),
)
SETTINGS = Source(
    "settings",
    ("config.toml", ".obsidian/app.json", ".obsidian/templates.json"),
    "What the store says about itself: `config.toml`, or the settings of an Obsidian vault, which are only read.",
)
TEMPLATES = Source(
    "templates",
    ("templates/**/*.md",),
    "The texts that new notes start with, one per type. No artifact is built from them.",
    exclude=(_HIDDEN,),
)
ATTACHMENTS = Source(
    "attachments",
    ("**/*",),
    "Every other file of the store: pictures, documents and data that notes point at.",
    exclude=("**/*.md", "**/*.markdown", "config.toml", "**/.*", _HIDDEN, "qipu.db*"),
)

CACHE_FILES = ("index_meta", "metadata", "tags", "edges", "unresolved", "files", "id_to_path")
"""The names of the JSON files in `.cache/`."""

QIPU_DB = Recipe(
    name="qipu_db",
    # A hundred times the format of the index, plus the version of the parser, whose change re-derives every note; held by a test.
    version=102,
    description=(
        "The store as one SQLite file: notes, tags, aliases, sources, headings, every mention with its place and the rule that "
        "resolved it, typed edges, unresolved links, attachments, findings, and a full-text index. Kept up to date note by note; "
        "its content equals that of a build from nothing."
    ),
    inputs=(
        Input("notes", source="notes"),
        Input("settings", source="settings"),
        Input("attachments", source="attachments"),
    ),
    outputs=(Output("qipu.db", Place.STORE),),
    body=Lazy("assets.notes.index:build"),
    fold=Lazy("assets.notes.fold:fold"),
    reproducibility=Reproducibility.DUMP_EQUAL,
    libraries=("apsw", "ruamel.yaml"),
    content=Lazy("assets.notes.dump:content_digest"),
    before_replace=Lazy("assets.notes.text:free_the_way"),
    parameters=("include", "exclude", "layout"),
    derived_by_format=True,
    kinds=("sqlite", "sql"),
)

CACHE = Recipe(
    name="cache",
    version=1,
    description=(
        "The index as the seven JSON files that other programs read: notes by id, tags, edges, unresolved links, files. Sorted, "
        "one entry per line; a file is written only when it changes."
    ),
    inputs=(Input("index", artifact="qipu_db"),),
    outputs=tuple(Output(f".cache/{name}.json", Place.STORE) for name in CACHE_FILES),
    body=Lazy("assets.notes.cache:build"),
    derived_by_format=True,
    kinds=("json",),
)

GRAPH = Recipe(
    name="graph",
    version=1,
    description=(
        "Notes and edges as Parquet files, which the workspace catalog shows as the tables `nodes` and `edges` of the store, and "
        "a picture of the graph (SVG)."
    ),
    inputs=(Input("index", artifact="qipu_db"),),
    outputs=(Output("nodes.parquet"), Output("edges.parquet"), Output("graph.svg")),
    body=Lazy("assets.notes.graph:build"),
    libraries=("pyarrow",),
    kinds=("parquet", "svg"),
)

KIND = Kind(
    name="notes",
    title="Notes: linked Markdown becomes a searchable index, a graph and a list of what is broken",
    sources=(NOTES, SETTINGS, TEMPLATES, ATTACHMENTS),
    recipes=(QIPU_DB, CACHE, GRAPH),
    markers=(".qipu", "qipu", ".obsidian"),
    folders=(".qipu", "qipu", ".obsidian"),
    derived=("qipu.db*", ".cache/**"),
    recognise=Lazy("assets.notes.text:recognise"),
    place=Lazy("assets.notes.text:place"),
    findings_of="qipu_db",
    check_version=2,
    findings=Lazy("assets.notes.text:findings"),
    fix=Lazy("assets.notes.fixes:fix"),
    quarantines=True,
    settings=(
        Setting("include", [], "Globs of the files that are notes; every Markdown file of the store when not given."),
        Setting("exclude", [], "Globs of Markdown files that are no notes, such as `drafts/**`."),
        Setting(
            "layout",
            None,
            "How the store is laid out, where its folder does not tell: `qipu` (config.toml, notes/, mocs/), `vault` (Obsidian) "
            "or `folder` (any folder of Markdown).",
            choices=("qipu", "vault", "folder"),
        ),
    ),
    git_setup=Lazy("assets.notes.git:git_setup"),
)
