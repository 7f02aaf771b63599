"""Inventory: what there is, what it costs, and what is promised to whom."""
