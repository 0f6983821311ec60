"""What the object server's routes take and answer, as an OpenAPI description. `docs/guides/object-server.md` explains them."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from resources.server.frames import MEDIA_TYPE
from resources.server.settings import Settings

_DIGITS: Final = {"blake3": 64, "sha256": 64, "xxh3": 16}
_OID: Final = "^(blake3:[0-9a-f]{64}|sha256:[0-9a-f]{64}|xxh3:[0-9a-f]{16})$"
_FINGERPRINT: Final = "^(blake3:)?[0-9a-f]{64}$"
_WORDS: Final = {
    200: "Done.",
    201: "Kept; it was not here before.",
    204: "Removed.",
    206: "The bytes that were asked for.",
    304: "The client has it already.",
    400: "The request cannot be understood, or the bytes are not those the oid names.",
    401: "No token, or one that is not known.",
    403: "The token gives no such right, or the object is named by a hash that is not taken.",
    404: "It is not here.",
    405: "The method means nothing here.",
    408: "The body came too slowly.",
    413: "More than the server takes.",
    415: "The body has a type or an encoding that is not known here.",
    416: "The object has no such bytes.",
    429: "Too many wrong tokens came from this address.",
    503: "Too much is going on; come again.",
    507: "The storage is full.",
}
_ALWAYS: Final = (400, 401, 403, 429, 503)


def description(settings: Settings) -> dict[str, Any]:
    """The OpenAPI 3.1 document of a server with these settings."""
    oid = {"type": "string", "pattern": _OID}
    oids = {
        "type": "object",
        "required": ["oids"],
        "properties": {"oids": {"type": "array", "maxItems": 10_000, "items": oid}},
    }
    frames = {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
    object_path = [
        {
            "name": "algorithm",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "enum": sorted(_DIGITS)},
            "description": "The hash function of the oid.",
        },
        {
            "name": "digits",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^([0-9a-f]{64}|[0-9a-f]{16})$"},
            "description": "Its lower-case hexadecimal digits: 64, or 16 for xxh3.",
        },
    ]
    action_path = [
        {
            "name": "fingerprint",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": _FINGERPRINT},
            "description": "What the outputs were built from.",
        }
    ]
    raw = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
    record = {"content": {"application/json": {"schema": {"type": "object"}}}}
    if_none_match = _header("If-None-Match", "The ETag of what the client has.")
    ranges = [_header("Range", "One range, `bytes=a-b`, `bytes=a-` or `bytes=-n`."), _header("If-Range", "The ETag.")]
    encoding = _header("Content-Encoding", "`zstd` for a body of one Zstandard frame.")
    fingerprint = {"type": "string", "pattern": _FINGERPRINT}
    whole = {"type": "integer"}
    sized = _record(oid=oid, size={"type": ["integer", "null"]})
    kept = _json(_record(oid=oid, outcome=_enum("stored", "present")))
    put_record = _json(_record(fingerprint=fingerprint, outcome=_enum("stored", "replaced")))
    result = _record(oid=oid, outcome=_enum("stored", "present", "refused"))
    result["properties"]["error"] = {"type": "string"}
    limited: dict[int, dict[str, Any] | None] = {408: None, 413: None}
    stored: dict[int, dict[str, Any] | None] = limited | {507: None}
    paths = {
        "/objects/{algorithm}/{digits}": {
            "parameters": object_path,
            "head": _operation(
                "Whether an object is here, and its length.", "read", {200: {}, 304: {}, 404: {}}, [if_none_match], head=True
            ),
            "get": _operation(
                "The bytes of an object, verified.",
                "read",
                {200: raw, 206: raw, 304: {}, 404: None, 416: None},
                [*ranges, if_none_match],
            ),
            "put": _operation(
                f"Keep an object of at most {settings.max_upload} bytes; it is verified before it is visible.",
                "write",
                {200: kept, 201: kept, 415: None, **stored},
                [encoding],
                body=raw,
            ),
            "delete": _operation("Remove an object.", "delete", {204: {}, 404: None}),
        },
        "/objects": {
            "get": _operation(
                "The objects that are here, sorted by oid, in pages.",
                "read",
                {200: _json(_page("objects", sized, oid))},
                _paging(oid),
            )
        },
        "/objects/exists": {
            "post": _operation(
                "Which of many objects are here.",
                "read",
                {200: _json(_record(present=_array(sized))), **limited},
                body=_json(oids),
            )
        },
        "/objects/fetch": {"post": _operation("Many objects in one stream.", "read", {200: frames, **limited}, body=_json(oids))},
        "/objects/put": {
            "post": _operation(
                "Keep many objects from one stream.",
                "write",
                {200: _json(_record(results=_array(result))), 415: None, **stored},
                body=frames,
            )
        },
        "/actions/{fingerprint}": {
            "parameters": action_path,
            "head": _operation("Whether there is a record.", "read", {200: {}, 404: {}}, head=True),
            "get": _operation("The record of a build.", "read", {200: record, 404: None}),
            "put": _operation(
                "Keep the record of a build; the last writer wins.",
                "write",
                {200: put_record, 201: put_record, **stored},
                body=record,
            ),
            "delete": _operation("Forget a record.", "delete", {204: {}, 404: None}),
        },
        "/actions": {
            "get": _operation(
                "The records that are here, sorted by fingerprint, in pages.",
                "read",
                {200: _json(_page("actions", _record(fingerprint=fingerprint, size=whole), fingerprint))},
                _paging(fingerprint),
            )
        },
        "/health": {"get": _operation("Whether the server answers.", None, {200: _json(_health())})},
        "/status": {"get": _operation("How much is here; null until it was counted.", None, {200: _json(_status())})},
        "/openapi.json": {"get": _operation("This description.", None, {200: record})},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headwater object server",
            "version": version("headwater"),
            "description": "Objects named by the hash of their bytes, and records of the build cache.",
        },
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(
    summary: str,
    right: str | None,
    answers: dict[int, dict[str, Any] | None],
    parameters: list[dict[str, Any]] | None = None,
    *,
    body: dict[str, Any] | None = None,
    head: bool = False,
) -> dict[str, Any]:
    """One operation. An answer of None is an error with its JSON body."""
    found: dict[int, dict[str, Any] | None] = dict.fromkeys(_ALWAYS if right else ()) | answers
    responses = {}
    for status, content in sorted(found.items()):
        said = content if content is not None else {} if head else _json(_error())
        responses[str(status)] = {"description": _WORDS[status], **said}
    made: dict[str, Any] = {"summary": summary, "responses": responses}
    if parameters:
        made["parameters"] = parameters
    if body is not None:
        made["requestBody"] = {"required": True, **body}
    if right is not None:
        made["security"] = [{"token": []}]
        made["description"] = f"Needs a token with the right to {right}."
    return made


def _record(**properties: dict[str, Any]) -> dict[str, Any]:
    """An object that has all of these."""
    return {"type": "object", "required": list(properties), "properties": properties}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _array(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _enum(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


def _page(name: str, row: dict[str, Any], key: dict[str, Any]) -> dict[str, Any]:
    return _record(**{name: _array(row), "next": {"anyOf": [key, {"type": "null"}]}})


def _paging(key: dict[str, Any]) -> list[dict[str, Any]]:
    limit = {"type": "integer", "minimum": 1, "maximum": 10_000, "default": 1000}
    return [
        {"name": "after", "in": "query", "schema": key, "description": "The last row of the page before."},
        {"name": "limit", "in": "query", "schema": limit, "description": "The most rows of a page."},
    ]


def _header(name: str, what: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": what}


def _error() -> dict[str, Any]:
    return _record(error={"type": "string"}, fix={"type": "string"})


def _health() -> dict[str, Any]:
    return _record(status=_enum("ok"))


def _status() -> dict[str, Any]:
    number = {"type": ["integer", "null"]}
    return _record(
        version={"type": "string"},
        object_count=number,
        storage_used=number,
        uptime_secs={"type": "integer"},
        storage_id={"type": ["string", "null"]},
    )
