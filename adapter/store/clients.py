"""Records name clients by a short hash, never by their name.

A client is `NAME`, or `NAME/USER` for one of several users of an API key's holder. What is kept of
a user has two pseudonyms, its own and the holder's, so that either can be forgotten.
"""

import hashlib

_LENGTH = 16


def pseudonym(client: str) -> str:
    """The first 64 bits of the SHA-256 of a client's name, in hexadecimal.

    There is no key: anybody who guesses a name can check the guess. It keeps names out of records.
    """
    return hashlib.sha256(client.encode(errors="surrogateescape")).hexdigest()[:_LENGTH]


def holder_of(client: str) -> str:
    """The name of a client's holder: what stands before the first `/`."""
    return client.partition("/")[0]


def pseudonyms(client: str) -> tuple[str, str]:
    """A client's own pseudonym, and its holder's: the same for a holder without a user."""
    return pseudonym(client), pseudonym(holder_of(client))


def pseudonym_under(name: str) -> str:
    """The pseudonym of what an operator names: a holder with all its users by `NAME` or `NAME/*`,
    one user by `NAME/USER`."""
    holder, _, user = name.partition("/")
    return pseudonym(holder if user in ("", "*") else name)
