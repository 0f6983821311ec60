"""What the declarations of the kind promise: light, complete, and new whenever what they stand for is."""

from __future__ import annotations

import subprocess
import sys

from assets.engine.recipe import Recipe
from assets.notes import cache, graph, index, schema
from assets.notes.recipes import CACHE, GRAPH, KIND, QIPU_DB
from schemas.globs import matcher
from schemas.notes.layout import DERIVED
from schemas.notes.parse import PARSER_VERSION


def test_case_82_a_new_parser_or_format_makes_every_index_stale() -> None:
    assert QIPU_DB.version == schema.FORMAT * 100 + PARSER_VERSION


def test_outputs_are_called_what_the_bodies_write() -> None:
    assert [output.path for output in QIPU_DB.outputs] == [index.FILE]
    assert [output.path for output in GRAPH.outputs] == [graph.NODES, graph.EDGES, graph.PICTURE]
    assert {output.path.partition("/")[0] for output in CACHE.outputs} == {cache.FOLDER}
    roles = {declared.role for recipe in (CACHE, GRAPH) for declared in recipe.inputs}
    assert roles == {cache.INDEX_ROLE, graph.INDEX_ROLE}


def test_every_body_and_fold_is_there() -> None:
    recipes: tuple[Recipe, ...] = KIND.recipes
    for recipe in recipes:
        for lazy in (recipe.body, recipe.fold, recipe.content, recipe.before_replace):
            if lazy is not None:
                assert callable(lazy.load())


def test_no_file_of_a_store_lies_in_two_sources_but_templates() -> None:
    tests = {source.name: matcher(source.include, source.exclude) for source in KIND.sources}
    paths = {
        "notes/a.md": {"notes"},
        "a.markdown": {"notes"},
        "templates/fleeting.md": {"notes", "templates"},
        "config.toml": {"settings"},
        ".obsidian/app.json": {"settings"},
        "attachments/a.png": {"attachments"},
        "deep/config.toml": {"attachments"},
        "NOTE.MD": {"attachments"},
        ".trash/a.md": set(),
        "notes/.hidden/a.png": set(),
        ".DS_Store": set(),
        **{name: set() for name in DERIVED},
        ".cache/tags.json": set(),
    }
    found = {path: {name for name, test in tests.items() if test(path)} for path in paths}
    assert found == paths  # a name in other letters than `.md` is sorted out by the layout, which sees both sources


def test_the_declarations_load_nothing_heavy() -> None:
    code = (
        "import sys, assets.notes.recipes, assets.notes.text, assets.notes.git, assets.notes.opened; "
        "heavy = {'pydantic', 'fsspec', 'duckdb', 'pyarrow', 'ruamel', 'dagster', 'apsw', 'asyncio', 'yaml'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
