"""What a sweep's folder and its exports say of the images that a model was made with."""
