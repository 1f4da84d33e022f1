"""App Store and Mac App Store."""

from bellwire.stores.apple.adapter import AppleAdapter

__all__ = ["AppleAdapter"]
