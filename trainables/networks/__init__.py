"""The networks that can be trained, and which of their parameters train."""
