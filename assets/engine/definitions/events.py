"""Says what happened to Dagster: the events of sources and artifacts, their versions and their metadata.

What is built is decided elsewhere; an event carries only what the engine knows, and never a time of its own.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.engine.definitions.keys import Artifact, artifact_key, source_key, upstream_of
from assets.engine.definitions.session import DATA_VERSION, BuildSession
from assets.engine.model import Outcome, Ref, Result, Store
from schemas.errors import HeadwaterError, InvalidText

if TYPE_CHECKING:
    from assets.engine.provenance import Provenance
    from assets.engine.scan import SourceState
    from schemas.findings import Finding

PICTURE_LIMIT = 256 * 1024
"""Bytes of one picture that still go into an event; larger ones are named by their path only."""
FILE_ROWS = 100
"""Files of a source that its metadata table lists; the rest is in the manifest and in the catalog."""

_CODE_VERSION = "dagster/code_version"
_INPUT_VERSION = "dagster/input_data_version/"
_INPUT_POINTER = "dagster/input_event_pointer/"
_USER_PROVIDED = "dagster/is_user_provided"
Present = Callable[[Store, Outcome], Mapping[str, Any]]
"""What a kind adds to the metadata of its materializations."""


def materialization(session: BuildSession, artifact: Artifact, present: Present | None = None) -> dg.AssetMaterialization | None:
    """What provenance says about an artifact, as an event for reporting it without a run; None when it was never built."""
    record = session.engine.provenance(artifact.ref)
    if record is None:
        return None
    outcome = Outcome(
        artifact.ref,
        Result.FRESH,
        output_digest=record.output_digest,
        outputs=tuple(session.engine.places.spot(artifact.store, output.key).shown for output in record.outputs),
        summary=record.summary,
        reasons=("reported from provenance",),
        input_roots={role: one.root or one.digest for role, one in record.inputs.items()},
    )
    versions = _read_versions(session, artifact, outcome.input_roots)
    tags = {DATA_VERSION: record.output_digest, _USER_PROVIDED: "true", _CODE_VERSION: record.code_version}
    for key, version in versions.items():
        tags |= _input_tags(key, version)
    return dg.AssetMaterialization(
        asset_key=artifact_key(artifact.ref), tags=tags, metadata=_outcome_metadata(session, artifact, outcome, versions, present)
    )


def source_event(state: SourceState, previous_root: str | None = None) -> dg.AssetMaterialization:
    """The event that reports a source as it is now: its root as data version, its files as a table."""
    shown = [dg.TableRecord({"file": path, "bytes": size, "oid": oid}) for path, oid, size in state.files[:FILE_ROWS]]
    schema = dg.TableSchema([dg.TableColumn("file"), dg.TableColumn("bytes", "int"), dg.TableColumn("oid")])
    metadata: dict[str, Any] = {
        "root": state.root,
        "file_count": len(state.files),
        "bytes": sum(size for _, _, size in state.files),
        "files": dg.MetadataValue.table(shown, schema=schema),
    }
    if previous_root:
        metadata["previous_root"] = previous_root
    return dg.AssetMaterialization(
        asset_key=source_key(state.ref), metadata=metadata, tags={DATA_VERSION: state.root, _USER_PROVIDED: "true"}
    )


def sources_of(session: BuildSession, store: Store) -> list[SourceState]:
    """The store's sources as they are now; none for a store that has vanished or cannot be read, which its checks show."""
    if not store.present:
        return []
    try:
        return session.engine.sources(store)
    except (HeadwaterError, OSError):
        return []


def report_sources(
    session: BuildSession, instance: dg.DagsterInstance, stores: Iterable[Store], defined: Collection[dg.AssetKey] | None = None
) -> list[Ref]:
    """Report the sources of `stores` whose root is not the one Dagster holds, as runless events; returns those reported.

    A store that has vanished is left alone: it keeps its last version. `defined` leaves out assets the code location does not
    know.
    """
    states = [state for store in stores for state in sources_of(session, store)]
    states = [state for state in states if defined is None or source_key(state.ref) in defined]
    known = session.known_versions(instance, [source_key(state.ref) for state in states])
    reported = []
    for state in states:
        key = source_key(state.ref)
        if known[key] != state.root:
            instance.report_runless_asset_event(source_event(state, known[key]))
            session.versions[key] = state.root
            reported.append(state.ref)
    return reported


