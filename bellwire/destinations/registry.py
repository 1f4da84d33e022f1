"""Every destination there is, by slug. Adding one is a folder and a line here."""

from bellwire.destinations import webhook
from bellwire.destinations.base import Destination

DESTINATIONS: dict[str, Destination] = {destination.slug: destination for destination in (webhook.DESTINATION,)}
