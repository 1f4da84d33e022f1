"""Google Play: Real-time developer notifications in, the Play Developer API asked, snapshots out (spec: stores 3)."""

from bellwire.stores.google.adapter import GoogleAdapter

__all__ = ["GoogleAdapter"]
