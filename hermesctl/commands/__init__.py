"""Verbs of hermesctl, a file each."""
