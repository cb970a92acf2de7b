"""Inspecting a model: filters, activation maps, guided backpropagation, augmentation."""
