"""Images as they lie on the disk: folders, CSV files, lists."""
