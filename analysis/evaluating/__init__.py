"""A model evaluated on images of the user's."""
