"""The description of the object server against a running one: schemathesis makes requests that fit it and ones that do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from resources.server.frames import MEDIA_TYPE
from resources.server.openapi import description
from resources.server.settings import Settings
from schemas.dvs.oids import oid_of
from tests.dvs_server import Server, running_server
from tests.resources.server.client import ask, put
from tests.resources.server.test_objects_http import frames_of


@schemathesis.serializer(MEDIA_TYPE)
def _as_frames(_context: Any, value: Any) -> bytes:
    """Any bytes are a body; half of them are sent as an object in a stream that is well formed."""
    data = value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")
    return data if len(data) % 2 else frames_of({oid_of(data, "blake3"): data})


schema = schemathesis.openapi.from_dict(description(Settings()))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(tmp_path_factory.mktemp("server"), settings="wrong_tokens = 1000000") as running:
        put(running, b"something")
        yield running


def test_the_server_describes_itself(server: Server) -> None:
    described = ask(server, "GET", "/openapi.json", token=None).json
    assert described == json.loads(json.dumps(description(Settings())))
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            if method != "parameters":
                assert operation["summary"].endswith("."), (path, method)
                free = path in ("/health", "/status", "/openapi.json")
                assert ("security" in operation) != free


@pytest.mark.slow
@schema.parametrize()
@settings(
    max_examples=100,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_requests_made_from_the_description(case: schemathesis.Case, server: Server) -> None:
    case.call_and_validate(
        base_url=server.url,
        headers={"Authorization": f"Bearer {server.token}"},
        checks=[
            not_a_server_error,
            status_code_conformance,
            content_type_conformance,
            response_schema_conformance,
            unsupported_method,
            ignored_auth,
        ],
    )
