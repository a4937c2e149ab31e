"""Several methods under one protocol: what is missing is pretrained, and all are evaluated."""
