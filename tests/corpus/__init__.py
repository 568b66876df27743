"""What version 0.2.0 made, kept so that every later version opens it and draws the same."""
