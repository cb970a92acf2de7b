"""A trial's surroundings: device, memory, terminal, secrets, and the base of settings."""
