"""How a network is trained: optimizer, learning rate, loss, augmentation."""
