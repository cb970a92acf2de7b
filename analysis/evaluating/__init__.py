"""Evaluating a model on the user's own images."""
