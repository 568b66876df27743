"""Transflow Learning: condition a trained flow on a handful of images, in closed form."""
