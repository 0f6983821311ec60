"""What the declarations of the kind promise: light, complete, and new whenever what they stand for is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click

from assets.engine.engine import Engine
from assets.engine.recipe import Recipe
from assets.notes import cache, graph, index, schema
from assets.notes.git import git_setup
from assets.notes.recipes import CACHE, GRAPH, KIND, QIPU_DB
from resources.workspace import open_workspace
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


def test_the_merge_driver_git_is_told_of_is_a_command_that_takes_what_git_gives(tmp_path: Path) -> None:
    from orchestration.cli.notes import notes
    from schemas.notes.gitfiles import GITATTRIBUTES

    settings = {setting.key: setting.value for setting in git_setup()}
    (driver,) = [value for key, value in settings.items() if key.endswith(".driver")]
    program, kind, name, *words = driver.split()
    command = notes.get_command(click.Context(notes), name)
    assert (program, kind) == ("headwater", "notes")
    assert command is not None
    (tmp_path / "note.md").write_text("")
    given = {"%L": "7", **dict.fromkeys(("%O", "%A", "%B", "%P"), str(tmp_path / "note.md"))}
    with command.make_context(name, [given.get(word, word) for word in words]) as context:
        assert set(context.params) >= {"base", "ours", "theirs"}
    assert all(f"merge={key.split('.')[1]}" in GITATTRIBUTES for key in settings)


def test_case_9_looking_makes_no_database(tmp_path: Path) -> None:
    (tmp_path / ".qipu/notes").mkdir(parents=True)
    (tmp_path / ".qipu/notes/a.md").write_text("# A\n")
    (tmp_path / "headwater.toml").write_text("version = 1\n")
    engine = Engine(open_workspace(tmp_path))
    assert {str(state.freshness) for state in engine.status(["notes"])} == {"missing"}
    assert engine.stores()
    assert sorted(path.name for path in (tmp_path / ".qipu").iterdir()) == ["notes"]


def test_what_qipu_left_is_cleaned_away_with_its_folder(tmp_path: Path) -> None:
    """Case 8 departs from qipu, which deletes `.cache/`: it is built, for those who read it, and `clean` removes it."""
    (tmp_path / ".qipu/notes").mkdir(parents=True)
    (tmp_path / ".qipu/.cache").mkdir()
    (tmp_path / ".qipu/.cache/tags.json").write_text('{"old": ["qp-1"]}')
    (tmp_path / ".qipu/.cache/mine.txt").write_text("kept")
    (tmp_path / ".qipu/notes/a.md").write_text("# A\n")
    (tmp_path / "headwater.toml").write_text("version = 1\n")
    engine = Engine(open_workspace(tmp_path))
    outcomes = {outcome.ref.name: outcome for outcome in engine.build(["notes"])}
    assert {str(outcome.result) for outcome in outcomes.values()} == {"built"}
    assert len(outcomes["cache"].rescued) == 1
    engine.clean(["notes"])
    assert sorted(path.name for path in (tmp_path / ".qipu/.cache").iterdir()) == ["mine.txt"]
    (tmp_path / ".qipu/.cache/mine.txt").unlink()
    engine.build(["notes"])
    engine.clean(["notes"])
    assert not (tmp_path / ".qipu/.cache").exists()
