"""Policy files from strangers: parsed strictly, or refused with a PolicyError that says where, in bounded time."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circuits.checks.frobenius_norm import FrobeniusNorm
from circuits.errors import PolicyError
from circuits.patterns import matches, select
from circuits.policy import MAX_POLICY_BYTES, Policy, schema

CHECK = "{check: frobenius-norm, tensors: '*', at_most: '20'}"
NAMES = [f"encoder.layer.{i}.{part}.weight" for i in range(12) for part in ("query", "key", "output.dense")]


def text(checks: str = f"[{CHECK}]", name: str = "test", head: str = "weightproof/policy/v1", more: str = "") -> bytes:
    return f"policy: {head}\nname: {name}\nchecks: {checks}\n{more}".encode()


def with_threshold(value: str) -> bytes:
    return text("[{check: frobenius-norm, tensors: '*', at_most: " + value + "}]")


def thresholds(policy: Policy) -> list[str]:
    """What the frobenius-norm checks of a policy ask for."""
    return [check.at_most for check in policy.checks if isinstance(check, FrobeniusNorm)]


def refused(data: bytes) -> str:
    """The message of the PolicyError; one line, not too long."""
    with pytest.raises(PolicyError) as caught:
        Policy.from_bytes(data)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def test_a_policy() -> None:
    policy = Policy.from_bytes(text())
    assert (policy.name, len(policy.checks)) == ("test", 1)
    assert thresholds(policy) == ["20"]


def test_the_digest_is_of_the_meaning() -> None:
    """Comments, order of keys, quotes and defaults do not count; names, thresholds and order of checks do."""
    plain = Policy.from_bytes(text())
    same = b'# comment\nchecks:\n  - at_most: "20"\n    tensors: "*"\n    check: \'frobenius-norm\'\n    over: each\n'
    same += b"name: test\npolicy: weightproof/policy/v1\n"
    assert Policy.from_bytes(same).digest == plain.digest
    as_json = json.dumps(json.loads(plain.canonical), indent=3).encode()
    assert Policy.from_bytes(as_json).digest == plain.digest
    others = [
        text(name="test2"),
        with_threshold("'21'"),
        with_threshold("'20.1'"),
        text(f"[{CHECK}, {CHECK}]"),
        text("[{check: frobenius-norm, tensors: '*', at_most: '20', over: together}]"),
    ]
    assert len({plain.digest, *(Policy.from_bytes(other).digest for other in others)}) == 1 + len(others)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (text("[{check: no-such-check, tensors: '*', at_most: '20'}]"), "checks.0 no-such-check"),
        (text("[{tensors: '*', at_most: '20'}]"), "checks.0 check"),
        (text("[{check: frobenius-norm, tensors: '*', at_most: '20', extra: 1}]"), "checks.0 extra"),
        (text(f"[{CHECK}, {{check: frobenius-norm, tensors: '*'}}]"), "checks.1 at_most required"),
        (text("[{check: frobenius-norm, tensors: ['*'], at_most: '20'}]"), "checks.0 tensors string"),
        (text("[{check: frobenius-norm, tensors: '', at_most: '20'}]"), "checks.0 tensors"),
        (text("[{check: frobenius-norm, tensors: '*', at_most: '20', over: all}]"), "checks.0 over together"),
        (text("[]"), "checks"),
        (text("{}"), "checks"),
        (text("7"), "checks"),
        (text("[[]]"), "checks.0"),
        (text(f"[{', '.join([CHECK] * 1001)}]"), "checks 1000"),
        (text(more="extra: 1"), "extra"),
        (text(name="''"), "name"),
        (text(name="7"), "name string"),
        (text(name="x" * 201), "name 200"),
        (text(name='"two\\nlines"'), "name"),
        (text(name='"\\e[2J"'), "name"),
        (text(head="weightproof/policy/v2"), "policy/v1"),
        (text().replace(b"policy:", b"policies:"), "policy required"),
        (b"[]", "the file"),
        (b"7", "the file"),
        (b"", "empty"),
        (b"null", "the file"),
    ],
)
def test_a_wrong_field_is_named(data: bytes, words: str) -> None:
    message = refused(data)
    assert all(word in message for word in words.split()), message


@pytest.mark.parametrize(
    "value",
    ["20", "1e3", ".inf", ".nan", "true", "null", "[]", "{}", "2001-01-01", "0x10", "0b1", "1_000", "1:30", "''",
     "'abc'",
     "'1e3'", "'+1'", "' 1'", "'1 '", "'1.'", "'.5'", "'1,5'", "'1_0'", "'0x1'", "'1/2'", "'--1'", "'NaN'", "'inf'",
     "\"1\\n\"", "'" + "9" * 41 + "'", "'0." + "1" * 41 + "'", "'-1'",
     "'007'", "'-0'", "'1.50'", "'1.0'", "'٣'", "'３'", "'1.߃'"],
)  # fmt: skip
def test_thresholds_are_decimal_strings(value: str) -> None:
    """In the shortest form, with ASCII digits: one number has one text, and so one digest."""
    assert "at_most" in refused(with_threshold(value))


@pytest.mark.parametrize("value", ["'0'", "'0.1'", "20.5", "'" + "9" * 40 + "." + "9" * 40 + "'"])
def test_exact_thresholds(value: str) -> None:
    """A plain 20.5 is its text, never a binary float."""
    assert thresholds(Policy.from_bytes(with_threshold(value))) == [value.strip("'")]


@pytest.mark.parametrize(
    "data",
    [
        b"a: &a [1]\nb: *a",
        text(name="&a test"),
        text(more="<<: {name: other}"),
        text(more="? [a, b]\n: c"),
        text(more="name: again"),
        text("[{check: frobenius-norm, tensors: '*', at_most: '20', at_most: '30'}]"),
        text('[{check: frobenius-norm, tensors: "*", at_most: "20", "at_\\x6dost": "30"}]'),
        text() + b"---\n" + text(),
        text() + b"...\ngarbage: [",
        b"\xff\xfe\xfd",
        b"\x00",
        text(name='"\\ud800"'),
        b"!!python/object/apply:os.system [ls]",
        b"!!python/name:os.system",
        text(name="!custom x"),
        text(name="!!binary x"),
        b"%YAML 3.0\n---\n" + text(),
        b"? [a, b]\n: c",
        b"[" * 100_000,
        b"{a: " * 5_000,
        b"- " * 50_000,
        b"[" + b"x," * 100_001 + b"]",
        b"x: '" + b"y" * MAX_POLICY_BYTES + b"'",
        text(name="1" * 10_000),
        text(name="0b" + "1" * 100_000),
    ],
    ids=lambda data: repr(data[:30]),
)
def test_hostile_yaml(data: bytes) -> None:
    """Aliases, duplicates, several documents, tags, depth, size: refused, and quickly."""
    start = time.perf_counter()
    refused(data)
    assert time.perf_counter() - start < 20


@pytest.mark.parametrize(
    "value",
    [
        "!!map [a]",
        "!!set [a]",
        '!!int ""',
        '!!int "+"',
        '!!float ""',
        "!!bool maybe",
        "!!timestamp then",
        "!!str x",
        "! x",
    ],
)
def test_tags(value: str) -> None:
    """PyYAML's constructors crash on some of these, so none of them is ever called."""
    assert "tags" in refused(text(name=value))


