"""The images that a model was made with, as recorded by a sweep's folder and its exports."""
