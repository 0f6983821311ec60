"""A moto S3 server as a process of its own, started once per test session, and a fresh bucket prefix for each test.

It answers one request at a time, because moto checks a condition and stores the object in two steps: with threads, two
writers could both pass the check, which S3 itself rules out.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator

import pytest

BUCKET = "headwater-test"
_ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
_SERVER = """
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=False)
print(server.server_port, flush=True)
server.serve_forever()
"""
_count = itertools.count(1)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The server's URL, with the bucket `headwater-test` made and AWS_* set for this process and its children."""
    kept = {name: os.environ.get(name) for name in (*_ENVIRONMENT, "AWS_ENDPOINT_URL", "AWS_PROFILE")}
    server = subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    assert port, "the S3 server did not start"
    endpoint = f"http://127.0.0.1:{port}"
    os.environ.pop("AWS_PROFILE", None)
    os.environ.update(_ENVIRONMENT, AWS_ENDPOINT_URL=endpoint)
    _make_bucket(endpoint)
    try:
        yield endpoint
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()
        for name, value in kept.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture
def s3_url(s3_endpoint: str) -> str:
    """A fresh, empty `s3://bucket/prefix` on the server."""
    return f"s3://{BUCKET}/{os.getpid()}-{time.time_ns()}-{next(_count)}"


def _make_bucket(endpoint: str) -> None:
    for attempt in range(100):
        try:
            request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
            urllib.request.urlopen(request, timeout=10).close()
            return
        except OSError:
            if attempt == 99:
                raise
            time.sleep(0.1)
