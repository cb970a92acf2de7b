"""Pretrained weights: which are offered, and loading them."""
