"""Checking and preparing a sweep before it starts or is resumed."""
