"""Many paths by one command, on one machine or on a Ray cluster."""
