"""From the checkout to what a host runs: the Space's folder, and the container that is built from the same files."""
