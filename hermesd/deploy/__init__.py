"""Living under a process supervisor."""
