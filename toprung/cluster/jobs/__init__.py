"""Sweeps as jobs on a cluster, and what is fetched from there."""
