"""Orders: what customers have asked for, and how far each has come."""
