"""The folder of a sweep: its files, its driver, its study, and what it may use outside itself."""
