"""Texts of one line: names and titles, which stand beside other text in pages, terminals and spreadsheets."""

import re
from typing import Annotated

from pydantic import StringConstraints

# What a terminal acts on, what breaks a line, and what turns the writing of the text around it (bidi overrides).
UNSEEN = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_UNSEEN = re.compile(f"[{UNSEEN}]")

Line = Annotated[str, StringConstraints(pattern=rf"^[^{UNSEEN}]*[^{UNSEEN}\s][^{UNSEEN}]*$")]


def one_line(text: str) -> str:
    """For texts that cannot be sent back for a stray tab: what is unseen counts as a space."""
    return " ".join(_UNSEEN.sub(" ", text).split())
