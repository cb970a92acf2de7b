"""Taking a model away: its export, as ONNX too, and its card."""
