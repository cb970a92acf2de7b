"""Looking into a model: filters, activation maps, guided backpropagation, augmentation."""
