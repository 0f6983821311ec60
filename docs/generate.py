"""Writes docs/reference/{commands,settings,project-yaml,rules,assets}.md and the JSON Schemas in docs/schemas/ from what the code
declares.

    python docs/generate.py           write the pages that are out of date
    python docs/generate.py --check   exit with 1 when one is

The pages are committed, so that they can be read without building anything; tests/test_docs.py holds them to the code. Nothing
belongs here that is not taken from a declaration: prose goes into the guides.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

REFERENCE = Path(__file__).parent / "reference"
SCHEMAS = Path(__file__).parent / "schemas"
GLOBAL_OPTIONS = ("root", "json", "no_color", "debug", "help")
ENVIRONMENT = {
    "HEADWATER_ROOT": "The workspace to work on, as with `-C`: a path in it, or a URL. The Dagster definitions read it too.",
    "HEADWATER_CACHE_DIR": "Where Headwater keeps what belongs to no workspace folder: the state of plain folders and URL roots.",
    "HEADWATER_REMOTE_CACHE": "The remote of the build cache, instead of `[cache] remote`.",
    "HEADWATER_CACHE_MODE": "`read` or `write`, instead of `[cache] mode`: whether builds put their results on the remote.",
    "HEADWATER_TOKEN": "The token for an object server that the command line or HEADWATER_REMOTE_CACHE names.",
    "HEADWATER_TOKENS": "The file with the tokens of object servers, instead of the one in your configuration folder.",
    "HEADWATER_ALLOW_HTTP": "`1` lets tokens and bytes go to other machines over plain http, in a network that you trust.",
    "HEADWATER_ACTOR": "Who new records of `history.log` name; git's user.name or the login name where it is not set.",
    "DAGSTER_HOME": "The Dagster home, instead of `.headwater/local/dagster`.",
    "NO_COLOR": "Any value: print without colours.",
}
"""The environment variables that Headwater itself reads, with their meaning."""
_GENERATED = "<!-- Written by docs/generate.py; change the code and run it again. -->\n"


def pages() -> dict[Path, str]:
    """Every generated page and its text."""
    return {
        REFERENCE / "commands.md": commands_page(),
        REFERENCE / "settings.md": settings_page(),
        REFERENCE / "project-yaml.md": project_page(),
        REFERENCE / "rules.md": rules_page(),
        REFERENCE / "assets.md": assets_page(),
    }


def editor_schemas() -> dict[Path, str]:
    """The JSON Schema of every file that people edit by hand, for editors, and its text."""
    from schemas.json_schema import FILES, schema_text

    return {SCHEMAS / f"{name}.schema.json": schema_text(name) for name in FILES}


# -- commands


def walk(
    command: click.Command, path: str, parent: click.Context | None = None
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """Every visible command below `command` with its full name, groups before their members."""
    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=parent)
    yield path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, f"{path} lists {name} but cannot load it"
            if not found.hidden:
                yield from walk(found, f"{path} {name}", context)


def all_commands() -> list[tuple[str, click.Command, click.Context]]:
    """Every command of the command line."""
    from orchestration.cli.app import cli

    return list(walk(cli, "headwater"))


def own_options(command: click.Command) -> list[click.Option]:
    """The options of a command that not every command has."""
    return [
        parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.name not in GLOBAL_OPTIONS and not parameter.hidden
    ]


def commands_page() -> str:
    """Every command, its arguments and options."""
    lines = [
        "# Commands",
        _GENERATED,
        "Every command also takes these options, before or after its name:",
        "",
        *_option_table([p for p in all_commands()[0][1].params if isinstance(p, click.Option) and p.name in GLOBAL_OPTIONS]),
        "",
        'With `--json`, stdout holds JSON lines and nothing else: one object per record, and `{"error": {…}}` as the last line',
        "when the command failed. Selections are globs on `kind/store/artifact`; `+x` adds what x is built from, `x+` what is",
        "built from it.",
        "",
        "| exit code | means |",
        "|---|---|",
        "| 0 | it worked |",
        "| 1 | the operation failed |",
        "| 2 | the command was called in a way that cannot work |",
        "| 3 | authoritative text is invalid |",
        "| 4 | `status --exit-code` found something that is not fresh |",
        "| 130, 141, 143 | interrupted; whoever read the output went away; terminated |",
        "",
    ]
    for path, command, context in all_commands()[1:]:
        depth = "#" * min(path.count(" ") + 1, 4)
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        lines += [f"{depth} {path}", "", "```text", usage, "```", "", *_prose(command.help or ""), ""]
        options = own_options(command)
        if options:
            lines += [*_option_table(options), ""]
    return "\n".join(lines).rstrip() + "\n"


def _option_table(options: list[click.Option]) -> list[str]:
    rows = ["| option | does |", "|---|---|"]
    for option in options:
        names = ", ".join([*option.opts, *option.secondary_opts])
        if not option.is_flag:
            kind = option.metavar or (
                "|".join(map(str, option.type.choices)) if isinstance(option.type, click.Choice) else option.type.name.upper()
            )
            names += f" {kind}"
        default = ""
        if option.show_default and option.default is not None and not option.is_flag:
            default = f" Default: {_number(option.default)}."
        names = names.replace("|", "\\|")
        rows.append(f"| `{names}` | {_cell(option.help or '')}{default} |")
    return rows


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _prose(text: str) -> list[str]:
    """A docstring as Markdown paragraphs; what click keeps verbatim (after a line of \\b) becomes a code block."""
    lines: list[str] = []
    for block in text.replace("\r", "").strip().split("\n\n"):
        body = block.split("\n")
        if body[0].strip() == "\b":
            lines += ["```text", *body[1:], "```", ""]
        else:
            lines += [" ".join(line.strip() for line in body), ""]
    return lines[:-1]


def _cell(text: object) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


# -- settings


def setting_rows() -> list[tuple[str, str, str]]:
    """(name, default, meaning) of everything that can be set in headwater.toml."""
    from schemas.workspace import WorkspaceConfig

    return list(_model_rows(WorkspaceConfig, ""))


def _model_rows(model: Any, prefix: str) -> Iterator[tuple[str, str, str]]:
    from pydantic import BaseModel

    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner = [kind for kind in _arguments(field.annotation) if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if inner:
            is_map = "dict" in str(field.annotation).lower() or "mapping" in str(field.annotation).lower()
            yield from _model_rows(inner[0], f'{key}."<name>".' if is_map else f"{key}.")
            continue
        default = "" if field.is_required() else _default(field.get_default(call_default_factory=True))
        yield key, default, field.description or ""


def _arguments(annotation: Any) -> Iterator[Any]:
    yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _arguments(argument)


def _default(value: object) -> str:
    if value is None or value in ((), [], {}):
        return ""
    return f"`{value}`"


def settings_page() -> str:
    """headwater.toml, settings per kind, run config, environment."""
    from assets.engine.definitions.session import BuildConfig
    from assets.registry import KINDS

    lines = ["# Settings", _GENERATED, "## headwater.toml", ""]
    lines += [
        "Editors complete and check the file as you type with the JSON Schema `docs/schemas/headwater.toml.schema.json`. Taplo",
        "and Even Better TOML take it from a first line `#:schema PATH`.",
        "",
        "| key | default | meaning |",
        "|---|---|---|",
    ]
    lines += [f"| `{key}` | {_cell(default)} | {_cell(meaning)} |" for key, default, meaning in setting_rows()]
    for kind in KINDS.values():
        if kind.settings:
            lines += [
                "",
                f"## Settings of a {kind.name} store",
                "",
                f'Under `[stores."<name>".settings]` of a store of kind `{kind.name}`.',
                "",
            ]
            lines += ["| key | default | meaning |", "|---|---|---|"]
            for setting in kind.settings:
                choices = f" One of {', '.join(f'`{choice}`' for choice in setting.choices)}." if setting.choices else ""
                lines.append(f"| `{setting.name}` | {_cell(_default(setting.default))} | {_cell(setting.help)}{choices} |")
    lines += [
        "",
        "## Run config",
        "",
        "What the Dagster launchpad takes for every artifact:",
        "",
        "| key | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in BuildConfig.model_fields.items():
        default = _default(field.get_default(call_default_factory=True))
        lines.append(f"| `{name}` | {_cell(default)} | {_cell(field.description or '')} |")
    lines += ["", "## Environment", "", "| variable | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(meaning)} |" for name, meaning in ENVIRONMENT.items()]
    return "\n".join(lines) + "\n"


# -- project.yaml


def project_parts() -> list[tuple[str, str, type[Any]]]:
    """(heading, where its mapping stands, model) for every mapping of project.yaml."""
    from schemas.tables import model

    return [
        ("The file", "", model.Project),
        ("project", "`project`", model.About),
        ("format", "`format`", model.Format),
        ("Tables", "`tables.<table>`", model.Table),
        ("Columns", "`tables.<table>.columns.<column>`", model.Column),
        ("Computed defaults", "`tables.<table>.columns.<column>.default`", model.Computed),
        ("Indexes", "`tables.<table>.indexes.<index>`", model.Index),
        ("Relationships", "`relationships.<relationship>`", model.Relationship),
        ("Ends of a relationship", "`relationships.<relationship>.from` and `.to`", model.Endpoint),
        ("Views", "`views.<view>`", model.View),
    ]


def project_page() -> str:
    """Every key and type of a tables project."""
    from schemas.tables.spelling import EXAMPLES
    from schemas.tables.types import TYPE_NAMES, parse_type

    lines = [
        "# project.yaml",
        _GENERATED,
        "Every key of a tables project. Keys that begin with `x-` are yours: they are kept and mean nothing. Any other unknown",
        "key is an error.",
        "",
        "Editors complete and check the file as you type with the JSON Schema `docs/schemas/project.yaml.schema.json`. The YAML",
        "language server takes it from a first line `# yaml-language-server: $schema=PATH`.",
    ]
    for heading, place, model in project_parts():
        lines += ["", f"## {heading}", ""]
        if place:
            lines += [f"At {place}.", ""]
        lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
        schema = model.model_json_schema(by_alias=True)
        for name, field in model.model_fields.items():
            key = field.alias or name
            default = "required" if field.is_required() else _key_default(field)
            value = _shape(schema["properties"][key])
            lines.append(f"| `{key}` | {_cell(value)} | {_cell(default)} | {_cell(field.description or '')} |")
    lines += ["", "## Types", "", "| type | a cell | SQLite | DuckDB | Arrow | Table Schema |", "|---|---|---|---|---|---|"]
    for name in TYPE_NAMES:
        kind = parse_type("decimal(10,2)" if name == "decimal" else name, ("draft", "sent"))
        standard = kind.table_schema
        form = f" ({standard['format']})" if "format" in standard else ""
        engines = f"`{kind.sqlite}` | `{kind.duckdb}` | `{kind.arrow}` | {standard['type']}{form}"
        lines.append(f"| `{kind.name}` | `{EXAMPLES[name]}` | {engines} |")
    return "\n".join(lines) + "\n"


def _key_default(field: Any) -> str:
    value = field.get_default(call_default_factory=True)
    if value == "":
        return "empty"
    return f"`{str(value).lower()}`" if isinstance(value, str | bool) else ""


def _shape(schema: dict[str, Any]) -> str:
    """The values a key takes, in a few words."""
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" if value != "" else 'empty (`""`)' for value in schema.get("enum", [schema.get("const")]))
    if "$ref" in schema:
        return "mapping"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_shape(option) for option in schema["anyOf"] if option.get("type") != "null"))
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false", "object": "mapping"}
    if schema.get("type") == "array":
        return f"list of {_shape(schema['items'])}"
    return words.get(str(schema.get("type")), "")


# -- rules


def load_rules() -> None:
    """Import every module that may register a rule."""
    for package in ("schemas", "resources", "assets"):
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if "definitions" not in module.name and module.name != "resources.dagster":
                importlib.import_module(module.name)


def rules_page() -> str:
    """Every rule of the text."""
    from schemas.findings import RULES

    load_rules()
    lines = [
        "# Rules of the text",
        _GENERATED,
        "What `headwater check` looks for. An **error** keeps every artifact that reads the file from being built; a warning or",
        "an information blocks nothing.",
        "",
        "| rule | severity | says |",
        "|---|---|---|",
    ]
    lines += [f"| `{rule.id}` | {rule.severity} | {_cell(rule.title)} |" for _, rule in sorted(RULES.items())]
    return "\n".join(lines) + "\n"


# -- assets


def assets_page() -> str:
    """Sources, artifacts and checks of every kind, and what else it brings."""
    from assets.engine.definitions.checks import CHECKS
    from assets.registry import KINDS
    from orchestration.graph import ADDITIONS

    lines = [
        "# Assets",
        _GENERATED,
        "What each kind of store has, in Dagster under the key `kind/store/source/…` or `kind/store/artifact`.",
        "",
    ]
    for kind in KINDS.values():
        lines += [f"## {kind.name}", "", f"{kind.title}.", ""]
        if kind.sources:
            lines += ["| source | files | holds |", "|---|---|---|"]
            for source in kind.sources:
                files = ", ".join(f"`{glob}`" for glob in source.include)
                lines.append(f"| `{source.name}` | {files} | {_cell(source.description)} |")
            lines.append("")
        for recipe in kind.recipes:
            lines += [f"### {kind.name}/…/{recipe.name}", "", _cell(recipe.description), ""]
            inputs = ", ".join(
                f"source `{entry.source}`"
                if entry.source
                else f"artifact `{entry.artifact}`"
                if entry.artifact
                else f"every {entry.everything}"
                for entry in recipe.inputs
            )
            outputs = ", ".join(f"`{output.path}{'/' if output.folder else ''}` ({_place(output)})" for output in recipe.outputs)
            lines += ["| | |", "|---|---|", f"| reads | {inputs} |", f"| writes | {outputs} |"]
            lines += [f"| recipe version | {recipe.version} |", f"| two builds are | {recipe.reproducibility} |"]
            lines += [f"| asks before replacing its older output | {recipe.confirm} |"]
            if recipe.libraries:
                lines.append(f"| libraries in the fingerprint | {', '.join(recipe.libraries)} |")
            lines.append("")
        if kind.name in ADDITIONS:
            lines += _additions(kind, importlib.import_module(ADDITIONS[kind.name]))
    lines += ["## Checks", "", "Every store has these asset checks:", "", "| check | proves |", "|---|---|"]
    lines += [f"| `{name}` | {_cell(meaning)} |" for name, meaning in CHECKS.items()]
    return "\n".join(lines) + "\n"


def _additions(kind: Any, module: Any) -> Iterator[str]:
    """What a kind brings besides sources and artifacts, one table each."""
    from assets.engine.definitions.additions import Setting
    from assets.engine.model import Store

    store = Store(kind.name, "…", "")
    made = module.additions(Setting(kind, [store], facts={store.name: module.SAMPLE_FACTS}))
    tables: dict[tuple[str, str], list[tuple[str, str]]] = {
        ("Looked at, never built", "asset | shows"): [
            ("/".join([kind.name, "…", *spec.key.path[2:]]), spec.description or "") for spec in made.specs
        ],
        ("More checks", "check | proves"): [
            (spec.name, spec.description or "") for checks in made.checks for spec in checks.check_specs
        ],
        ("Jobs", "job | does"): [(job.name, f"{job.description}{_run_config(job)}") for job in made.jobs],
        ("Schedules", "schedule | does"): [(one.name, f"{one.description} (`{one.cron_schedule}`)") for one in made.schedules],
        ("Sensors", "sensor | does"): [(one.name, one.description or "") for one in made.sensors],
    }
    for (title, head), rows in tables.items():
        if rows:
            yield from (f"### {title} ({kind.name})", "", f"| {head} |", "|---|---|")
            yield from (f"| `{name}` | {_cell(meaning)} |" for name, meaning in rows)
            yield ""


def _run_config(job: Any) -> str:
    """The run config of a job's step, as sentences."""
    fields = {name: field for node in job.nodes for name, field in node.definition.config_schema.config_type.fields.items()}
    said = " ".join(f"`{name}`: {field.description}" for name, field in sorted(fields.items()))
    return f" Run config: {said}" if said else ""


def _place(output: Any) -> str:
    return "in the store" if str(output.place) == "store" else "in `.headwater/`"


def main(arguments: list[str]) -> int:
    """Write or check the pages."""
    texts = pages() | editor_schemas()
    stale = [path for path, text in texts.items() if not path.exists() or path.read_text("utf-8") != text]
    if arguments == ["--check"]:
        for path in stale:
            print(f"{path.name} is out of date; run python docs/generate.py", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(texts[path], "utf-8")
        print(f"wrote {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
