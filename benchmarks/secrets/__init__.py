"""Secrets in all that a sweep is given, and a search for them in all that it leaves."""
