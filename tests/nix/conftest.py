"""One installation of Nix for the tests of a process."""

from __future__ import annotations

import pytest

from tests.nix.evaluation import Nix


@pytest.fixture(scope="session")
def nix(tmp_path_factory: pytest.TempPathFactory) -> Nix:
    """Nix with a store, a configuration and a home of its own."""
    return Nix.below(tmp_path_factory.mktemp("nix"))
