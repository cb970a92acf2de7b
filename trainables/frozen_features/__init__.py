"""The outputs of a network's frozen part: computed once, stored, shared by all trials."""
