"""The two servers of `toprung dashboard`: optuna-dashboard and TensorBoard."""
