"""Durable state: inbox, journal, outbox, sessions, events."""
