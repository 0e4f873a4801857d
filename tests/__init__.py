"""Tests of hermesd, by behaviour."""
