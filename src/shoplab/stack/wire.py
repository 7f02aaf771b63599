"""What a user and the supervisor say to each other."""

VERSION = 3
"""Of the conversation; another version is not understood."""
