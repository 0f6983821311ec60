"""Nothing people can use is undocumented: commands, options, assets, checks, rules and settings have help and a docs entry."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _generator()


def test_the_reference_pages_are_up_to_date() -> None:
    """In a process of its own: the tests register rules that no page should list."""
    done = subprocess.run([sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"run `python docs/generate.py`: {done.stdout}{done.stderr}"
    assert {page.name for page in REFERENCE.glob("*.md")} == {page.name for page in generate.pages()}
    assert {schema.name for schema in generate.SCHEMAS.iterdir()} == {schema.name for schema in generate.editor_schemas()}


def test_every_command_and_option_has_help() -> None:
    silent = []
    for path, command, _ in generate.all_commands():
        if not (command.help or "").strip():
            silent.append(path)
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden and not (parameter.help or "").strip():
                silent.append(f"{path} {parameter.opts[0]}")
    assert not silent


def test_every_command_takes_the_global_options() -> None:
    for path, command, _ in generate.all_commands():
        names = {parameter.name for parameter in command.params}
        assert {"root", "json", "no_color", "debug"} <= names, path


def test_every_command_is_under_a_heading_of_the_help() -> None:
    from orchestration.cli.app import COMMANDS, cli

    listed = [name for names in COMMANDS.values() for name in names]
    assert sorted(listed) == sorted(cli.list_commands(click.Context(cli)))


def test_every_command_is_in_the_reference() -> None:
    text = (REFERENCE / "commands.md").read_text("utf-8")
    headings = set(re.findall(r"^#+ (headwater .+)$", text, re.MULTILINE))
    assert headings == {path for path, _, _ in generate.all_commands()[1:]}


def test_every_setting_has_a_meaning() -> None:
    from assets.registry import KINDS

    assert [key for key, _, meaning in generate.setting_rows() if not meaning.strip()] == []
    assert [setting.name for kind in KINDS.values() for setting in kind.settings if not setting.help.strip()] == []
    keys = {key for key, _, _ in generate.setting_rows()}
    assert {"workspace.name", "cache.max_size", 'stores."<name>".kind'} <= keys


def test_every_rule_has_a_title_and_a_kebab_case_id() -> None:
    from schemas.findings import RULES

    generate.load_rules()
    assert len(RULES) > 20
    for name, rule in RULES.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name), name
        assert rule.title.strip().endswith("."), f"{name}: a title is one sentence"


def test_every_source_and_artifact_has_a_description() -> None:
    from assets.registry import KINDS

    for kind in KINDS.values():
        for described in (*kind.sources, *kind.recipes):
            assert len(described.description) > 20, f"{kind.name}/{described.name}"


def test_every_environment_variable_read_is_documented() -> None:
    read = set()
    for package in ("schemas", "resources", "assets", "orchestration"):
        for path in (ROOT / package).rglob("*.py"):
            read |= set(re.findall(r"\bHEADWATER_[A-Z_]+[A-Z]\b", path.read_text("utf-8")))
    assert read <= set(generate.ENVIRONMENT)
    text = (REFERENCE / "settings.md").read_text("utf-8")
    assert [name for name in generate.ENVIRONMENT if f"`{name}`" not in text] == []


def test_links_between_pages_lead_somewhere() -> None:
    broken = []
    for page in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
    ]:
        if "_build" in page.parts:
            continue
        prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert not broken


def test_every_page_is_in_a_table_of_contents() -> None:
    docs = ROOT / "docs"
    pages = {page for page in docs.rglob("*.md") if "_build" not in page.parts and page.parent.name != "schemas"}
    listed = {docs / "index.md"}
    for page in pages:
        for toctree in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            names = [line.strip() for line in toctree.splitlines() if line.strip() and not line.startswith(":")]
            listed |= {found for name in names for found in page.parent.glob(f"{name}.md" if "*" not in name else f"{name}")}
    assert sorted(page.relative_to(docs).as_posix() for page in pages - listed) == []
