"""What a body must be: of these fields and types, and text that PostgreSQL can keep."""

from typing import Any, cast

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, PydanticSerializationError, core_schema, to_json


class Model(BaseModel):
    """A request body. Unknown fields are refused; so is a number for a text, or `true` for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # FastAPI hands over Python values, whose strict mode would refuse every UUID and date, since JSON can
        # only spell them as text. So they are checked as the JSON they were, and then built.
        schema = handler(source)

        def check(data: Any) -> Any:
            given: Any = data  # narrowed alone, so that what is returned stays Any
            if isinstance(given, dict):
                cls.__pydantic_validator__.validate_json(_as_json(data), strict=True)
            return data

        checked = core_schema.no_info_before_validator_function(check, schema)
        return core_schema.json_or_python_schema(json_schema=schema, python_schema=checked)


def _as_json(data: Any) -> bytes:
    try:
        body = to_json(data)
    except PydanticSerializationError:  # a lone surrogate
        body = b""
    if (not body or b"\\u0000" in body) and (where := _unstorable(data)) is not None:
        error = PydanticCustomError("unstorable", "Input should have neither NUL nor lone surrogates")
        raise ValidationError.from_exception_data("body", [{"type": error, "loc": where, "input": None}])
    return body


def _unstorable(data: Any) -> tuple[str | int, ...] | None:
    """Where the first text is that PostgreSQL cannot keep; None when there is none."""
    match data:
        case str():
            return () if "\0" in data or data.encode(errors="ignore").decode() != data else None
        case dict():
            items = list(cast("dict[str, Any]", data).items())
        case list():
            items = list(enumerate(cast("list[Any]", data)))
        case _:
            return None
    for key, value in items:
        inner = () if _unstorable(key) is not None else _unstorable(value)
        if inner is not None:
            return (key.encode(errors="replace").decode() if isinstance(key, str) else key, *inner)
    return None
