"""Webhook: the event as JSON to an address of the user's own."""

from bellwire.destinations.webhook.destination import DESTINATION

__all__ = ["DESTINATION"]
