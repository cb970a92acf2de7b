"""The report of a sweep: one HTML page that begins with the answer, and its pictures as files."""
