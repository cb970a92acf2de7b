"""What stands between a trial and the machine, or the store, that it runs on."""
