"""API keys and quotas."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from server.api.tenants import KeysInvalid, Tenants, add_key, read_keys
from tests.serving import serving, until


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


def test_only_the_hash_is_kept_and_only_the_owner_may_read(keys: Path) -> None:
    key = add_key(keys, "ada")
    assert key not in keys.read_text()
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert [line.name for line in read_keys(keys)] == ["ada"]


def test_a_key_is_known_by_its_bearer(keys: Path) -> None:
    ada, bob = add_key(keys, "ada"), add_key(keys, "bob")
    known = Tenants(keys)
    for key, name in ((ada, "ada"), (bob, "bob")):
        tenant = known.admit(b"Bearer " + key.encode())
        assert tenant is not None
        assert tenant.name == name
    for wrong in (None, b"", b"Bearer", b"Bearer wrong", b"Basic " + ada.encode(), ada.encode()):
        assert known.admit(wrong) is None


def test_the_file_is_read_again_when_it_changes(keys: Path) -> None:
    ada = add_key(keys, "ada")
    known = Tenants(keys, check_seconds=0.0)
    tenant = known.admit(b"Bearer " + ada.encode())
    bob = add_key(keys, "bob")
    assert known.admit(b"Bearer " + bob.encode()) is not None
    assert known.admit(b"Bearer " + ada.encode()) is tenant  # with what is left of its quota
    keys.write_text("{}\n")
    assert known.admit(b"Bearer " + bob.encode()) is not None  # better the old keys than none
    keys.write_text("")
    os.utime(keys, ns=(1, 1))
    assert known.admit(b"Bearer " + ada.encode()) is not None
    keys.unlink()
    assert known.admit(b"Bearer " + ada.encode()) is not None


def test_a_key_whose_line_is_gone_is_revoked_even_where_another_is_broken(keys: Path) -> None:
    ada, bob = (f"Bearer {add_key(keys, name)}".encode() for name in ("ada", "bob"))
    first, second = keys.read_text().splitlines()
    known = Tenants(keys, check_seconds=0.0)
    keys.write_text(first + "\n" + second[:-2])  # half a line
    assert [known.admit(one) is None for one in (ada, bob)] == [False, False]
    keys.write_text(second[:-2])
    assert [known.admit(one) is None for one in (ada, bob)] == [True, False]
    keys.write_text(first + "\n" + second[:-2])  # it is read only once the file is whole
    assert known.admit(ada) is None
    keys.write_text(first + "\n")
    assert [known.admit(one) is None for one in (ada, bob)] == [False, True]


def test_a_change_within_one_tick_of_the_clock_is_seen(keys: Path) -> None:
    ada = f"Bearer {add_key(keys, 'ada')}".encode()
    known, before = Tenants(keys, check_seconds=0.0), keys.stat()
    assert known.admit(ada) is not None
    digest = read_keys(keys)[0].sha256
    keys.write_text(keys.read_text().replace(digest, "0" * 64))
    os.utime(keys, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert keys.stat().st_size == before.st_size
    assert known.admit(ada) is None


def test_a_broken_file_is_complained_of_once(keys: Path, caplog) -> None:
    ada = f"Bearer {add_key(keys, 'ada')}".encode()
    known = Tenants(keys, check_seconds=0.0)
    keys.write_bytes(b"\xff\xfe")
    for _ in range(3):
        assert known.admit(ada) is not None
    assert len(caplog.records) == 1


def test_a_key_is_appended_to_a_line_that_nobody_ended(keys: Path) -> None:
    add_key(keys, "ada")
    keys.write_text(keys.read_text().rstrip("\n"))
    add_key(keys, "bob")
    assert [line.name for line in read_keys(keys)] == ["ada", "bob"]


def test_keys_made_at_the_same_time_are_all_there(keys: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda at: add_key(keys, f"n{at}"), range(40)))
    assert {line.name for line in read_keys(keys)} == {f"n{at}" for at in range(40)}


@pytest.mark.parametrize(
    "name",
    ["ada/bob", "/", "a\u2028b", "a\u2029", "a\nb", "a\x85b", "a\u200bb", "\x00", "\ud83d", ""],
)
def test_a_name_that_would_be_another_s_or_end_a_line_is_refused(keys: Path, name: str) -> None:
    add_key(keys, "ada")
    before = keys.read_bytes()
    with pytest.raises(KeysInvalid, match="name"):
        add_key(keys, name)
    assert keys.read_bytes() == before


def test_names_in_any_script_are_fine(keys: Path) -> None:
    for name in ("Ada L.", "Ада", "大阪", "ada@example.org", "team:ops*"):
        add_key(keys, name)
    assert len(read_keys(keys)) == 5


@pytest.mark.parametrize(
    "line",
    ["{", '{"name": "x"}', '{"name": "x", "sha256": "zz"}', '{"name": "x", "key": "secret"}',
     '{"name": "", "sha256": "' + "0" * 64 + '"}'],
)  # fmt: skip
def test_a_bad_line_is_named_and_not_repeated(keys: Path, line: str) -> None:
    keys.write_text("\n" + line)
    with pytest.raises(KeysInvalid, match=r"keys\.jsonl:2") as invalid:
        Tenants(keys)
    assert "secret" not in str(invalid.value)


async def test_every_route_but_health_and_metrics_wants_a_key(keys: Path) -> None:
    key = add_key(keys, "ada")
    async with serving(keys_file=keys) as api:
        for path in ("/v1/models", "/v1/chat/completions", "/v1/feedback", "/openapi.json",
                     "/page", "/page/none.js", "/live/", "/nowhere", "//v1/models",
                     "/livez/../v1/models",
                     "/v1%2fmodels", "/metrics/", "/livez;/v1/models"):  # fmt: skip
            for verb in ("GET", "POST", "PUT", "OPTIONS"):
                reply = await api.client.request(verb, path)
                assert reply.status_code == 401, (verb, path)
                assert reply.json()["error"]["code"] == "invalid_api_key"
        for path in ("/livez", "/metrics"):
            assert (await api.client.get(path)).status_code == 200
        api.client.headers["authorization"] = f"Bearer {key}"
        assert (await api.client.get("/v1/models")).status_code == 200
        assert (await api.chat()).status_code == 200


async def test_groups_carry_the_tenant_and_its_user(keys: Path) -> None:
    key, quiet = add_key(keys, "ada"), add_key(keys, "bob", train=False)
    async with serving(keys_file=keys) as api:
        api.client.headers["authorization"] = f"Bearer {key}"
        await api.chat(user="u7")
        await api.chat()
        await api.parts.flush(2.0)
        clients = [d.group.client for d in await api.parts.buffer.read(2, 0.0) if d.group]
        assert clients == ["ada", "ada/u7"]  # the newest first
        api.client.headers["authorization"] = f"Bearer {quiet}"
        assert (await api.chat()).json()["ratchet"]["reason"] == "opted_out"


async def test_feedback_is_for_one_s_own_replies(keys: Path) -> None:
    ada, bob = add_key(keys, "ada"), add_key(keys, "bob")
    async with serving(keys_file=keys) as api:
        api.client.headers["authorization"] = f"Bearer {ada}"
        given = {"completion_id": (await api.chat(user="u7")).json()["id"], "correct": False}
        for stored in (False, True):
            if stored:
                await until(lambda: not api.parts.feedback.unstored)
            api.client.headers["authorization"] = f"Bearer {bob}"
            refused = await api.client.post("/v1/feedback", json=given)
            assert (refused.status_code, refused.json()["error"]["param"]) == (404, "completion_id")
        api.client.headers["authorization"] = f"Bearer {ada}"
        assert (await api.client.post("/v1/feedback", json=given)).json()["counted"] is True
