"""Kafka, Redis and PostgreSQL as a provider of managed servers offers them.

By TLS only, with a certificate that an authority vouches for, and with a password; a role of the
database that owns its database and is no administrator. See ``servers.py``.
"""
