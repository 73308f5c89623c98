"""The reference of the HTTP interface in Markdown, made from its OpenAPI document.

``python -m ums_core.service.reference > docs/reference/http-api.md``
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from ums_core.service.app import create_app
from ums_core.settings import UnifiedSettings

__all__ = ["markdown"]

_HEAD = """# HTTP interface

Made from the OpenAPI document, which a running service gives at `/openapi.json` and shows at `/docs`.
Requests and answers are JSON; a vector is base64 of little-endian float32 numbers, or a list of numbers. Errors are
problem details (RFC 9457) with a `code` of [errors](errors.md), and repeat nothing of the request. A token goes in the
header: `Authorization: Bearer ums_…`, or `X-API-Token`; never in a URL.
"""


def markdown(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document."""
    return "\n".join([_HEAD, *_routes(document), "# Schemas\n", *_schemas(document)]).rstrip() + "\n"


def _routes(document: Mapping[str, Any]) -> Iterator[str]:
    for path, ways in document["paths"].items():
        for method, way in ways.items():
            yield f"## `{method.upper()} {path}`\n"
            yield f"{way['summary']} {way['description']}\n"
            body = way.get("requestBody")
            if body is not None:
                yield f"Body: {_kind(body['content']['application/json']['schema'])}.\n"
            yield "| status | |\n|---|---|"
            for status, answer in sorted(way["responses"].items()):
                told = _schema(answer)
                kind = f" {_kind(told)}." if "$ref" in told and status == "200" else ""
                yield f"| {status} | {answer['description']}{kind} |"
            yield ""


def _schema(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of an answer's only content."""
    contents: list[Mapping[str, Any]] = [*answer.get("content", {}).values(), {"schema": {}}]
    schema: Mapping[str, Any] = contents[0].get("schema", {})
    return schema


def _schemas(document: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield f"## {name}\n"
        if "description" in schema:
            yield f"{schema['description']}\n"
        if not schema.get("properties"):
            continue
        yield "| field | type | |\n|---|---|---|"
        for field, about in schema["properties"].items():
            must = " **required**" if field in schema.get("required", ()) else ""
            text = str(about.get("description", "")).replace("|", "\\|").replace("``", "`")
            yield f"| `{field}` | {_kind(about)} |{must} {text} |"
        yield ""


def _kind(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array" and "items" in schema:
        return f"list of {_kind(schema['items'])}"
    return str(schema.get("type", "any JSON"))


if __name__ == "__main__":
    sys.stdout.write(markdown(create_app(UnifiedSettings.for_testing()).openapi()))
