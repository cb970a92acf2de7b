"""The search: which trial is next."""
