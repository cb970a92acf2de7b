"""The pictures of a report: each is one function from a sweep's results to a figure."""
