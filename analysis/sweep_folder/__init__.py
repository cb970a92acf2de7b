"""What belongs to a sweep's folder as a whole: whose it is, and what it may use outside itself."""
