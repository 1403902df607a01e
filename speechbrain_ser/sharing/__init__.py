"""A finished model in use: inference, ONNX, annotation, the page, the card."""
