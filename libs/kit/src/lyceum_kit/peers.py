"""Channels to the other services, and the token that this one calls them with."""

import asyncio
import json
from uuid import UUID

import grpc
import grpc.aio

from lyceum_kit import telemetry
from lyceum_kit.rpc import DEADLINE, MAX_MESSAGE
from lyceum_kit.settings import KitSettings
from lyceum_kit.tls import Files, Renewed
from lyceum_kit.tokens import ServiceCredential, TokenSource

Metadata = tuple[tuple[str, str], ...]

# Every RPC of Lyceum reads, so each may be sent again; a stream only while nothing of it has arrived. A server that goes
# cancels what reached it at that moment and was not taken up.
_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                },
            }
        ]
    }
)


_CHANNEL = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
]


async def _leave(channel: grpc.aio.Channel) -> None:
    """Close it once no call can be on it any more."""
    try:
        await asyncio.sleep(DEADLINE)
    finally:
        await channel.close(None)


class Peers:
    """The other services, by name: one channel each, and this service's own token for calls."""

    def __init__(self, settings: KitSettings, credential: TokenSource | None = None) -> None:
        self._settings = settings
        self._credential = credential or ServiceCredential(
            settings.token_url, settings.client_id, settings.client_secret
        )
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._tls: Renewed[grpc.ChannelCredentials] | None = None
        if settings.grpc_ca:
            files = Files(settings.grpc_ca, settings.grpc_certificate, settings.grpc_key)
            self._tls = Renewed(files, _channel_credentials)
        self._leaving: set[asyncio.Task[None]] = set()

    def channel(self, service: str) -> grpc.aio.Channel:
        """Connects when first used, and again whenever it breaks. For one call: when certificates were replaced, the
        next one gets another channel, since a channel keeps what it was made with."""
        credentials, other = self._tls() if self._tls else (None, False)
        if other:
            for channel in self._channels.values():
                leaving = asyncio.create_task(_leave(channel))
                self._leaving.add(leaving)
                leaving.add_done_callback(self._leaving.discard)
            self._channels.clear()
        if service not in self._channels:
            address = self._settings.grpc_address(service)
            self._channels[service] = (
                grpc.aio.secure_channel(address, credentials, options=_CHANNEL)
                if credentials
                else grpc.aio.insecure_channel(address, options=_CHANNEL)
            )
        return self._channels[service]

    async def metadata(self, tenant: UUID | None) -> Metadata:
        """This service's token for `tenant` (None: for all) and the running trace."""
        pairs = (("authorization", f"Bearer {await self._credential.token(tenant)}"),)
        traceparent = telemetry.current_traceparent()
        return (*pairs, ("traceparent", traceparent)) if traceparent else pairs

    async def close(self) -> None:
        for leaving in self._leaving:
            leaving.cancel()  # closes its channel
        await asyncio.gather(*self._leaving, return_exceptions=True)
        for channel in self._channels.values():
            await channel.close(None)
        self._channels.clear()
        await self._credential.close()


def _channel_credentials(files: Files) -> grpc.ChannelCredentials:
    ca, certificate, key = files.read()
    return grpc.ssl_channel_credentials(ca, private_key=key, certificate_chain=certificate)