@given(st.binary(max_size=60) | st.text(alphabet="{}[]:,-'\"&*!|>%@` \nab?#", max_size=60).map(str.encode))
def test_any_bytes(data: bytes) -> None:
    refused(data)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(text())
    assert Policy.read(path) == Policy.from_bytes(text())
    for missing in (tmp_path / "missing", tmp_path):
        with pytest.raises(PolicyError, match="cannot read the policy"):
            Policy.read(missing)
    path.write_bytes(text() + b"#" * MAX_POLICY_BYTES)
    with pytest.raises(PolicyError, match="more than"):
        Policy.read(path)
    with pytest.raises(PolicyError, match="regular file"):
        Policy.read(Path("/dev/zero"))


def test_the_schema_lists_the_checks() -> None:
    published = json.dumps(schema())
    assert "frobenius-norm" in published and "at_most" in published


# ---------------------------------------------------------------- globs


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("*", 36),
        ("encoder.layer.*.query.weight", 12),
        ("encoder.layer.?.query.weight", 10),
        ("encoder.layer.1?.query.weight", 2),
        ("encoder.layer.1*.query.weight", 3),
        ("encoder.layer.*.*.weight", 24),
        ("*.*.*.*.*.weight", 12),
        ("encoder.layer.0.query.weight", 1),
        ("*.layer.0.*.*", 2),
    ],
)
def test_a_star_stays_within_one_segment(pattern: str, count: int) -> None:
    assert len(select(pattern, NAMES)) == count


@pytest.mark.parametrize(
    "pattern",
    ["**", "encoder.*", "encoder.layer.*", "*.weight", "query", "Encoder.layer.0.query.weight", "[a-z]*", "", "."],
)
def test_patterns_without_a_match(pattern: str) -> None:
    with pytest.raises(PolicyError, match="matches no committed tensor"):
        select(pattern, NAMES)


def test_near_misses_are_listed() -> None:
    with pytest.raises(PolicyError, match=r"near misses: encoder\.layer\.0\.query\.weight"):
        select("encoder.layer.0.qeury.weight", NAMES)
    with pytest.raises(PolicyError) as caught:
        select("zzz", NAMES)
    assert "near misses" not in str(caught.value)


def test_characters_of_regular_expressions_are_plain() -> None:
    names = ["a+b", "a.b", "(x)", "w[0]", "a\\d", "x^y$"]
    for name in names:
        assert select(name, names) == [name]


def test_any_pattern_is_fast() -> None:
    """Backtracking over many stars would take time exponential in their number."""
    start = time.perf_counter()
    for pattern in ("*" * 300 + "!", "*a" * 250 + "!", "*?" * 200 + "b"):
        with pytest.raises(PolicyError):
            select(pattern, ["a" * 512, "embeddings.word_embeddings.weight"])
    assert time.perf_counter() - start < 5


@given(st.text(alphabet="ab*?.", max_size=8), st.text(alphabet="ab.", min_size=1, max_size=8))
def test_globs_against_regular_expressions(pattern: str, name: str) -> None:
    if pattern == "*":
        expected = True
    else:
        parts = ["[^.]*" if c == "*" else "[^.]" if c == "?" else re.escape(c) for c in pattern]
        expected = re.fullmatch("".join(parts), name) is not None
    assert matches(pattern, name) == expected
