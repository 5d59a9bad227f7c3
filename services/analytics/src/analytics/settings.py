"""Analytics' settings. It has no PostgreSQL: `database_url` is not used."""

from pydantic import Field, SecretStr

from lyceum_kit.settings import KitSettings


class Settings(KitSettings):
    clickhouse_url: SecretStr = Field(
        default=SecretStr("http://default@localhost:8123/lyceum"),
        description="A server, http(s)://user:password@host:8123/database, or the engine in this process:"
        " chdb:///folder.",
    )
    clickhouse_cluster: str = Field(
        default="",
        description="Name of the server's cluster; then tables are replicated on it. Empty: plain tables.",
    )
    analytics_readers: int = Field(
        default=2, ge=1, le=16, description="Dashboard queries that may run at once."
    )
    analytics_memory: int = Field(
        default=1_500_000_000, ge=200_000_000, description="Bytes the embedded engine may use at most."
    )
    analytics_insert_pause: float = Field(
        default=0.2,
        ge=0,
        le=10,
        description="Seconds between two inserts of few events: many small parts cost more than they tell.",
    )

    analytics_sql_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="The operator's read-only ClickHouse endpoint; 0: there is none.",
    )
    analytics_sql_host: str = Field(
        default="127.0.0.1", description="Where it listens. It sees every tenant."
    )
    analytics_sql_user: str = Field(default="operator", description="Its user.")
    analytics_sql_password: SecretStr = Field(
        default=SecretStr(""), description="Its password; the endpoint stays closed without one."
    )
    analytics_sql_seconds: int = Field(
        default=10, ge=1, le=600, description="Longest time of one of its queries."
    )
    analytics_sql_memory: int = Field(
        default=500_000_000, ge=10_000_000, description="Most memory of one of its queries."
    )
    analytics_sql_rows: int = Field(default=1_000_000, ge=1, description="Most rows of one answer.")
    analytics_sql_bytes: int = Field(
        default=64 * 1024 * 1024, ge=1024, description="Most bytes of one answer."
    )
    analytics_sql_queries: int = Field(
        default=2, ge=1, le=16, description="Queries of the endpoint that may run at once."
    )
