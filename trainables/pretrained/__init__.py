"""Pretrained weights: which there are, and loading them."""
