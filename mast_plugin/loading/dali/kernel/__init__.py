"""One compiled pass over the pixels, for DALI on CPUs."""
