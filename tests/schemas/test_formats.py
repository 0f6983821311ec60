"""Format migrations, `headwater.toml`, and the schemas for editors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from schemas import toml_text, yaml_text
from schemas.document import Document
from schemas.errors import HeadwaterError, InvalidText, NewerFormat
from schemas.findings import Severity, found, rule
from schemas.json_schema import FILES, json_schema, schema_text
from schemas.migrate import Migrations
from schemas.workspace import WorkspaceConfig, read_workspace

SHAPE = rule("test-shape", Severity.ERROR, "A test file has its shape.")


def _version(tree: Mapping[str, bytes]) -> int:
    value = yaml_text.read(tree["f.yaml"], "f.yaml").value
    assert isinstance(value, dict)
    version = value["version"]
    assert isinstance(version, int)
    return version


def _tree(version: int, **more: object) -> dict[str, bytes]:
    return {"f.yaml": yaml_text.write({"version": version, **more}).encode()}  # type: ignore[dict-item]


def _migrations() -> tuple[Migrations, list[str]]:
    """Versions 1 to 3: 1 renames a to b, 2 moves a file; the log says in which order things ran."""
    log: list[str] = []

    def check_last(tree: Mapping[str, bytes]) -> None:
        log.append("check 3")
        if b"bad" in tree["f.yaml"]:
            raise InvalidText([found(SHAPE, "f.yaml", "bad")])

    migrations = Migrations("test", current=3, version_of=_version, check=check_last)

    @migrations.register(1, check=lambda _tree: log.append("check 1"))
    def first(tree: Mapping[str, bytes]) -> dict[str, bytes]:
        log.append("step 1")
        return {**tree, "f.yaml": tree["f.yaml"].replace(b"version: 1", b"version: 2")}

    @migrations.register(2)
    def second(tree: Mapping[str, bytes]) -> dict[str, bytes]:
        log.append("step 2")
        return {"f.yaml": tree["f.yaml"].replace(b"version: 2", b"version: 3"), "new.csv": b"x\n"}

    migrations.seal()
    return migrations, log


def test_steps_run_in_order_and_are_checked() -> None:
    migrations, log = _migrations()
    old = _tree(1, a=1)
    assert migrations.load(old) == {**_tree(3, a=1), "new.csv": b"x\n"}
    assert log == ["check 1", "step 1", "step 2", "check 3"]
    assert old == _tree(1, a=1)
    assert [version for version, _ in migrations.steps(old)] == [2, 3]
    assert migrations.oldest == 1


def test_a_current_tree_is_left_alone() -> None:
    migrations, log = _migrations()
    assert migrations.load(_tree(3)) == _tree(3)
    assert log == []


def test_newer_and_older_trees_are_refused() -> None:
    migrations, log = _migrations()
    with pytest.raises(NewerFormat, match="version 4; this Headwater reads up to 3"):
        migrations.load(_tree(4))
    with pytest.raises(HeadwaterError) as caught:
        migrations.load(_tree(0))
    assert caught.value.rule == "format-too-old"
    assert log == []


def test_a_result_without_its_shape_is_refused() -> None:
    migrations, _ = _migrations()
    with pytest.raises(InvalidText):
        migrations.load(_tree(1, a="bad"))


@pytest.mark.parametrize(
    "step",
    [lambda tree: tree["missing"], lambda tree: dict(tree), lambda tree: {**tree, "../x": b""}, lambda tree: tree.update(x=b"")],
    ids=["raises", "forgets the version", "leaves the store", "writes into its input"],
)
def test_a_broken_step_is_an_error_of_ours(step: Any) -> None:
    migrations = Migrations("test", current=1, version_of=_version)
    migrations.register(0)(step)
    migrations.seal()
    tree = _tree(0)
    with pytest.raises(HeadwaterError) as caught:
        migrations.load(tree)
    assert caught.value.rule in ("format-migration", "path-outside")
    assert tree == _tree(0)


def test_gaps_are_errors_when_the_module_is_imported() -> None:
    migrations = Migrations("test", current=3, version_of=_version)
    migrations.register(0)(dict)
    with pytest.raises(ValueError, match="out of order"):
        migrations.register(2)
    with pytest.raises(ValueError, match="out of order"):
        migrations.register(0)
    with pytest.raises(ValueError, match="no step leads from version 1"):
        migrations.seal()
    with pytest.raises(ValueError, match="out of order"):
        Migrations("test", current=1, version_of=_version).register(1)
    with pytest.raises(ValueError, match="not sealed"):
        migrations.load(_tree(0))


FULL = """\
version = 1

[workspace]
name = "Example"
owner = "team:data"
exclude = ["old/**"]

