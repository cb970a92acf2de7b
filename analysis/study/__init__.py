"""What the study recorded: trials, learning curves, rungs, confirmation runs."""
