"""Keeping secrets out of tracebacks, of kept source code, and of what is sent to a cluster."""
