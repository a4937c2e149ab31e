"""Pages and pictures: what a run did and learned, and how several methods compare."""
