"""Listing the images on the disk: folders, CSV files, lists."""
