"""An order service with payment and inventory beside it: the course's patterns put together.

README.md in this folder says in which sequence to read it.
"""
