"""Tables as CSV that a spreadsheet opens without running anything in it (OWASP ASVS 1.2.10)."""

from collections.abc import Iterable, Sequence

STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """RFC 4180, every text quoted."""
    lines = [header, *rows]
    return "".join(",".join(_cell(value) for value in line) + "\r\n" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return str(value)
    text = str(value).replace("\x00", "")
    if text.lstrip(" ").startswith(STARTS_A_FORMULA):
        text = f"'{text}"
    return '"' + text.replace('"', '""') + '"'
