"""Sweeps that are killed and resumed, again and again: what comes out must be what would have."""
