"""Where the study and the sweep's files are, and who may write them."""
