import hashlib

import pytest

from adapter.store.clients import pseudonym, pseudonym_under, pseudonyms


def test_a_client_is_known_by_the_start_of_a_hash() -> None:
    assert pseudonym("alice") == hashlib.sha256(b"alice").hexdigest()[:16]
    assert pseudonym("alice") != pseudonym("Alice")


def test_a_name_in_no_encoding_is_a_name_all_the_same() -> None:
    assert pseudonym("caf\udce9") == hashlib.sha256(b"caf\xe9").hexdigest()[:16]


def test_what_is_kept_of_a_user_is_its_holder_s_too() -> None:
    assert pseudonyms("ada") == (pseudonym("ada"), pseudonym("ada"))
    assert pseudonyms("ada/bob") == (pseudonym("ada/bob"), pseudonym("ada"))
    assert pseudonyms("ada/b/c") == (pseudonym("ada/b/c"), pseudonym("ada"))
    assert pseudonym("ada") not in pseudonyms("adabob")


@pytest.mark.parametrize("name", ["ada", "ada/*", "ada/"])
def test_a_holder_s_name_stands_for_all_its_users(name: str) -> None:
    assert pseudonym_under(name) == pseudonym("ada")
    assert pseudonym_under("ada/bob") == pseudonym("ada/bob")
