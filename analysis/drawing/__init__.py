"""The look of pictures: style, tiles, marks of trials, images with predictions."""
