"""PURE: the statements that give the analysts of one organisation a read-only user on a ClickHouse server.

Analytics does not run them: it may not make users, so that whoever takes it over cannot either. The server's
administrator does (docs/operations/analysts.md).
"""

import re
from importlib import resources
from string import Template
from uuid import UUID

from analytics.engine import DATABASE
from analytics.projections import COLUMNS, table
from analytics.schema import clauses, split

NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def statements(
    name: str,
    tenant: UUID,
    password_sha256: str,
    *,
    writer: str = "default",
    database: str = DATABASE,
    cluster: str = "",
) -> list[str]:
    """`name`: what user and role are called, after `lyceum_`; `writer`: analytics' own user, which sees all rows.
    Raises ValueError for what would be no name."""
    if not NAME.fullmatch(name) or not NAME.fullmatch(writer):
        raise ValueError(
            f"{name!r}, {writer!r}: a name is small letters, digits and _, and begins with a letter"
        )
    if not re.fullmatch("[0-9a-f]{64}", password_sha256):
        raise ValueError("the SHA-256 of a password has 64 hexadecimal digits")
    role, on_cluster = f"lyceum_{name}_role", clauses(cluster)["on_cluster"]
    tables = [f"{database}.{table(feed)}" for feed in COLUMNS]

    def policies(policy: str, condition: str, kind: str, whom: str) -> list[str]:
        return [
            f"CREATE ROW POLICY OR REPLACE {policy} {on_cluster} ON {of}"
            f" FOR SELECT USING {condition} AS {kind} TO {whom}"
            for of in tables
        ]

    theirs = f"tenant = toUUID('{tenant}')"
    of_role = [
        *policies(f"lyceum_{name}_only", theirs, "RESTRICTIVE", role),
        *policies(f"lyceum_{name}_sees", theirs, "PERMISSIVE", role),
    ]
    readable = (*tables, f"{database}.v1_*")
    grants = [f"GRANT {on_cluster} SELECT, SHOW COLUMNS ON {of} TO {role}" for of in readable]
    sql = Template((resources.files("analytics") / "analysts.sql").read_text(encoding="utf-8"))
    return split(
        sql.substitute(
            user=f"lyceum_{name}",
            role=role,
            database=database,
            on_cluster=on_cluster,
            password_sha256=password_sha256,
            policies_of_writer=";\n".join(policies("lyceum_analytics_sees", "1", "PERMISSIVE", writer)),
            policies_of_role=";\n".join(of_role),
            grants=";\n".join(grants),
        )
    )
