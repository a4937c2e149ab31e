"""Features of images, computed once."""
