"""What came out: reads a sweep's folder without Ray, picks the best, tests it once, exports it."""
