import hashlib

from adapter.store.clients import pseudonym


def test_a_client_is_known_by_the_start_of_a_hash() -> None:
    assert pseudonym("alice") == hashlib.sha256(b"alice").hexdigest()[:16]
    assert pseudonym("alice") != pseudonym("Alice")


def test_a_name_in_no_encoding_is_a_name_all_the_same() -> None:
    assert pseudonym("caf\udce9") == hashlib.sha256(b"caf\xe9").hexdigest()[:16]
