"""Bellwire: a self-hosted subscription-event hub."""
