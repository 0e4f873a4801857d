"""Calls of hermesctl on a host whose hermesd lives in a container go into that container (docs/containers.md)."""
