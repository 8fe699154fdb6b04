"""The part of YAML that policy files use: mappings, sequences, strings, plain booleans and plain decimal integers.

PyYAML composes the nodes; they are turned into values here, so that no tag, alias, merge key or number format of YAML
that surprises people (sexagesimals, octals, binary floats) has a meaning.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from circuits.errors import PolicyError

MAX_NODES = 100_000
MAX_DEPTH = 20
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_BOOLEANS = {"true": True, "false": False}


def loads(data: bytes) -> Any:
    """Parse. Raises PolicyError for anything outside the subset."""
    loader = yaml.BaseLoader("")
    try:
        text = data.decode("utf-8")
        loader = _Loader(text)
        node = loader.get_single_node()
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PolicyError(f"the policy is not valid YAML: {first}") from None
    finally:
        loader.dispose()
    return _value(node)


class _Loader(yaml.BaseLoader):
    """Composes nodes; refuses aliases, tags, too many and too deep nodes while composing."""

    count = 0
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.YAMLError("anchors and aliases are not allowed in a policy; write the values out")
        if getattr(event, "tag", None) is not None:
            raise yaml.YAMLError("tags are not allowed in a policy")
        self.count += 1
        self.depth += 1
        if self.count > MAX_NODES or self.depth > MAX_DEPTH:
            raise yaml.YAMLError("the policy has too many entries or is nested too deeply")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _value(node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        out: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in out:
                raise PolicyError("a mapping of the policy has the same key twice, or a key that is no word")
            out[key.value] = _value(value)
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_value(value) for value in node.value]
    if isinstance(node, yaml.ScalarNode):
        if node.style is None and node.value in _BOOLEANS:
            return _BOOLEANS[node.value]
        return int(node.value) if node.style is None and _INTEGER.fullmatch(node.value) else node.value
    raise PolicyError("the policy is empty")
