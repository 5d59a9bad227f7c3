"""Settings every service has. Each comes from an environment variable `LYCEUM_<NAME>`, else from a file of that name in
lower case in /run/secrets, where containers find their secrets."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from lyceum_kit.tls import Files

SECRETS = Path("/run/secrets")


class KitSettings(BaseSettings):
    model_config = SettingsConfigDict(
        env_prefix="LYCEUM_", secrets_dir=SECRETS if SECRETS.is_dir() else None, extra="ignore", frozen=True
    )

    edition: Literal["local", "compose", "ha"] = Field(
        default="ha", description="`local` alone has personas to sign in as."
    )
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
    kafka_password: SecretStr = Field(default=SecretStr(""), description="Its password.")
    kafka_replication: int = Field(
        default=3, description="Copies of each feed's topic; 1 where there is one broker."
    )
    kafka_tls: bool = Field(default=False, description="Speak TLS to Kafka.")
    kafka_ca: str = Field(
        default="", description="File of the authorities that sign its brokers; empty: the system's."
    )
    kafka_certificate: str = Field(
        default="", description="File of this service's certificate, where Kafka knows its users by theirs."
    )
    kafka_key: str = Field(default="", description="File of its key.")

    http_host: str = Field(
        default="0.0.0.0",  # noqa: S104 - a container's port; the local edition sets loopback
        description="Where HTTP listens.",
    )
    http_port: int = Field(default=8080, description="Its port.")
    grpc_host: str = Field(default="0.0.0.0", description="Where gRPC listens.")  # noqa: S104 - as above
    grpc_port: int = Field(default=9090, description="Its port.")
    grpc_certificate: str = Field(
        default="", description="File of this service's certificate, for callers and peers; empty: no TLS."
    )
    grpc_key: str = Field(default="", description="File of its key.")
    grpc_ca: str = Field(
        default="", description="File of the authorities that sign peers; empty: they are called without TLS."
    )
    grpc_client_ca: str = Field(
        default="",
        description="File of the authorities whose certificate callers have to show; empty: no need.",
    )
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
    client_secret: SecretStr = Field(default=SecretStr(""), description="Its secret.")

    identity_grpc: str = Field(default="identity:9090", description="Where identity answers gRPC.")
    catalog_grpc: str = Field(default="catalog:9090", description="The same of catalog.")
    enrollment_grpc: str = Field(default="enrollment:9090", description="The same of enrollment.")
    assessment_grpc: str = Field(default="assessment:9090", description="The same of assessment.")
    analytics_grpc: str = Field(default="analytics:9090", description="The same of analytics.")

    otlp_endpoint: str = Field(default="", description="OTLP/gRPC collector; empty exports no traces.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The least that is logged."
    )
    log_format: Literal["json", "console"] = Field(
        default="json", description="A line of JSON for each, or text for people."
    )

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        for certificate, key in (
            (self.kafka_certificate, self.kafka_key),
            (self.grpc_certificate, self.grpc_key),
        ):
            if bool(certificate) != bool(key):
                raise ValueError("a certificate goes with its key")
        if (self.kafka_ca or self.kafka_certificate) and not self.kafka_tls:
            raise ValueError("files for TLS to Kafka are set, and LYCEUM_KAFKA_TLS is not")
        if self.grpc_client_ca and not self.grpc_certificate:
            raise ValueError("callers cannot show a certificate without LYCEUM_GRPC_CERTIFICATE")
        return self

    @property
    def kafka_files(self) -> Files:
        return Files(self.kafka_ca, self.kafka_certificate, self.kafka_key)

    def grpc_address(self, service: str) -> str:
        """Where `service` answers gRPC, for example its EventFeed."""
        address = getattr(self, f"{service}_grpc")
        assert isinstance(address, str)
        return address
