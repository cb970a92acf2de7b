"""The search: choosing the next trial and its config, stopping trials, confirming the best."""
