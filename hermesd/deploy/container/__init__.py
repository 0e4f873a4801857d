"""hermesd in a persistent container of its host: what a manifest declares, and the calls that bring it about.

Everything here but ``files``, ``state_dir``, ``host_users`` and reading environment files is pure; the backend is
called through a ``Runner`` that is handed in.
"""
