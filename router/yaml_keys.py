"""Reads YAML whose field names are texts as they are written: `on`, `no`, `null` and `1` name fields, as they do in JSON."""

from __future__ import annotations

from typing import Any

import yaml

_MERGE = "tag:yaml.org,2002:merge"
_TEXT = "tag:yaml.org,2002:str"
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class TextKeyLoader(_Loader):  # type: ignore[misc]
    """The safe loader of PyYAML, which speaks YAML 1.1, where a field called `on` would be the boolean `true`."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        self.flatten_mapping(node)
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                key.tag = _TEXT
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


def load(text: str) -> Any:
    """Reads a document. Raises yaml.YAMLError, RecursionError or ValueError."""
    return yaml.load(text, Loader=TextKeyLoader)
