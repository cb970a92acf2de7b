"""The results of a sweep, read without Ray: selecting, testing, reporting and exporting a model."""
