"""How pictures look: style, tiles, marks of one trial, the images that are shown."""
