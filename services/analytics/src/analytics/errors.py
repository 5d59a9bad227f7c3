"""What can go wrong in analytics, beyond the kit's tree.

LyceumError
├── Invalid
│   └── UnknownName    422   no such metric, dimension or filter; names the allowed ones
├── TooMany
│   └── Busy           429   every reader is taken
└── Unavailable
    ├── EngineDown     503   ClickHouse cannot be opened or reached
    └── TooExpensive   503   a query met its limit of time, memory or rows
"""

from lyceum_kit.errors import Invalid, TooMany, Unavailable


class UnknownName(Invalid):
    code, title = "unknown-name", "No such metric, dimension or filter"


class Busy(TooMany):
    code, title = "busy", "All readers are taken"


class EngineDown(Unavailable):
    code, title = "engine-down", "The analytics engine is not available right now"


class TooExpensive(Unavailable):
    code, title = "too-expensive", "The question met its limit"
