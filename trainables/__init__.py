"""What one trial does: its config, its model, its data, its training."""
