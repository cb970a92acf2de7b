"""Sweeps without Ray, on trials that only pretend to train."""
