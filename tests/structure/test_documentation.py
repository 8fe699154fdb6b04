"""What the guides say about the code is still so: settings and defaults, messages, metrics, links."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import metrics
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import verifier.service.metrics as service_metrics
from verifier.service.settings import VerifierSettings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GUIDES = [*sorted(DOCS.glob("*.md")), ROOT / "docker" / "README.md"]
REGULATOR = (DOCS / "regulator.md").read_text()
TROUBLESHOOTING = (DOCS / "troubleshooting.md").read_text()
PACKAGES = ("circuits", "verifier", "prover")
OF_LIBRARIES = {"CERTIFICATE_VERIFY_FAILED", "Socket closed", "database is locked", "no password supplied"}
"""Quoted in the first column, and not ours: BoringSSL, gRPC, SQLite, libpq."""


def table(text: str, heading: str) -> list[list[str]]:
    """The cells of the rows of the table with this first column."""
    lines = text[text.index(f"| {heading} |") :].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def nested(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a field holds, one or several."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        section = nested(field)
        if section is None:
            yield prefix + name, field
        else:
            yield from settings(section, f"{prefix}{name}.")


def default(field: FieldInfo) -> str | None:
    """The default as TOML; "required"; None if it is what the code does without the setting."""
    if field.is_required():
        return "required"
    match field.default:
        case None:
            return None
        case str(text):
            return f'`"{text}"`'
        case ():
            return "`[]`"
        case number:
            return f"`{number!r}`"


def test_every_setting_is_documented_with_its_default() -> None:
    rows = table(REGULATOR, "setting")
    documented = {row[0].strip("`"): row[1] for row in rows}
    expected = dict(settings(VerifierSettings))
    assert set(documented) == set(expected) and len(rows) == len(expected)
    for name, field in expected.items():
        value = default(field)
        assert value is None or documented[name] == value, name


def test_every_metric_is_documented() -> None:
    expected = set()
    for metric in vars(service_metrics).values():
        if isinstance(metric, metrics.MetricWrapperBase):
            total = "_total" if isinstance(metric, metrics.Counter) else ""
            labels = f"{{{','.join(metric._labelnames)}}}" if metric._labelnames else ""
            expected.add(f"{metric._name}{total}{labels}")
    assert {row[0].strip("`") for row in table(REGULATOR, "metric")} == expected


def templates(path: Path) -> Iterator[str]:
    """Every string of a source file, with `...` for the fields of an f-string and of `str.format`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.sub(r"\{\w*\}", "...", node.value)


@cache
def all_templates() -> frozenset[str]:
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return frozenset(template for path in files for template in templates(path))


def quoted_messages() -> list[str]:
    """What stands in backticks in the first columns of troubleshooting.md."""
    rows = [line.strip("|").split(" | ")[0] for line in TROUBLESHOOTING.splitlines() if line.startswith("| ")]
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row)]


@pytest.mark.parametrize("message", sorted(set(quoted_messages()) - OF_LIBRARIES))
def test_a_quoted_message_is_one_of_the_code(message: str) -> None:
    assert any(message in template for template in all_templates()), "no such message: the code or the guide changed"


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_a_guide_lead_somewhere(guide: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#:]+)[^)]*\)", guide.read_text()):
        assert (guide.parent / target).exists(), target


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_and_files_that_a_guide_names_exist(guide: Path) -> None:
    for target in re.findall(r"`((?:tests|docs|docker)/[\w./-]+)`", guide.read_text()):
        assert (ROOT / target).exists(), target
