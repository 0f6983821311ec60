"""The web UI in a real browser: what a user finds there, and a run launched by a click.

Screenshots of what was seen go to the folder that HEADWATER_SHOTS names, for a person to look at.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.server import Server, headwater, running_ui, wait_until, write_workspace

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PATIENCE = 40_000
"""Milliseconds: the first page compiles in the browser while the server loads the code location."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason=f"there is no {CHROMIUM}"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = write_workspace(tmp_path_factory.mktemp("workspace"))
    built = headwater(root, "build", "tables", "notes")
    assert built.returncode == 0, built.stderr
    with running_ui(root) as started:
        yield started


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context(viewport={"width": 1500, "height": 1300})
        opened = context.new_page()
        opened.set_default_timeout(PATIENCE)
        opened.goto(server.link)
        opened.wait_for_url(re.compile(r"^http://[^/]+/(?!-/)"))
        cookies = {cookie["name"]: cookie for cookie in context.cookies()}
        cookie = cookies[f"headwater-{server.port}"]
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        server.cookie = f"{cookie['name']}={cookie['value']}"
        yield opened
        browser.close()


def _visit(page: Any, server: Server, path: str) -> None:
    page.goto(f"http://{server.address}{path}")


def _shot(page: Any, name: str) -> None:
    folder = os.environ.get("HEADWATER_SHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def _sees(page: Any, *texts: str) -> None:
    for text in texts:
        page.get_by_text(text, exact=True).first.wait_for(state="visible")


def test_the_asset_graph_shows_the_stores_with_their_sources_and_artifacts(page: Any, server: Server) -> None:
    _visit(page, server, "/asset-groups")
    _sees(page, "tables_corner_20shop", "workspace_all")
    _shot(page, "graph")
    # The arrow before the group's name in the list opens it; the drawing itself only holds what is in sight.
    box = page.get_by_text("tables_corner_20shop", exact=True).first.bounding_box()
    page.mouse.click(box["x"] - 39, box["y"] + box["height"] / 2)
    _sees(page, "playground_db", "profile", "project", "data")
    _shot(page, "group")


def test_an_artifact_shows_where_it_comes_from_and_what_is_in_it(page: Any, server: Server) -> None:
    _visit(page, server, "/assets/tables/corner_20shop/playground_db?view=overview")
    _sees(page, "Row count", "SQLite", "tables_corner_20shop", "shop-team", "Source code", "outcome", "built", "fingerprint")
    page.get_by_text("The project as one SQLite file").first.wait_for(state="visible")
    page.get_by_text("corner shop/playground.db").first.wait_for(state="visible")
    _shot(page, "artifact")


def test_the_lineage_of_an_artifact_leads_to_its_sources(page: Any, server: Server) -> None:
    _visit(page, server, "/assets/tables/corner_20shop/playground_db?view=lineage")
    _sees(page, "playground_db", "data", "project", "catalog")
    _shot(page, "lineage")


def test_a_source_shows_its_files(page: Any, server: Server) -> None:
    _visit(page, server, "/assets/tables/corner_20shop/source/data?view=events")
    _sees(page, "data/item.csv", "External Asset", "file_count")
    _shot(page, "source")


def test_the_checks_of_a_store_are_shown_with_their_results(page: Any, server: Server) -> None:
    _visit(page, server, "/assets/tables/corner_20shop/source/project?view=checks&checkDetail=present")
    _sees(page, "text", "present", "reproducible", "Passed")
    _shot(page, "checks")


def test_a_picture_is_shown(page: Any, server: Server) -> None:
    _visit(page, server, "/assets/tables/corner_20shop/erd?view=events")
    page.get_by_text("picture: erd.svg").first.wait_for(state="visible")
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.locator("img[src^='data:image/svg+xml']").first
    picture.wait_for(state="visible")
    assert picture.evaluate("element => element.naturalWidth") > 0
    _shot(page, "picture")


def test_notes_show_what_they_hold_and_how_they_hang_together(page: Any, server: Server) -> None:
    _visit(page, server, "/assets/notes/_2eqipu/qipu_db?view=overview")
    _sees(page, "Row count", "SQLite", "notes__2eqipu", "links in order (%)", "broken", "fingerprint")
    page.get_by_text("The store as one SQLite file").first.wait_for(state="visible")
    _shot(page, "notes")
    _visit(page, server, "/assets/notes/_2eqipu/graph?view=events")
    page.get_by_text("picture: graph.svg").first.wait_for(state="visible")
    page.get_by_text("[Show Markdown]").first.click()
    picture = page.locator("img[src^='data:image/svg+xml']").first
    picture.wait_for(state="visible")
    assert picture.evaluate("element => element.naturalWidth") > 0
    _shot(page, "notes graph")


def test_the_checks_of_notes_are_shown(page: Any, server: Server) -> None:
    _visit(page, server, "/assets/notes/_2eqipu/source/notes?view=checks&checkDetail=incremental_equals_rebuild")
    _sees(page, "text", "present", "reproducible", "incremental_equals_rebuild")
    _shot(page, "notes checks")


def test_a_run_launched_by_a_click_rebuilds_a_stale_artifact(page: Any, server: Server) -> None:
    database = server.root / "corner shop" / "playground.db"
    _stop_following(server)
    (server.root / "corner shop" / "data" / "item.csv").write_text("id,name\n1,pen\n2,ink\n3,paper\n")
    # Any build that runs tells Dagster what changed in the text; the UI's own sensor would within half a minute.
    assert headwater(server.root, "build", "--force", "tables/*/erd").returncode == 0
    assert _names(database) == ["pen", "ink"]
    _visit(page, server, "/assets/tables/corner_20shop/playground_db?view=events")
    page.get_by_text(re.compile("Unsynced")).first.wait_for(state="visible")
    _shot(page, "stale")
    page.locator("button", has_text=re.compile("^Materialize$")).first.click()
    wait_until(lambda: _names(database) == ["pen", "ink", "paper"], seconds=120)
    wait_until(lambda: _last_run(server)["status"] == "SUCCESS", seconds=60)
    _visit(page, server, "/assets/tables/corner_20shop/playground_db?view=events")
    page.get_by_text(re.compile("Materialized in run")).first.wait_for(state="visible")
    page.get_by_text(re.compile("Unsynced")).first.wait_for(state="detached")
    _shot(page, "rebuilt")


def test_a_run_of_the_command_line_is_among_the_runs(page: Any, server: Server) -> None:
    runs = server.graphql("{ runsOrError { ... on Runs { results { runId status tags { key value } } } } }")["runsOrError"][
        "results"
    ]
    commands = [{tag["key"]: tag["value"] for tag in run["tags"]}.get("headwater/command") for run in runs]
    assert "build" in commands
    _visit(page, server, "/runs")
    page.get_by_text(runs[-1]["runId"][:8]).first.wait_for(state="visible")
    _shot(page, "runs")


def _names(database: Path) -> list[str]:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return [name for (name,) in connection.execute("SELECT name FROM item ORDER BY id")]
    finally:
        connection.close()


def _last_run(server: Server) -> dict[str, Any]:
    runs = server.graphql("{ runsOrError(limit: 1) { ... on Runs { results { runId status } } } }")
    found: dict[str, Any] = runs["runsOrError"]["results"][0]
    return found


def _stop_following(server: Server) -> None:
    """Turn the automation off, so that the only run is the one that is clicked for."""
    selector = {"repositoryName": "__repository__", "repositoryLocationName": "headwater", "sensorName": "follow_sources"}
    document = "query($s: SensorSelector!) { sensorOrError(sensorSelector: $s) { ... on Sensor { sensorState { id } } } }"
    state = server.graphql(document, {"s": selector})["sensorOrError"]["sensorState"]["id"]
    stopped = server.graphql("mutation($id: String!) { stopSensor(id: $id) { __typename } }", {"id": state})
    assert stopped["stopSensor"]["__typename"] == "StopSensorMutationResult"
