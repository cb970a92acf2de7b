"""What watches the trials of a sweep, each part a `Watcher`."""
