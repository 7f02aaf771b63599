"""Payment: what was set aside on a card, taken from it, or given back."""
