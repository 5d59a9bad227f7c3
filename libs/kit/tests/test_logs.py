"""Log lines: one each, with their trace, without secrets, and never drawn by what came from outside."""

import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

import pytest
import structlog

from lyceum_kit import logs, telemetry
from lyceum_kit.settings import KitSettings

Lines = list[dict[str, Any]]


class Output:
    """What was logged to standard output, parsed."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def configure(self, log_format: Literal["json", "console"] = "json") -> None:
        logs.configure(KitSettings(log_format=log_format, log_level="INFO"))

    def text(self) -> str:
        return self._capture.readouterr().out

    def lines(self) -> Lines:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Iterator[Output]:
    made = Output(capsys)
    yield made
    with capsys.disabled():  # or the next test would log into this one's closed file
        made.configure("console")


def test_a_line_says_when_who_and_what(output: Output) -> None:
    output.configure()
    structlog.get_logger("lyceum.feed").info("gap healed", feed="identity", events=3)
    [line] = output.lines()
    assert (line["event"], line["level"], line["logger"]) == ("gap healed", "info", "lyceum.feed")
    assert (line["feed"], line["events"]) == ("identity", 3)
    assert line["timestamp"].endswith("Z")


def test_lines_within_a_span_name_it(output: Output) -> None:
    output.configure()
    telemetry.provider_of("test")
    with telemetry.span("work") as span:
        structlog.get_logger().info("inside")
    structlog.get_logger().info("outside")
    inside, outside = output.lines()
    assert inside["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert inside["span_id"] == f"{span.get_span_context().span_id:016x}"
    assert "trace_id" not in outside


def test_libraries_log_in_the_same_format(output: Output) -> None:
    output.configure()
    logging.getLogger("uvicorn.error").warning("port %s is taken", 8080)
    [line] = output.lines()
    assert (line["event"], line["level"]) == ("port 8080 is taken", "warning")


def test_debug_is_left_out_unless_asked_for(output: Output) -> None:
    output.configure()
    structlog.get_logger().debug("detail")
    assert output.lines() == []


@pytest.mark.parametrize("key", sorted(logs.PRIVATE))
def test_personal_data_and_secrets_are_hidden(output: Output, key: str) -> None:
    output.configure()
    structlog.get_logger().info("signed in", **{key: "ada@example.org"})
    text = output.text()
    assert "ada@example.org" not in text
    assert json.loads(text)[key] == "[hidden]"


HOSTILE = "a\r\n2026 [error] forged\x1b[2J\x00\u202egpj\u2028end\x7f\x85"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_value_cannot_start_a_line_or_drive_a_terminal(
    output: Output, log_format: Literal["json", "console"]
) -> None:
    output.configure(log_format)
    structlog.get_logger().info(HOSTILE, value=HOSTILE, nested={"key\n": [HOSTILE]})
    text = output.text()
    assert len(text.splitlines()) == 1
    assert not set(text.rstrip("\n")) & set("\r\n\x1b\x00\u202e\u2028\x7f\x85")
    assert "forged" in text


def test_a_traceback_keeps_its_lines_and_loses_what_it_quotes(output: Output) -> None:
    output.configure("console")
    try:
        raise ValueError("\x1b[31mred")
    except ValueError:
        structlog.get_logger().exception("failed")
    text = output.text()
    assert "Traceback" in text
    assert len(text.splitlines()) > 3
    assert "\x1b" not in text
