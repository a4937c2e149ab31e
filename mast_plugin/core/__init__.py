"""The method itself: head, loss, masks, routes and uncertainty; torch alone."""
