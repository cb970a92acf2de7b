"""Toprung at both ends of the versions that it allows."""
