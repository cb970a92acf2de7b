"""Applying a network to images: input, precision, predictions, figures."""
