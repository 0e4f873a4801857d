"""hermesd: every agent you own in one supervised process."""

__version__ = "0.1.0"
