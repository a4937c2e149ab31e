"""What a trained network's masks and uncertainties say about its augmentations."""