def _read_versions(session: BuildSession, artifact: Artifact, roots: Mapping[str, str]) -> dict[dg.AssetKey, str]:
    """The data version of each input as it was read: the role's root where that is one, else what the engine saw for that
    build."""
    versions: dict[dg.AssetKey, str] = {}
    scanned: dict[Ref, str] = {}
    stores = {(store.kind, store.name): store for store in session.engine.stores()}
    for upstream in artifact.upstream:
        version: str | None
        if upstream.whole:
            version = roots.get(upstream.role)
        elif upstream.is_source:
            owner = stores.get((upstream.ref.kind, upstream.ref.store))
            if upstream.ref not in scanned and owner is not None:
                scanned |= {state.ref: state.root for state in sources_of(session, owner)}
            version = scanned.get(upstream.ref)
        else:
            record = session.engine.provenance(upstream.ref)
            version = record.output_digest if record else None
        if version is not None:
            versions[upstream.key] = version
    return versions


def _input_tags(key: dg.AssetKey, version: str) -> dict[str, str]:
    """The tags by which an event names the version of an input. Dagster would write the version of the latest event when the step
    began, which need not be what was read; for the same reason the pointer to that event is left empty."""
    name = key.to_user_string()
    return {_INPUT_VERSION + name: version, _INPUT_POINTER + name: "NULL"}


def materialized(
    session: BuildSession, instance: dg.DagsterInstance, artifact: Artifact, outcome: Outcome, present: Present | None
) -> dg.MaterializeResult[Any]:
    """The result of a step whose artifact is now current, with the versions that were read."""
    versions = _read_versions(session, artifact, outcome.input_roots)
    _report_unknown(session, instance, artifact, versions)
    tags: dict[str, str] = {}
    for key, version in versions.items():
        tags |= _input_tags(key, version)
    digest = outcome.output_digest or ""
    session.versions[artifact_key(artifact.ref)] = digest
    return dg.MaterializeResult(
        data_version=dg.DataVersion(digest),
        metadata=_outcome_metadata(session, artifact, outcome, versions, present),
        tags=tags,
    )


def _report_unknown(
    session: BuildSession, instance: dg.DagsterInstance, artifact: Artifact, versions: Mapping[dg.AssetKey, str]
) -> None:
    """Report the inputs whose version Dagster has not seen: a run launched from the UI reports no sources first, text is edited
    while a run goes on, and the engine builds a stale upstream artifact that is not part of the run."""
    known = session.known_versions(instance, list(versions))
    unknown = [upstream.ref for upstream in artifact.upstream if versions.get(upstream.key) != known.get(upstream.key)]
    sources = {(upstream.ref.kind, upstream.ref.store) for upstream in artifact.upstream if upstream.is_source}
    touched = {(ref.kind, ref.store) for ref in unknown} & sources
    if touched:
        report_sources(session, instance, [store for store in session.engine.stores() if (store.kind, store.name) in touched])
    for upstream in artifact.upstream:
        if not upstream.is_source and upstream.ref in unknown:
            event = materialization(session, artifact_of(session, upstream.ref))
            if event is not None:
                instance.report_runless_asset_event(event)
                session.versions[upstream.key] = versions[upstream.key]


def artifact_of(session: BuildSession, ref: Ref) -> Artifact:
    """The artifact of a reference, for a recipe that reads only its own store."""
    store, recipe = session.engine.store(ref), session.engine.recipe(ref)
    return Artifact(store, session.engine.kinds[ref.kind], recipe, upstream_of(store, recipe))


def _outcome_metadata(
    session: BuildSession,
    artifact: Artifact,
    outcome: Outcome,
    versions: Mapping[dg.AssetKey, str],
    present: Present | None,
) -> dict[str, Any]:
    """What people find on the page of a materialization."""
    record = session.engine.provenance(artifact.ref)
    summary = outcome.summary
    metadata: dict[str, Any] = {"outcome": str(outcome.result), "seconds": round(outcome.seconds, 3)}
    if outcome.reasons:
        metadata["why"] = _list(outcome.reasons)
    metadata |= dict(summary.get("counts", {}))
    metadata |= {f"picture: {name}": _picture(name, data) for name, data in _pictures(session, artifact, outcome).items()}
    metadata |= {f"table: {name}": _table(table) for name, table in summary.get("tables", {}).items()}
    metadata |= {f"text: {name}": dg.MetadataValue.md(text) for name, text in summary.get("markdown", {}).items()}
    if present is not None:
        metadata |= present(artifact.store, outcome)
    metadata["outputs"] = _list(f"`{path}`" for path in outcome.outputs)
    read = [
        dg.TableRecord({"role": upstream.role, "asset": upstream.key.to_user_string(), "version": versions.get(upstream.key, "")})
        for upstream in artifact.upstream[:FILE_ROWS]
    ]
    columns = [dg.TableColumn(name) for name in ("role", "asset", "version")]
    metadata["inputs"] = dg.MetadataValue.table(read, schema=dg.TableSchema(columns))
    if record:
        metadata |= {"fingerprint": record.fingerprint, "made by": _made_by(record)}
    return metadata


