"""Schemas of the custom resources in the overlays, so that a test needs neither a cluster nor the operators' files.

`extracted.json` has of each operator's definition as much as our documents use, which `python -m tests.k8s.schemas FOLDER…`
takes from folders of CustomResourceDefinitions; `by_hand.json` is ours, for operators whose definitions are not at hand. Both are
strict: what is not in them is an error. Rules in CEL are the API server's to check.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import jsonschema
import yaml

Schema = dict[str, Any]
Document = dict[str, Any]

FOLDER = Path(__file__).with_name("schemas")
# What says something about a value; descriptions and defaults do not.
TELLING = (
    "type", "enum", "pattern", "format", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "oneOf", "anyOf", "nullable",
)  # fmt: skip
NOTICE = (
    "Parts of the CustomResourceDefinitions of Strimzi, CloudNativePG, Altinity's clickhouse-operator, KEDA and the Kubernetes"
    " Gateway API, each under the Apache License 2.0; reduced to what deploy/k8s uses by tests/k8s/schemas.py."
)


def known() -> dict[str, Schema]:
    """By `apiVersion/kind`."""
    found: dict[str, Schema] = {}
    for name in ("extracted.json", "by_hand.json"):
        found |= json.loads((FOLDER / name).read_text())["schemas"]
    return found


def check(document: Document, schemas: Mapping[str, Schema]) -> Iterator[str]:
    """What is wrong with a custom resource."""
    schema = schemas.get(_key(document))
    if schema is None:
        yield f"there is no schema of {_key(document)}: {__doc__}"
        return
    validator = cast("Any", jsonschema.Draft7Validator(schema))  # partly unknown to its stubs
    for error in validator.iter_errors(document["spec"]):
        yield f"{error.json_path.replace('$', 'spec', 1)}: {error.message}"


def reduced(schema: Schema, values: Sequence[Any]) -> Schema:
    """As much of a schema as these values need, closed to all others. Fails at a value that the schema does not know."""
    kept: Schema = {k: schema[k] for k in TELLING if k in schema}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return {"type": schema["type"]} if "type" in schema else {}
    if schema.get("type") == "object":
        return kept | _object(
            schema, cast("list[dict[str, Any]]", [v for v in values if isinstance(v, dict)])
        )
    if schema.get("type") == "array":
        inside = [item for v in values if isinstance(v, list) for item in cast("list[Any]", v)]
        kept["items"] = reduced(schema["items"], inside)
    return kept


def _object(schema: Schema, values: Sequence[dict[str, Any]]) -> Schema:
    if isinstance(more := schema.get("additionalProperties"), dict):
        inside = [item for v in values for item in v.values()]
        return {"additionalProperties": reduced(cast("Schema", more), inside)}
    properties: Schema = schema.get("properties", {})
    used = sorted({name for v in values for name in v} | set(schema.get("required", ())))
    unknown = [name for name in used if name not in properties]
    if unknown:
        raise SystemExit(f"the definitions know no {', '.join(unknown)}; they know {', '.join(properties)}")
    closed: Schema = {
        "properties": {
            name: reduced(properties[name], [v[name] for v in values if name in v]) for name in used
        },
        "additionalProperties": False,
    }
    return closed | ({"required": schema["required"]} if schema.get("required") else {})


def definitions(folders: Sequence[Path]) -> dict[str, Schema]:
    """Of the specs, by `apiVersion/kind`."""
    found: dict[str, Schema] = {}
    for file in (f for folder in folders for f in sorted(folder.glob("*.yaml"))):
        for crd in yaml.safe_load_all(file.read_text()):
            if not crd or crd.get("kind") != "CustomResourceDefinition":
                continue
            spec = crd["spec"]
            for version in spec["versions"]:
                key = f"{spec['group']}/{version['name']}/{spec['names']['kind']}"
                found[key] = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def main(folders: Sequence[Path], documents: Sequence[Document]) -> None:
    """Write what these documents need."""
    by_kind: dict[str, list[Any]] = {}
    for document in documents:
        by_kind.setdefault(_key(document), []).append(document.get("spec"))
    defined = definitions(folders)
    schemas = {key: reduced(defined[key], by_kind[key]) for key in sorted(by_kind.keys() & defined.keys())}
    text = json.dumps({"notice": NOTICE, "schemas": schemas}, indent=1, sort_keys=True)
    (FOLDER / "extracted.json").write_text(f"{text}\n")


def _key(document: Document) -> str:
    return f"{document['apiVersion']}/{document['kind']}"


if __name__ == "__main__":
    from lyceum_local.testing.kubernetes import OVERLAYS, render

    main(
        [Path(folder) for folder in sys.argv[1:]],
        [d for o in sorted(OVERLAYS.iterdir()) if o.is_dir() for d in render(o)],
    )
