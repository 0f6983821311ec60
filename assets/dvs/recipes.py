"""What is authoritative in a repository of versioned data and what is built from it: declarations only.

The data itself is neither: its bytes are objects of the store, and the working tree is the user's. The bodies load when they run.
Light: no I/O and no heavy import, because `ls`, `status` and every command of the kind read this module.
"""

from __future__ import annotations

from assets.engine.recipe import Input, Kind, Lazy, Output, Recipe, Source

SIDECARS = Source(
    "sidecars",
    ("**/*.dvs", "**/*.dvs.toml"),
    "The sidecars: one small file per versioned file that names its checksum, its size, and who added it when and why.",
)
MANIFEST = Source(
    "manifest",
    ("dvs.lock",),
    "Every versioned file with its object, one per line: what push and pull keep in step with the remotes.",
)
SETTINGS = Source(
    "settings",
    ("dvs.toml", "dvs.yaml", "dvs.json", ".dvsignore"),
    "Where the objects lie and how they are named, and which files are never versioned.",
)

MANIFEST_REPORT = Recipe(
    name="manifest_report",
    version=1,
    description=(
        "The versioned files as Parquet, which the workspace catalog shows as the tables `files` and `folders` of the store: "
        "sizes, equal files, who added what when; and a picture of how the data grew, where it lies and what is there more "
        "than once (SVG)."
    ),
    inputs=(Input("sidecars", source="sidecars"), Input("manifest", source="manifest"), Input("settings", source="settings")),
    outputs=(Output("files.parquet"), Output("folders.parquet"), Output("report.svg")),
    body=Lazy("assets.dvs.manifest_report:build"),
    libraries=("pyarrow",),
    kinds=("parquet", "svg"),
)

KIND = Kind(
    name="dvs",
    title="Versioned data: large files beside git, with a store that loses nothing and remotes that are proved",
    sources=(SIDECARS, MANIFEST, SETTINGS),
    recipes=(MANIFEST_REPORT,),
    markers=("dvs.toml", "dvs.yaml", "dvs.json"),
    derived=(".dvs/cache/**", ".dvs/state/**", ".dvs/refs/**", ".dvs/logs/**", ".dvs/.cache/**", ".dvs/config.toml"),
    recognise=Lazy("assets.dvs.text:recognise"),
    check=Lazy("assets.dvs.text:check"),
    check_version=2,
    fix=Lazy("assets.dvs.text:fix"),
    selective=True,
    protects=Lazy("assets.dvs.text:protects"),
    known=Lazy("assets.dvs.text:known"),
    git_setup=Lazy("assets.dvs.git:git_setup"),
)
