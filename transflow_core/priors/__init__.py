"""A trained flow that can be conditioned on evidence: those that ship, files, the Hub, known public ones, your own."""
