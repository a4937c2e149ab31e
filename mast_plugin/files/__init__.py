"""Reading files that may be damaged or hostile, and writing files whole or not at all."""
