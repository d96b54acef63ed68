"""Reports about new photos: what the factory uses."""
