"""Keeping secrets out of Ray's processes, and out of what travels to a cluster."""
