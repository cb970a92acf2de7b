"""Exporting a model, also as ONNX, with a model card."""
