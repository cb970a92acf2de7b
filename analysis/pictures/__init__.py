"""The pictures and tables of a report: each is one function of a sweep's results."""
