"""The dashboard and the alert rules: loadable, and about series that the gateway has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest
import yaml

from gateway import metrics
from gateway.api.routes import TABLE
from tests.docs.reading import DOCS, anchors, coded, rows, section
from tests.docs.running import ROOT

FOLDER = ROOT / "deploy" / "grafana"
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
GROUPS = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
PROMISES = ("nothing-accepted-is-lost", "the-gpu-never-waits", "a-bad-request-gets-an-answer")


def titled(panel: dict[str, Any]) -> str:
    return str(panel["title"])


def named(rule: dict[str, Any]) -> str:
    return str(rule["alert"])


def known() -> dict[str, set[str]]:
    """Every series, and the labels that may be asked of it."""
    labelled = {
        found._name: set(found._labelnames)
        for found in vars(metrics).values()
        if hasattr(found, "_labelnames")
    }
    found = {}
    for family in metrics.registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        for suffix in suffixes.get(family.type, ("",)):
            le = {"le"} if suffix == "_bucket" else set()
            found[family.name + suffix] = (
                {"job", "instance"} | le | labelled.get(family.name, set())
            )
    return found


def selectors(expression: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Every series that an expression asks for, with its matchers."""
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(_parsed(expression), pre_visit=visit)
    for selector in found:
        matchers = [(one.name, one.value) for one in selector.matchers.matchers]
        yield selector.name, matchers


def _parsed(expression: str) -> Any:
    # Grafana puts a duration there before Prometheus sees it.
    return promql_parser.parse(expression.replace("$__rate_interval", "5m"))


def check(expression: str) -> None:
    series = known()
    asked = list(selectors(expression))
    assert asked
    for name, matchers in asked:
        assert name in series
        assert {label for label, _ in matchers} <= series[name]
        for label, value in matchers:
            if label == "route":
                paths = {route.path for route in TABLE}
                assert set(value.split("|")) <= paths


class TestDashboard:
    @pytest.mark.parametrize("panel", PANELS, ids=titled)
    def test_each_panel_says_what_it_shows_in_which_unit(self, panel: dict[str, Any]) -> None:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]

    @pytest.mark.parametrize("panel", PANELS, ids=titled)
    def test_each_panel_asks_for_series_that_exist(self, panel: dict[str, Any]) -> None:
        for target in panel["targets"]:
            check(target["expr"])
            assert target["expr"].count('job=~"$job", instance=~"$instance"') == len(
                list(selectors(target["expr"]))
            )

    def test_no_two_panels_share_a_place_or_an_id(self) -> None:
        ids = [panel["id"] for panel in DASHBOARD["panels"]]
        assert len(ids) == len(set(ids))
        cells = [
            (x, y)
            for panel in DASHBOARD["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24

    def test_it_can_be_provisioned(self) -> None:
        assert "id" not in DASHBOARD
        assert "__inputs" not in DASHBOARD
        kinds = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
        assert kinds == {"datasource": "datasource", "job": "query", "instance": "query"}

    def test_every_series_is_shown_or_has_its_reason(self) -> None:
        shown = {
            re.sub(r"_(bucket|sum|count)$", "", name)
            for panel in PANELS
            for target in panel["targets"]
            for name, _ in selectors(target["expr"])
        }
        there = {
            f"{family.name}_total" if family.type == "counter" else family.name
            for family in metrics.registry.collect()
        }
        of_process = {
            "process_virtual_memory_bytes",
            "process_start_time_seconds",
            "process_max_fds",
        }
        assert there - shown == of_process


class TestAlerts:
    def test_each_promise_has_its_group(self) -> None:
        told = [{rule["annotations"]["runbook"] for rule in group["rules"]} for group in GROUPS]
        assert told == [{f"docs/howto/production.md#{promise}"} for promise in PROMISES]
        assert set(PROMISES) <= anchors(DOCS / "howto" / "production.md")

    def test_no_two_have_one_name(self) -> None:
        assert len({rule["alert"] for rule in RULES}) == len(RULES)
        assert len({group["name"] for group in GROUPS}) == len(GROUPS)

    @pytest.mark.parametrize("rule", RULES, ids=named)
    def test_each_has_what_prometheus_and_its_reader_want(self, rule: dict[str, Any]) -> None:
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
        assert re.fullmatch(r"ComfyGateway[A-Za-z]+", rule["alert"])
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"].keys() == {"summary", "description", "runbook"}

    @pytest.mark.parametrize("rule", RULES, ids=named)
    def test_each_asks_for_series_that_exist(self, rule: dict[str, Any]) -> None:
        check(rule["expr"])

    def test_each_is_explained_and_no_other(self) -> None:
        page = DOCS / "howto" / "production.md"
        told = [
            coded(row[0])[0]
            for heading in ("Nothing accepted is lost", "The GPU never waits")
            for row in rows(section(page, heading))
        ]
        told += [coded(row[0])[0] for row in rows(section(page, "A bad request gets an answer"))]
        assert told == [rule["alert"] for rule in RULES]

    def test_they_fire_when_they_should(self) -> None:
        promtool = shutil.which("promtool")
        if promtool is None:
            pytest.skip("promtool of Prometheus is not installed")
        for arguments in (("check", "rules", "alerts.yaml"), ("test", "rules", "alerts_test.yaml")):
            subprocess.run([promtool, *arguments], cwd=FOLDER, check=True, timeout=60)
