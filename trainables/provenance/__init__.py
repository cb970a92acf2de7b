"""Which images weights were trained, selected and tested on, kept as hashes of their pixels."""
