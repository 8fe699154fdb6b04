"""The table in README.md names all 33 groups, and only tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent


def test_the_table_of_groups() -> None:
    rows = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", (HERE / "README.md").read_text(), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 34))
    for _, cell in rows:
        parts = re.findall(r"\[(test_\w+\.py)\]\(\1\): ((?:`\w+`(?:, )?)+)", cell)
        assert parts
        for name, tests in parts:
            tree = ast.parse((HERE / name).read_text())
            defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
            assert set(re.findall(r"`(\w+)`", tests)) <= defined
