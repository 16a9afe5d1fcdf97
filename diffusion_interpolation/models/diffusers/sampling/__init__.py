"""Steps of a schedule, and the network that takes them."""
