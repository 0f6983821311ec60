"""`headwater.toml`: what a workspace says about itself. The model, its rules, and reading it with positions.

The light path reads the file through `resources.config`, which keeps the outcome; this module is what judges it.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from schemas import toml_text
from schemas.errors import HeadwaterError, NewerFormat
from schemas.models import validate
from schemas.paths import check_path

FILE = "headwater.toml"
VERSION = 1

_CRON_FIELD = re.compile(r"[\w*/,-]+\Z")
_SIZE = re.compile(r"\s*[0-9]+(\.[0-9]+)?\s*(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?\s*\Z")
_URL_CREDENTIALS = re.compile(r"[a-z][a-z0-9+.-]*://[^/@]*@", re.IGNORECASE)


def _relative(path: str) -> str:
    try:
        return path if path == "." else check_path(path.removesuffix("/"), portable=False)
    except HeadwaterError as error:
        raise ValueError(error.message) from None


def _size(size: int | str) -> int | str:
    if (isinstance(size, int) and size < 0) or (isinstance(size, str) and not _SIZE.match(size)):
        raise ValueError("it is not a size; write bytes, or a number with a unit such as '10 GiB'")
    return size


def _cron(text: str) -> str:
    fields = text.split()
    if text.startswith("@"):
        if text not in ("@hourly", "@daily", "@weekly", "@monthly", "@yearly"):
            raise ValueError(f"{text} is not a schedule")
        return text
    if len(fields) != 5 or not all(_CRON_FIELD.match(field) for field in fields):
        raise ValueError("a schedule has five fields: minute, hour, day, month, weekday")
    return text


def _no_credentials(url: str) -> str:
    if _URL_CREDENTIALS.match(url):
        raise ValueError(
            "the URL holds a name or password; give them through the environment or the provider's own configuration"
        )
    return url


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class WorkspaceSection(_Table):
    """`[workspace]`."""

    name: str | None = Field(default=None, description="A name for people, shown in the UI.", min_length=1, max_length=200)
    owner: str | None = Field(
        default=None,
        description="Who answers for the workspace: an e-mail address or `team:name`, shown on every asset.",
        max_length=200,
    )
    exclude: list[str] = Field(default_factory=list, description="Globs of folders in which no stores are looked for.")


class CacheSection(_Table):
    """`[cache]`."""

    max_size: Annotated[int | str, AfterValidator(_size)] = Field(
        default="10 GiB", description="How much the local build cache may hold: bytes, or a number with a unit such as `10 GiB`."
    )
    remote: Annotated[str, AfterValidator(_no_credentials)] | None = Field(
        default=None,
        description="Where results are shared: a path, an fsspec URL such as `s3://bucket/prefix`, or an object server (`https://…`).",
    )
    mode: Literal["read", "write"] | None = Field(
        default=None,
        description="Whether builds only take results from the remote (`read`, the default) or put theirs there too (`write`).",
    )


class ArtifactSection(_Table):
    """`[artifacts."<glob over kind/store/artifact>"]`."""

    cache: Literal["copy", "reflink", "reference", "none"] | None = Field(
        default=None,
        description=(
            "How the build cache keeps the results: `copy` (the default), `reflink` (a copy that shares its blocks with the "
            "artifact, `reference` where the file system cannot), `reference` (the published file stands for itself and is "
            "verified when it is used), `none`."
        ),
    )


class StoreSection(_Table):
    """`[stores."<name>"]`."""

    kind: str = Field(description="The kind of store, such as `tables`.", min_length=1)
    path: Annotated[str, AfterValidator(_relative)] = Field(
        default=".", description="The store's folder, relative to the workspace; the root when not given."
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="Settings of the kind.")
    confirm: Literal["always", "never"] | None = Field(
        default=None, description="Whether replacing an artifact of ours asks first; the kind's default when not given."
    )


class ScheduleSection(_Table):
    """`[schedule]`."""

    verify: Annotated[str, AfterValidator(_cron)] | None = Field(
        default=None, description="When `verify` rebuilds a sample and compares: a cron expression, such as `0 3 * * 0`."
    )
    scrub: Annotated[str, AfterValidator(_cron)] | None = Field(
        default=None,
        description="When objects of versioned data are read back, oldest proof first: a cron expression, such as `0 2 * * *`.",
    )
    gc: Annotated[str, AfterValidator(_cron)] | None = Field(
        default=None,
        description=(
            "When it is planned which objects of versioned data may go; nothing is collected: a cron expression, such as "
            "`0 4 * * 0`."
        ),
    )


class WorkspaceConfig(_Table):
    """The whole of `headwater.toml`."""

    version: int = Field(ge=VERSION, le=VERSION, description="The version of this file's format; always 1.")
    workspace: WorkspaceSection = Field(default_factory=WorkspaceSection, description="The workspace itself.")
    cache: CacheSection = Field(default_factory=CacheSection, description="The build cache.")
    stores: dict[str, StoreSection] = Field(default_factory=dict, description="Stores that are named or set up here.")
    artifacts: dict[str, ArtifactSection] = Field(
        default_factory=dict, description="Settings of artifacts; the last that fits counts."
    )
    schedule: ScheduleSection = Field(default_factory=ScheduleSection, description="What runs by the clock.")


def read_workspace(data: bytes, path: str = FILE) -> WorkspaceConfig:
    """Read `headwater.toml`. Raises InvalidText with every finding at its line and column, NewerFormat for a later version."""
    document = toml_text.read(data, path)
    value = document.value
    version = value.get("version") if isinstance(value, dict) else None
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        line, column = document.position(("version",))
        raise NewerFormat(
            f"headwater.toml has version {version}; this Headwater reads up to {VERSION}",
            rule="format-newer",
            path=path,
            line=line,
            column=column,
            fix="install a newer Headwater; the file was left as it is",
        )
    return validate(WorkspaceConfig, document)