def _made_by(record: Provenance) -> str:
    said = _MADE_BY.get(record.how, record.how)
    return said if record.origin in (None, "local") else f"{said}, from {record.origin}"


_MADE_BY = {
    "built": "a build",
    "folded": "folding in what changed",
    "restored": "the build cache",
    "adopted": "adoption of what was there",
}


def _list(lines: Iterable[str]) -> dg.MarkdownMetadataValue:
    return dg.MetadataValue.md("\n".join(f"- {line}" for line in lines))


def _table(table: Mapping[str, Any]) -> dg.TableMetadataValue:
    """A summary table as Dagster shows it; cells it cannot hold become text."""
    columns = [str(column) for column in table["columns"]]
    records = [dg.TableRecord({name: _cell(cell) for name, cell in zip(columns, row, strict=True)}) for row in table["rows"]]
    return dg.MetadataValue.table(records, schema=dg.TableSchema([dg.TableColumn(name) for name in columns]))


def _cell(cell: Any) -> str | int | float | bool | None:
    return cell if cell is None or isinstance(cell, str | int | float | bool) else str(cell)


def _pictures(session: BuildSession, artifact: Artifact, outcome: Outcome) -> Mapping[str, bytes]:
    """The pictures of a build, or, when nothing was built, those among the outputs: the newest event shows them too."""
    if outcome.pictures:
        return outcome.pictures
    record = session.engine.provenance(artifact.ref)
    found: dict[str, bytes] = {}
    for output in record.outputs if record else ():
        if output.path.endswith((".svg", ".png")) and output.size <= PICTURE_LIMIT:
            spot = session.engine.places.file_spot(artifact.store, output.key, output.oid)
            try:
                found[output.path.rpartition("/")[2]] = spot.storage.read(spot.path, limit=PICTURE_LIMIT)
            except (HeadwaterError, OSError):
                continue
    return found


def _picture(name: str, data: bytes) -> dg.MarkdownMetadataValue:
    """A picture inside Markdown, which is how Dagster shows one."""
    if len(data) > PICTURE_LIMIT:
        return dg.MetadataValue.md(f"{name}: {len(data):,} bytes, too large to show here")
    media = "image/png" if data.startswith(b"\x89PNG") else "image/svg+xml"
    return dg.MetadataValue.md(f"![{name}](data:{media};base64,{base64.b64encode(data).decode()})")


def failure(ref: Ref, outcome: Outcome) -> dg.Failure:
    """The failure that the UI shows: what is wrong, what to do, and for a refusal the difference and the run config to paste."""
    error = outcome.error
    text = str(error) if error is not None else "; ".join(outcome.reasons) or str(outcome.result)
    metadata: dict[str, Any] = {"outcome": str(outcome.result)}
    if isinstance(error, InvalidText):
        metadata["findings"] = findings_table(error.findings)
    plan, difference = getattr(error, "plan", None), getattr(error, "difference", None)
    if plan is not None and difference is not None:
        metadata["difference"] = dg.MetadataValue.md("\n".join(["```", difference.headline, *difference.lines, "```"]))
    config = getattr(error, "run_config", None)
    if config is not None:
        text += f"\n  or paste this run config in the launchpad:\n{config}"
        metadata["run config"] = dg.MetadataValue.md(f"```yaml\n{config}\n```")
    return dg.Failure(description=f"{ref} is {outcome.result}: {text}", metadata=metadata, allow_retries=False)


def findings_table(findings: Sequence[Finding]) -> dg.TableMetadataValue:
    columns = ("place", "severity", "rule", "message", "fix")
    records = [
        dg.TableRecord(
            {
                "place": ":".join(str(part) for part in (found.path, found.line, found.column) if part is not None),
                "severity": str(found.severity),
                "rule": found.rule,
                "message": found.message,
                "fix": found.fix or "",
            }
        )
        for found in findings[:FILE_ROWS]
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema([dg.TableColumn(name) for name in columns]))
