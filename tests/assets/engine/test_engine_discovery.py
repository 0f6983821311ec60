"""Discovery: which folders are stores, which are not entered, what a store is called, and what is remembered."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from assets.engine.discovery import store_name
from assets.engine.model import Ref
from assets.engine.recipe import Setting
from schemas.globs import folder_test, matcher
from tests.assets.engine import kinds
from tests.assets.engine.workspaces import engine_on, write


def names(root: Path) -> list[str]:
    return [store.name for store in engine_on(root).stores()]


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True)


def test_markers_must_be_recognised(root: Path) -> None:
    write(root, {"b/letters.txt": "something else", "c/d/letters.txt": "letters"})
    assert names(root) == ["a", "c/d"]


@pytest.mark.parametrize("folder", [".git", ".headwater", "node_modules", ".venv", "headwater-rescue"])
def test_folders_that_are_never_entered(root: Path, folder: str) -> None:
    write(root, {f"{folder}/letters.txt": "letters", f"deep/{folder}/x/letters.txt": "letters"})
    assert names(root) == ["a"]


@pytest.mark.parametrize("mark", ["headwater.toml", "pyvenv.cfg", ".git/HEAD"])
def test_nested_workspaces_and_environments_are_not_entered(root: Path, mark: str) -> None:
    write(root, {f"inner/{mark}": "", "inner/sub/letters.txt": "letters"})
    assert names(root) == ["a"]


def test_what_the_configuration_names_is_entered_whatever_it_is(root: Path) -> None:
    write(
        root,
        {
            "headwater.toml": 'version = 1\n[stores.inner]\nkind = "letters"\npath = "node_modules/inner"\n',
            "node_modules/inner/words/x.txt": "x",
        },
    )
    assert names(root) == ["a", "inner"]
    engine = engine_on(root)
    assert [entry[0] for entry in engine.sources(engine.stores()[1])[0].files] == ["words/x.txt"]


def test_excluded_folders_and_files_do_not_count(root: Path) -> None:
    write(
        root, {"headwater.toml": 'version = 1\n[workspace]\nexclude = ["old", "a/words/two.txt"]\n', "old/letters.txt": "letters"}
    )
    engine = engine_on(root)
    assert [store.name for store in engine.stores()] == ["a"]
    assert [entry[0] for entry in engine.sources(engine.stores()[0])[0].files] == ["words/one.txt"]


def test_git_ignored_folders_are_not_entered_and_rules_may_change(root: Path) -> None:
    write(root, {".gitignore": "build/\n", "build/x/letters.txt": "letters", "a/words/build/three.txt": "3"})
    git(root, "init", "-q")
    assert names(root) == ["a"]
    engine = engine_on(root)
    assert [entry[0] for entry in engine.sources(engine.stores()[0])[0].files] == ["words/one.txt", "words/two.txt"]
    write(root, {".gitignore": "nothing/\n"})
    assert names(root) == ["a", "build/x"]
    write(root, {".gitignore": "build/\n"})
    assert names(root) == ["a"]
    write(root, {".gitignore": "", "a/.gitignore": "/words/build/\n"})
    assert names(root) == ["a", "build/x"]


def test_git_is_asked_only_about_folders_it_was_not_asked_about(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, {".gitignore": "build/\n", "build/x/letters.txt": "letters"})
    git(root, "init", "-q")
    assert names(root) == ["a"]
    monkeypatch.setenv("PATH", "/nonexistent")
    assert names(root) == ["a"]


def test_a_checkout_below_its_top_level(tmp_path: Path) -> None:
    write(tmp_path / "top", {".gitignore": "build/\n"})
    git(tmp_path / "top", "init", "-q")
    write(tmp_path / "top/sub", {"headwater.toml": "version = 1\n", "build/letters.txt": "letters", "b/letters.txt": "letters"})
    assert names(tmp_path / "top/sub") == ["b"]


def test_a_store_that_cannot_be_read_is_a_finding_and_not_the_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root, {"b/letters.txt": "letters"})
    original = kinds.recognise

    def recognise(storage: object, marker: str) -> str | None:
        if marker.startswith("b/"):
            raise PermissionError("not for you")
        return original(storage, marker)  # type: ignore[arg-type]

    monkeypatch.setattr(kinds, "recognise", recognise)
    engine = engine_on(root)
    assert [store.name for store in engine.stores()] == ["a"]
    found = engine.check()[Ref("workspace", "all", "")]
    assert [(finding.rule, finding.path) for finding in found] == [("store-unreadable", "b/letters.txt")]


def test_recognition_is_remembered_by_content(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert names(root) == ["a"]

    def recognise(_storage: object, _marker: str) -> str | None:
        raise AssertionError("read again")

    monkeypatch.setattr(kinds, "recognise", recognise)
    assert names(root) == ["a"]
    (root / ".headwater/local/discovery.json").write_text("damaged")
    monkeypatch.undo()
    assert names(root) == ["a"]


def test_configured_stores(root: Path) -> None:
    write(
        root,
        {
            "headwater.toml": "version = 1\n"
            '[stores."My Words"]\nkind = "letters"\npath = "a"\n'
            '[stores.gone]\nkind = "letters"\npath = "no/such"\n'
        },
    )
    engine = engine_on(root)
    assert [(store.name, store.root, store.present) for store in engine.stores()] == [
        ("My Words", "a", True),
        ("gone", "no/such", False),
    ]
    assert [finding.rule for finding in engine.observer.discovered.findings] == ["store-vanished"]
    assert engine.build(["letters/My Words/upper"])[0].result == "built"


def test_a_name_taken_twice_is_a_finding(root: Path) -> None:
    write(root, {"headwater.toml": 'version = 1\n[stores.a]\nkind = "letters"\npath = "b"\n', "b/words/x.txt": "x"})
    engine = engine_on(root)
    assert [(store.name, store.root) for store in engine.stores()] == [("a", "b")]
    assert [finding.rule for finding in engine.observer.discovered.findings] == ["store-name-taken"]


def test_two_configured_stores_of_one_folder_are_said(root: Path) -> None:
    config = "version = 1\n" + "".join(f'[stores.{name}]\nkind = "letters"\npath = "a"\n' for name in ("one", "two"))
    write(root, {"headwater.toml": config})
    engine = engine_on(root)
    assert [store.name for store in engine.stores() if store.kind == "letters"] == ["one"]
    assert [finding.rule for finding in engine.observer.discovered.findings] == ["store-folder-taken"]


def test_two_kinds_may_share_a_folder(root: Path) -> None:
    config = "version = 1\n" + "".join(f'[stores.{kind}]\nkind = "{kind}"\npath = "a"\n' for kind in ("letters", "more"))
    write(root, {"headwater.toml": config})
    more = replace(kinds.KINDS["letters"], name="more")
    engine = engine_on(root, {"letters": kinds.KINDS["letters"], "more": more})
    assert [str(store.kind) for store in engine.stores()] == ["letters", "more"]
    assert engine.observer.discovered.findings == []


def test_settings_that_the_kind_does_not_have_or_take_are_said(root: Path) -> None:
    config = 'version = 1\n[stores.x]\nkind = "letters"\npath = "a"\n[stores.x.settings]\n'
    letters = replace(kinds.KINDS["letters"], settings=(Setting("separator", "|", "Between words.", choices=("|", "-")),))
    for line, count in (('separator = "-"', 0), ('separator = "+"', 1), ('seperator = "-"', 1)):
        write(root, {"headwater.toml": config + line + "\n"})
        findings = engine_on(root, {"letters": letters}).observer.discovered.findings
        assert [finding.rule for finding in findings] == ["store-setting"] * count


def test_the_name_of_a_store_depends_on_nothing_but_its_path() -> None:
    assert store_name("") == "root"
    assert store_name("root") == "./root"
    assert store_name("a/b c") == "a/b c"


def test_an_inner_store_of_the_same_kind_is_not_part_of_the_outer(root: Path) -> None:
    write(root, {"a/words/inner/letters.txt": "letters", "a/words/inner/words/x.txt": "x"})
    engine = engine_on(root)
    outer, inner = engine.stores()
    assert [entry[0] for entry in engine.sources(outer)[0].files] == ["words/one.txt", "words/two.txt"]
    assert [entry[0] for entry in engine.sources(inner)[0].files] == ["words/x.txt"]


GLOBS = [
    ("data/**/*.csv", "data/a.csv", True),
    ("data/**/*.csv", "data/x/y/a.csv", True),
    ("data/**/*.csv", "other/data/a.csv", False),
    ("data/**/*.csv", "data/a.CSV", False),
    ("*.md", "a/b.md", False),
    ("**/*.md", "b.md", True),
    ("**", "a/b/c", True),
    ("a/**", "a/b/c", True),
    ("a/?.txt", "a/b.txt", True),
    ("a/?.txt", "a//.txt", False),
    ("a.b", "axb", False),
    ("line\nbreak*", "line\nbreak.txt", True),
]


@pytest.mark.parametrize(("glob", "path", "expected"), GLOBS)
def test_globs(glob: str, path: str, expected: bool) -> None:
    assert matcher([glob])(path) is expected
    if expected:
        possible = folder_test([glob])
        parts = path.split("/")[:-1]
        assert all(possible("/".join(parts[:length])) for length in range(1, len(parts) + 1))


def test_folders_that_can_hold_nothing_are_not_entered() -> None:
    possible = folder_test(["data/**/*.csv", "project.yaml", "a/*/x"])
    assert [folder for folder in ("data", "data/x", "other", "a", "a/b", "a/b/c") if possible(folder)] == [
        "data",
        "data/x",
        "a",
        "a/b",
    ]


def test_the_unchanged_path_is_light(root: Path) -> None:
    engine_on(root).build()
    program = (
        "import sys; from tests.assets.engine.workspaces import engine_on;"
        "engine = engine_on(sys.argv[1]); engine.status(); engine.build();"
        "heavy = ('pydantic', 'fsspec', 'duckdb', 'pyarrow', 'ruamel', 'dagster', 'asyncio', 'importlib.metadata');"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_workspace_in_a_folder_that_an_outer_checkout_ignores_has_stores_all_the_same(root: Path) -> None:
    outer = root.parent
    git(outer, "init")
    (outer / ".gitignore").write_text("/workspace/\n")
    assert names(root) == ["a"]
    write(root, {"b/letters.txt": "letters"})
    assert names(root) == ["a", "b"]
