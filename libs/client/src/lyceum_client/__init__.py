"""Lyceum for other teams' services: docs/guides/call-from-your-service.md says how. Needs the contracts, not the kit."""

from lyceum_client.client import Lyceum
from lyceum_client.feed import Event, OtherHistory, Position
from lyceum_client.tokens import Credential, TokenRefused

__all__ = ["Credential", "Event", "Lyceum", "OtherHistory", "Position", "TokenRefused"]
