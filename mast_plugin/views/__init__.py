"""Plans of augmentations, and what turns an image into views by them (torchvision's half)."""
