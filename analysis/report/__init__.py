"""The report of a sweep: one HTML page with the answer first, and its pictures beside it."""