[cache]
max_size = "2.5 GiB"
remote = "s3://bucket/prefix"

[stores."my city"]
kind = "tables"
path = "data/city"
confirm = "never"
settings = { x = 1 }

[schedule]
verify = "0 3 * * 0"
"""


def test_a_whole_headwater_toml() -> None:
    config = read_workspace(FULL.encode())
    assert config.workspace.name == "Example"
    assert config.stores["my city"].settings == {"x": 1}
    assert config.cache.max_size == "2.5 GiB"
    assert config.schedule.verify == "0 3 * * 0"
    assert read_workspace(b"version = 1\n") == WorkspaceConfig(version=1)


@pytest.mark.parametrize(
    ("line", "replaced", "rule_id", "place", "word"),
    [
        ("version = 1", "version = 1.0", "model-value", (1, 11), "whole number"),
        ("version = 1", "version = true", "model-value", (1, 11), "whole number"),
        ("version = 1", "x = 1", "model-missing-key", (1, 1), "version"),
        ('name = "Example"', "name = 1", "model-value", (4, 8), "text"),
        ('owner = "team:data"', 'ownr = "x"', "model-unknown-key", (5, 1), "owner"),
        ("[cache]", "[cahce]", "model-unknown-key", (8, 2), "cache"),
        ('max_size = "2.5 GiB"', 'max_size = "lots"', "model-value", (9, 12), "size"),
        ('max_size = "2.5 GiB"', "max_size = -1", "model-value", (9, 12), "size"),
        ('remote = "s3://bucket/prefix"', 'remote = "s3://me:secret@host/x"', "model-value", (10, 10), "password"),
        ('remote = "s3://bucket/prefix"', 'remote = "s3://me@host/x"', "model-value", (10, 10), "name or password"),
        ('kind = "tables"', "", "model-missing-key", (12, 9), "kind"),
        ('path = "data/city"', 'path = "../city"', "model-value", (14, 8), ".."),
        ('path = "data/city"', 'path = "/city"', "model-value", (14, 8), "absolute"),
        ('confirm = "never"', 'confirm = "maybe"', "model-value", (15, 11), "always"),
        ('verify = "0 3 * * 0"', 'verify = "daily"', "model-value", (19, 10), "fields"),
    ],
)
def test_what_is_wrong_in_headwater_toml_has_a_place(
    line: str, replaced: str, rule_id: str, place: tuple[int, int], word: str
) -> None:
    with pytest.raises(InvalidText) as caught:
        read_workspace(FULL.replace(line, replaced).encode())
    finding = next(finding for finding in caught.value.findings if finding.rule == rule_id)
    assert (finding.line, finding.column) == place
    assert word in f"{finding.message} {finding.fix}"
    assert "secret" not in finding.render() + str(finding.to_json())


def test_all_findings_come_at_once() -> None:
    text = FULL.replace("name =", "nam =").replace("kind =", "knd =").replace("verify =", "verfy =")
    with pytest.raises(InvalidText) as caught:
        read_workspace(text.encode())
    assert sorted(finding.fix or "" for finding in caught.value.findings) == [
        "add kind",
        "write kind",
        "write name",
        "write verify",
    ]


def test_a_newer_headwater_toml_is_refused() -> None:
    with pytest.raises(NewerFormat) as caught:
        read_workspace(b"version = 2\nwhatever = 1\n")
    assert caught.value.line == 1


@pytest.mark.parametrize("file", FILES)
def test_schemas_are_schemas(file: str) -> None:
    schema = json_schema(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:{FILES[file][0]}"
    assert json.loads(schema_text(file)) == schema


def _validator(file: str) -> Any:
    return jsonschema.Draft202012Validator(json_schema(file))


def test_the_workspace_schema_agrees_with_the_model() -> None:
    validator = _validator("headwater.toml")
    assert not list(validator.iter_errors(toml_text.read(FULL.encode(), "p").value))
    for line, replaced in [
        ("version = 1", "version = 2"),
        ("[cache]", "[cahce]"),
        ('kind = "tables"', ""),
        ('"never"', '"maybe"'),
    ]:
        document: Document = toml_text.read(FULL.replace(line, replaced).encode(), "p")
        assert list(validator.iter_errors(document.value))


def test_the_project_schema_takes_the_examples() -> None:
    validator = _validator("project.yaml")
    projects = sorted((Path(__file__).parents[2] / "examples").rglob("project.yaml"))
    for path in projects:
        assert not list(validator.iter_errors(yaml_text.read(path.read_bytes(), path.name).value))
    assert list(validator.iter_errors({"version": 1, "tabels": {}}))
