"""For tests that go over all of it: every HTTP operation and every RPC of a running platform, and requests to them."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import grpc
import grpc.aio
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from lyceum_local.config import Config
from lyceum_local.paths import SERVICES
from lyceum_local.testing import Platform

Json = Mapping[str, Any]
# A cursor is no text of a person's. Naming a tenant would hide what else is asked: that is tried on its own.
NOT_FILLED = ("after", "tenant_slug")
PLACEHOLDER = re.compile(r"{([^}]+)}")


@dataclass(frozen=True)
class Operation:
    """One operation of a service's OpenAPI document."""

    method: str
    path: str
    spec: Json
    schemas: Json

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def statuses(self) -> set[int]:
        """All that the document tells of."""
        return {int(status) for status in self.spec["responses"]}

    def parameters(self, where: str) -> list[Json]:
        return [p for p in self.spec.get("parameters", ()) if p["in"] == where]

    @property
    def body(self) -> Json | None:
        """The schema of its JSON body, when it has one."""
        content = self.spec.get("requestBody", {}).get("content", {})
        return content.get("application/json", {}).get("schema")

    def url(self, value: str) -> str:
        """With `value` wherever the path names something."""
        return PLACEHOLDER.sub(lambda _: value, self.path)

    def query(self, value: str) -> dict[str, str]:
        """`value` for each parameter that takes any text, but for those of `NOT_FILLED`."""
        named = [p for p in self.parameters("query") if p["name"] not in NOT_FILLED]
        return {
            p["name"]: value for p in named if "string" in str(p["schema"]) and "enum" not in str(p["schema"])
        }

    def example(self, value: str) -> Any:
        """A body of the right shape with `value` in each text."""
        return None if self.body is None else self._example(self.body, value)

    def _example(self, schema: Json, value: str) -> Any:
        if "$ref" in schema:
            return self._example(self.schemas[schema["$ref"].rpartition("/")[2]], value)
        if "anyOf" in schema:
            return self._example(schema["anyOf"][0], value)
        if "enum" in schema:
            return schema["enum"][0]
        match schema.get("type"):
            case "object":
                properties = schema.get("properties", {})
                return {k: self._example(v, value) for k, v in properties.items() if k not in NOT_FILLED}
            case "array":
                return [self._example(schema["items"], value)]
            case "string":
                return "2999-01-01" if schema.get("format") == "date" else value
            case "integer" | "number":
                return schema.get("minimum", 1)
            case "boolean":
                return False
            case _:  # anything: the only such body is a rule's condition
                return {"attribute": "department", "operator": "is", "value": value}


async def operations(platform: Platform) -> list[Operation]:
    """Those of all services, as their documents tell."""
    found: list[Operation] = []
    async with platform.http() as http:
        for service in SERVICES:
            document = (await http.get(f"/api/{service}/openapi.json")).raise_for_status().json()
            schemas = document["components"]["schemas"]
            found += [
                Operation(method.upper(), path, spec, schemas)
                for path, methods in document["paths"].items()
                for method, spec in methods.items()
            ]
    return found


@dataclass(frozen=True)
class Rpc:
    """One RPC, as reflection tells."""

    address: str
    method: MethodDescriptor

    @property
    def name(self) -> str:
        service = self.method.containing_service
        assert service is not None
        return f"/{service.full_name}/{self.method.name}"

    def request(self, value: str = "") -> Message:
        """With `value` in each text."""
        message = message_factory.GetMessageClass(self.method.input_type)()
        if value:
            _fill(message, value)
        return message

    async def call(
        self, channel: grpc.aio.Channel, request: Message | bytes, token: str = ""
    ) -> tuple[grpc.StatusCode, str, list[Message]]:
        """Status, detail and what was answered."""
        answer = message_factory.GetMessageClass(self.method.output_type)
        kind = "unary_stream" if self.method.server_streaming else "unary_unary"
        ask = getattr(cast("Any", channel), kind)(self.name, response_deserializer=answer.FromString)
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        running = ask(raw, metadata=(("authorization", f"Bearer {token}"),) if token else (), timeout=10)
        got: list[Message] = []
        try:
            if self.method.server_streaming:
                got = [message async for message in running]
            else:
                got.append(await running)
        except grpc.aio.AioRpcError as e:
            return e.code(), e.details() or "", got
        return grpc.StatusCode.OK, "", got


async def rpcs(config: Config) -> list[Rpc]:
    """Those of all services; the infrastructure's own, health and reflection, are not ours to guard."""
    return await asyncio.to_thread(lambda: list(_reflected(config)))


def _reflected(config: Config) -> Iterable[Rpc]:
    for address in dict.fromkeys(f"127.0.0.1:{config.grpc_port(service)}" for service in SERVICES):
        with grpc.insecure_channel(address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            pool = descriptor_pool.DescriptorPool(database)
            for name in cast("Iterable[str]", database.get_services()):
                if not name.startswith("grpc."):
                    for method in pool.FindServiceByName(name).methods:
                        yield Rpc(address, method)


def _fill(message: Message, value: str) -> None:
    for field in message.DESCRIPTOR.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
