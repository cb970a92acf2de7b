"""What the servers of `toprung dashboard` have in common."""
