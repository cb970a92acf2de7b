"""The contents of a study: trials, learning curves, rungs, confirmation runs."""
