"""What watches the trials of a sweep, each part one of Tune's callbacks."""
