"""The search spaces of the sweeps that are killed."""
