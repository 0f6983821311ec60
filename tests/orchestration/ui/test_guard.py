"""The guard's rules, one by one, against an application that answers everything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.ui.guard import BODY_LIMIT, OPEN_PATH, TOKEN_PATH, TOKEN_SECONDS, Guard, Secrets

HOST = "127.0.0.1:3000"
ORIGIN = f"http://{HOST}"


class Served:
    """A guard around an application that remembers what reached it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.secrets = Secrets(clock=lambda: self.now)
        self.reached: list[str] = []
        self.guard = Guard(self.application, [HOST, "localhost:3000"], self.secrets)

    async def application(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            self.reached.append("websocket")
            await send({"type": "websocket.accept"})
            return
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client is gone")
            if not message.get("more_body"):
                break
        self.reached.append(f"{scope['method']} {scope['path']}")
        headers = [
            (b"content-type", b"text/html"),
            (b"content-security-policy", b"object-src 'none'"),
            (b"x-frame-options", b"ALLOWALL"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"inside"})

    def request(
        self,
        method: str = "GET",
        path: str = "/",
        *,
        query: str = "",
        headers: dict[str, str] | None = None,
        extra: Iterable[tuple[str, str]] = (),
        body: Iterable[bytes] = (b"",),
        cookie: bool = True,
    ) -> tuple[int, dict[str, list[str]], bytes]:
        given = {"host": HOST, **({"cookie": f"headwater={self.secrets.session}"} if cookie else {}), **(headers or {})}
        raw = [(name.encode(), value.encode()) for name, value in [*given.items(), *extra]]
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
        chunks = list(body)
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.guard(scope, receive, send))
        answered: dict[str, list[str]] = {}
        for name, value in sent[0]["headers"]:
            answered.setdefault(name.decode(), []).append(value.decode())
        return sent[0]["status"], answered, sent[1]["body"]

    def post(self, path: str = "/graphql", **headers: str) -> int:
        given = {
            "content-type": "application/json",
            "origin": ORIGIN,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return self.request("POST", path, headers=given)[0]

    def websocket(self, **headers: str) -> list[str]:
        given = {"host": HOST, "cookie": f"headwater={self.secrets.session}", **headers}
        raw = [(name.encode(), value.encode()) for name, value in given.items() if value]
        sent: list[str] = []

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        asyncio.run(self.guard({"type": "websocket", "path": "/graphql", "query_string": b"", "headers": raw}, receive, send))
        return sent


@pytest.fixture
def served() -> Served:
    return Served()


def test_a_page_with_the_cookie_is_served_and_cannot_be_framed(served: Served) -> None:
    status, headers, body = served.request()
    assert (status, body) == (200, b"inside")
    assert headers["content-security-policy"] == ["object-src 'none'", "frame-ancestors 'none'"]
    assert headers["x-frame-options"] == ["DENY"]
    assert headers["referrer-policy"] == ["no-referrer"]


def test_a_graphql_post_of_our_own_page_is_served(served: Served) -> None:
    assert served.post() == 200
    assert served.reached == ["POST /graphql"]


@pytest.mark.parametrize("cookie", ["", "headwater=", "headwater=x", "other=1", "headwater", '"', "headwater=\xff"])
def test_without_the_cookie_nothing_is_reached(served: Served, cookie: str) -> None:
    status, _, _ = served.request(headers={"cookie": cookie} if cookie else {}, cookie=False)
    assert (status, served.reached) == (401, [])


def test_a_token_opens_once_and_sets_a_strict_cookie_that_scripts_cannot_read(served: Served) -> None:
    token = served.secrets.new_token()
    status, headers, body = served.request(path=OPEN_PATH, query=f"token={token}", cookie=False)
    assert status == 200
    assert headers["set-cookie"] == [f"headwater={served.secrets.session}; Path=/; HttpOnly; SameSite=Strict"]
    assert b'url=/"' in body
    status, headers, _ = served.request(path=OPEN_PATH, query=f"token={token}", cookie=False)
    assert status == 403
    assert "set-cookie" not in headers


def test_an_old_token_does_not_open(served: Served) -> None:
    token = served.secrets.new_token()
    served.now = TOKEN_SECONDS + 1
    assert served.request(path=OPEN_PATH, query=f"token={token}", cookie=False)[0] == 403


@pytest.mark.parametrize("query", ["", "token=", "token=x", "token=%ff%00", "x=1"])
def test_a_wrong_token_does_not_open(served: Served, query: str) -> None:
    served.secrets.new_token()
    assert served.request(path=OPEN_PATH, query=query, cookie=False)[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example:3000", "127.0.0.1", "127.0.0.1:3001", "127.0.0.1.nip.io:3000", "", "localhost:3000.evil.example"]
)
def test_another_host_name_is_not_answered(served: Served, host: str) -> None:
    assert served.request(headers={"host": host})[0] == 421
    assert served.reached == []


def test_localhost_is_our_name_too(served: Served) -> None:
    assert served.request(headers={"host": "LOCALHOST:3000", "origin": "http://localhost:3000"})[0] == 200


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:3001",
        "http://127.0.0.1",
        "https://127.0.0.1:3000",
        "http://localhost:3000",
        "",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_origin_is_refused(served: Served, method: str, origin: str) -> None:
    headers = {"origin": origin, "content-type": "application/json"}
    assert served.request(method, "/graphql", headers=headers)[0] == 403
    assert served.reached == []


def test_a_page_of_another_port_cannot_use_the_cookie_it_gets_for_free(served: Served) -> None:
    headers = {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
    assert served.request(path="/download_debug/x", headers=headers)[0] == 403
    framed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}
    assert served.request(headers=framed)[0] == 403
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert served.request(headers=followed)[0] == 200
    assert served.request("POST", "/graphql", headers={**followed, "content-type": "application/json"})[0] == 403


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "//graphql", "/GraphQL", "/x/graphql"])
@pytest.mark.parametrize("query", ["query=mutation{wipeAssets}", "query={x}", "Query=1", "&query=1", "a=1"])
def test_a_graphql_document_in_the_url_is_refused(served: Served, path: str, query: str) -> None:
    for method in ("GET", "HEAD"):
        assert served.request(method, path, query=query)[0] == 405
    assert served.reached == []


