"""Structured logs, set up once per process: one line per happening, with its trace, without personal data."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, cast

import structlog
from opentelemetry import trace
from structlog.typing import Processor

from lyceum_kit.settings import KitSettings

# Keys whose values would be personal data or secrets. A log line is no place for them, whatever was meant.
PRIVATE = frozenset(
    {
        *("birth_date", "display_name", "email", "family_name", "given_name", "name", "phone"),
        *("authorization", "client_secret", "cookie", "password", "secret", "token"),
    }
)
# C0 and C1 controls, DEL, line and paragraph separators, bidirectional overrides: they forge or hide a line.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

Event = MutableMapping[str, Any]


def configure(settings: KitSettings) -> None:
    """Route structlog and the standard library's loggers to standard output in one format."""
    console = settings.log_format == "console"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_trace,
        hide_private,
        structlog.processors.format_exc_info,
        escape_controls,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty())
        if console
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    # Chatter of libraries: a line per request or per Kafka heartbeat says nothing an operator can use.
    for noisy in ("httpx", "httpcore", "aiokafka", "uvicorn.access", "alembic"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def add_trace(_logger: Any, _method: str, event: Event) -> Event:
    """Name the running span, so that a line leads to its trace."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
        event["span_id"] = trace.format_span_id(context.span_id)
    return event


def hide_private(_logger: Any, _method: str, event: Event) -> Event:
    for key in PRIVATE & event.keys():
        event[key] = "[hidden]"
    return event


def escape_controls(_logger: Any, _method: str, event: Event) -> Event:
    """A value from outside must not start a line of its own or drive a terminal."""
    for key, value in event.items():
        # A traceback's own line breaks stay readable; they are ours. What it quotes cannot be told apart, so
        # everything else in it is escaped all the same.
        event[key] = _escaped(value, keep="\n" if key == "exception" else "")
    return event


def _escaped(value: Any, *, keep: str = "") -> Any:
    if isinstance(value, str):
        # Not by the codec: there is none any more for what is said while the interpreter ends.
        return _CONTROL.sub(lambda m: m[0] if m[0] in keep else ascii(m[0])[1:-1], value)
    if isinstance(value, dict):
        return {_escaped(k): _escaped(v) for k, v in cast("dict[Any, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_escaped(v) for v in cast("list[Any]", value)]
    return value
