"""A trial: its config, its model, its data, its training."""
