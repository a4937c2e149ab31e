"""Pictures of what a run did and learned."""
