"""A pretrained network put to use: plain modules, their transform, vectors of any images."""
