"""What a sweep has found out, beyond its winner."""
