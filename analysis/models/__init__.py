"""A trained model, its predictions and its scores."""
