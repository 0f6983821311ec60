"""`headwater mcp`, asked by the SDK's own client through a real process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.orchestration.cli.notes_work import A, B, checkout, store

__all__ = ["checkout", "store"]

HEADWATER = str(Path(sys.executable).with_name("headwater"))
Ask = Callable[..., Awaitable[dict[str, Any]]]


def serve(root: Path, talk: Callable[[Client, Ask], Awaitable[None]]) -> None:
    """Start the server on `root` and talk to it; `ask(tool, **arguments)` gives the answer, or fails with the error it was."""

    async def run() -> None:
        parameters = StdioServerParameters(
            command=HEADWATER, args=["-C", str(root), "mcp"], env={"HEADWATER_CACHE_DIR": str(root.parent / "cache")}
        )
        async with Client(stdio_client(parameters)) as client:

            async def ask(tool: str, **arguments: Any) -> dict[str, Any]:
                result = await client.call_tool(tool, arguments)
                assert not result.is_error, result.content
                assert result.structured_content is not None
                return dict(result.structured_content)

            await talk(client, ask)

    anyio.run(run)


def text_at(root: Path, path: str, first: int, last: int) -> str:
    return "\n".join((root / path).read_text("utf-8").split("\n")[first - 1 : last])


def test_every_tool_only_reads_and_says_so(store: Path) -> None:
    async def talk(client: Client, ask: Ask) -> None:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == ["stores", "search", "show", "backlinks", "context", "explain"]
        for tool in tools:
            assert tool.description
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint is True
            assert tool.annotations.destructive_hint is False

    serve(store, talk)


def test_answers_name_the_place_they_come_from(store: Path) -> None:
    async def talk(client: Client, ask: Ask) -> None:
        (named,) = (await ask("stores"))["stores"]
        assert named["notes"] == 3
        (hit, *_rest) = (await ask("search", query="beta"))["hits"]
        assert hit["path"] == B
        shown = await ask("show", note="qp-bbbb")
        assert shown["text"] == text_at(store, B, shown["first_line"], shown["last_line"])
        assert not shown["truncated"]
        part = await ask("show", note="Beta", first_line=3, max_chars=30)
        assert (part["first_line"], part["truncated"]) == (3, True)
        assert part["text"] == text_at(store, B, 3, part["last_line"])
        links = await ask("backlinks", note="qp-bbbb")
        assert {(one["path"], one["line"]) for one in links["backlinks"]} >= {(A, 10)}
        for one in links["backlinks"]:
            assert one["text"].strip() in (store / one["path"]).read_text("utf-8")
        bundle = await ask("context", query="alpha", walk=1, max_chars=3000)
        for note in bundle["notes"]:
            for passage in note["passages"]:
                assert passage["text"] == text_at(store, passage["path"], passage["first_line"], passage["last_line"])
        explained = await ask("explain", artifact="notes/*/qipu_db")
        assert len(explained["artifacts"]) == 1

    serve(store, talk)


def test_an_edit_is_seen_by_the_next_question(store: Path) -> None:
    async def talk(client: Client, ask: Ask) -> None:
        assert (await ask("search", query="zebrafish"))["hits"] == []
        (store / ".qipu/notes/new.md").write_text("---\nid: qp-zzzz\ntitle: New\n---\nA zebrafish.\n", "utf-8")
        assert [hit["id"] for hit in (await ask("search", query="zebrafish"))["hits"]] == ["qp-zzzz"]

    serve(store, talk)


def test_bad_questions_are_errors_with_a_fix_and_nothing_ends(store: Path) -> None:
    async def talk(client: Client, ask: Ask) -> None:
        for tool, arguments in (
            ("show", {"note": "nothing like that"}),
            ("search", {"query": "   "}),
            ("search", {"query": "x", "store": "elsewhere"}),
            ("context", {}),
            ("explain", {"artifact": "no/such/thing"}),
            ("show", {}),
        ):
            result = await client.call_tool(tool, arguments)
            assert result.is_error, (tool, arguments)
            assert "Traceback" not in str(result.content)
        assert (await ask("stores"))["stores"]

    serve(store, talk)


def test_answers_are_bounded(store: Path) -> None:
    (store / ".qipu/notes/long.md").write_text("---\nid: qp-long\ntitle: Long\n---\n" + "word " * 200_000 + "\n", "utf-8")

    async def talk(client: Client, ask: Ask) -> None:
        shown = await ask("show", note="qp-long", max_chars=10_000_000)
        assert len(shown["text"]) <= 70_000
        bundle = await ask("context", notes=["qp-long"], max_chars=10_000_000)
        assert bundle["used_chars"] <= 60_000
        assert len((await ask("search", query="word", limit=10_000))["hits"]) <= 50

    serve(store, talk)


def test_not_one_file_of_a_vault_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = tmp_path / "vault"
    (vault / ".obsidian").mkdir(parents=True)
    (vault / "One.md").write_text("# One\n\n[[Two]]\n", "utf-8")
    (vault / "Two.md").write_text("# Two\n", "utf-8")

    def seen() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in vault.rglob("*")}

    before = seen()

    async def talk(client: Client, ask: Ask) -> None:
        assert [one["path"] for one in (await ask("backlinks", note="Two"))["backlinks"]] == ["One.md"]

    serve(vault, talk)
    assert seen() == before


def test_it_ends_with_its_input(store: Path) -> None:
    ended = subprocess.run(
        [HEADWATER, "-C", store, "mcp"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, b"")
