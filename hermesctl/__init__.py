"""hermesctl: the stateless client of hermesd's Unix socket."""

__version__ = "0.1.0"  # that of hermesd, repeated because the fast path imports nothing of it; a test compares them