@pytest.mark.parametrize(
    "media",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "application/json2",
        "text/plain;application/json",
    ],
)
def test_a_body_that_a_form_can_send_is_refused(served: Served, media: str) -> None:
    assert served.post(content_type=media) == 415
    assert served.reached == []


def test_json_may_name_its_charset(served: Served) -> None:
    assert served.post(content_type="Application/JSON; charset=utf-8") == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "get"])
def test_other_methods_are_refused(served: Served, method: str) -> None:
    assert served.request(method)[0] == 405


@pytest.mark.parametrize("header", ["host", "origin", "authorization", "content-type"])
def test_a_header_that_is_there_twice_is_refused(served: Served, header: str) -> None:
    extra = [(header, "http://evil.example"), (header, ORIGIN)]
    headers = {"origin": ORIGIN, "content-type": "application/json"}
    headers.pop(header, None)
    status = served.request("POST", "/graphql", headers=headers, extra=extra)[0]
    assert status == 400
    assert served.reached == []


@pytest.mark.parametrize("length", [str(BODY_LIMIT + 1), "-1", "x", "1e9", "9" * 30, "²"])
def test_a_body_that_says_it_is_too_large_is_refused(served: Served, length: str) -> None:
    assert served.post(content_length=length) == 413


def test_a_body_that_turns_out_too_large_is_cut_off(served: Served) -> None:
    chunk = b"x" * (BODY_LIMIT // 2)
    headers = {"content-type": "application/json", "origin": ORIGIN}
    status, _, _ = served.request("POST", "/graphql", headers=headers, body=[chunk, chunk, b"x"])
    assert (status, served.reached) == (413, [])


@pytest.mark.parametrize(
    "path", ["/report_asset_materialization/a", "/report_asset_check/a", "//report_asset_observation/a", TOKEN_PATH]
)
def test_paths_for_programs_need_the_key_not_the_cookie(served: Served, path: str) -> None:
    assert served.post(path) == 401
    assert served.post(path, authorization=f"Bearer {served.secrets.key}x") == 401
    assert served.post(path, authorization=f"Bearer {served.secrets.session}") == 401
    assert served.post(path, authorization=f"Bearer {served.secrets.key}") == 200


def test_the_key_makes_a_new_link(served: Served) -> None:
    import json

    headers = {"authorization": f"bearer {served.secrets.key}", "content-type": "application/json"}
    status, _, body = served.request("POST", TOKEN_PATH, headers=headers, cookie=False)
    assert status == 200
    assert served.secrets.redeem(json.loads(body)["token"])


def test_a_web_socket_needs_our_origin_and_the_cookie(served: Served) -> None:
    assert served.websocket(origin=ORIGIN) == ["websocket.accept"]
    for headers in (
        {"origin": "http://evil.example"},
        {},
        {"origin": ORIGIN, "cookie": ""},
        {"origin": ORIGIN, "host": "evil:1"},
        {"origin": "null"},
    ):
        assert served.websocket(**headers) == ["websocket.close"]


def test_secrets_are_not_in_what_is_said(served: Served) -> None:
    _, headers, body = served.request(path="/<script>", headers={"cookie": "headwater=<script>"}, cookie=False)
    assert b"script" not in body
    assert served.secrets.key.encode() not in body
    assert not any(served.secrets.session in value for values in headers.values() for value in values)


@settings(max_examples=50, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "HEAD", "PUT"]),
    path=st.text(max_size=20).map(lambda text: "/" + text),
    query=st.text(alphabet=st.characters(codec="ascii"), max_size=20),
    headers=st.dictionaries(
        st.sampled_from(["origin", "authorization", "content-type", "sec-fetch-site", "cookie", "content-length"]),
        st.text(alphabet=st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30),
    ),
)
def test_nothing_without_a_secret_ever_reaches_the_application(
    method: str, path: str, query: str, headers: dict[str, str]
) -> None:
    served = Served()
    status, _, _ = served.request(method, path, query=query, headers=headers, cookie=False)
    assert status >= 400
    assert served.reached == []
