"""Settings every service has. Each comes from an environment variable `LYCEUM_<NAME>` or a file in /run/secrets."""

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class KitSettings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="LYCEUM_", secrets_dir=None, extra="ignore", frozen=True)

    edition: Literal["local", "compose", "ha"] = "ha"
    database_url: SecretStr = Field(
        default=SecretStr("postgresql://localhost/lyceum"),
        description="The service's own PostgreSQL database, as its role: neither owner, superuser nor BYPASSRLS.",
    )
    migration_url: SecretStr | None = Field(
        default=None, description="The same database as its owner; only `migrate` needs it."
    )
    database_pool: int = Field(
        default=10, description="Connections this process keeps at most, for HTTP and gRPC."
    )

    kafka: str = Field(default="localhost:9092", description="Bootstrap servers, comma-separated.")
    kafka_user: str = Field(default="", description="SCRAM user; empty for no authentication.")
    kafka_password: SecretStr = SecretStr("")
    kafka_replication: int = Field(
        default=3, description="Copies of each feed's topic; 1 where there is one broker."
    )
    kafka_tls: bool = Field(default=False, description="Speak TLS to Kafka.")

    http_host: str = "0.0.0.0"  # noqa: S104 - a container's port; the local edition sets loopback
    http_port: int = 8080
    grpc_host: str = "0.0.0.0"  # noqa: S104
    grpc_port: int = 9090
    grpc_reflection: bool = Field(
        default=False, description="List services to grpc clients; on locally, off in `ha`."
    )

    drain_seconds: float = Field(
        default=5.0,
        description="How long a stopping process says so and still answers, until balancers notice.",
    )

    app_origin: str = Field(
        default="http://127.0.0.1:8080", description="Where browsers find the app, without a slash."
    )
    content_origin: str = Field(
        default="http://{package}.localhost:8081",
        description="Where browsers find a package; {package} is its id.",
    )

    issuer: str = Field(default="lyceum", description="`iss` of the tokens identity signs.")
    jwks_url: str = Field(
        default="http://identity:8080/api/identity/jwks", description="Identity's public keys."
    )
    token_url: str = Field(
        default="http://identity:8080/api/identity/token", description="Where to exchange a client's secret."
    )
    client_id: str = Field(
        default="", description="This service's own API client, for calls to other services."
    )
    client_secret: SecretStr = SecretStr("")

    identity_grpc: str = "identity:9090"
    catalog_grpc: str = "catalog:9090"
    enrollment_grpc: str = "enrollment:9090"
    assessment_grpc: str = "assessment:9090"
    analytics_grpc: str = "analytics:9090"

    otlp_endpoint: str = Field(default="", description="OTLP/gRPC collector; empty exports no traces.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"

    def grpc_address(self, service: str) -> str:
        """Where `service` answers gRPC, for example its EventFeed."""
        address = getattr(self, f"{service}_grpc")
        assert isinstance(address, str)
        return address
