"""Adds examples to the bodies and answers of an OpenAPI document: of requests written ones, of answers made ones."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from edge.errors import Problem
from edge.http.openapi.samples import sample

_JSON = "application/json"


@cache
def written() -> Mapping[str, Mapping[str, Any]]:
    """The examples of requests: by component or operation, then by their names."""
    text = (Path(__file__).parent / "examples.yaml").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return found


def problem_examples(paths: Mapping[str, Any]) -> dict[str, Any]:
    """One example for each problem that the operations refer to."""
    used = set(re.findall(r"#/components/examples/(\w+)", json.dumps(paths)))
    return {code: {"summary": Problem(code).title, "value": Problem(code).body()} for code in sorted(used)}


def with_examples(paths: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    """The operations of a document with examples of their JSON bodies and answers."""
    return {
        path: {method: _operation(operation, schemas) for method, operation in item.items()}
        for path, item in paths.items()
    }


def _operation(operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    made = dict(operation)
    if "requestBody" in made:
        made["requestBody"] = _content(made["requestBody"], lambda schema: _of_request(made, schema, schemas))
    made["responses"] = {
        status: _content(answer, lambda schema: {"example": sample(schema, schemas, full=True)})
        for status, answer in made["responses"].items()
    }
    return made


def _of_request(operation: Mapping[str, Any], schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> dict[str, Any]:
    names = (operation["operationId"], schema.get("$ref", "").rpartition("/")[2])
    found = next((written()[name] for name in names if name in written()), None)
    if found is None:
        return {"example": sample(schema, schemas, full=True)}
    return {"examples": {name.replace(" ", "-"): {"summary": name, "value": value} for name, value in found.items()}}


def _content(holder: Mapping[str, Any], examples: Any) -> dict[str, Any]:
    made = dict(holder)
    if _JSON in made.get("content", {}):
        given = made["content"][_JSON]
        made["content"] = {**made["content"], _JSON: {**given, **examples(given["schema"])}}
    return made
