"""The live page's files and figures."""

import re
from pathlib import Path

import pytest

import server
from adapter.store.clients import pseudonym
from adapter.store.judgement import Cause, Step, turned_away
from adapter.store.releases import AdapterRelease
from server.api.tenants import add_key
from server.http.live_page import PAGE_PATHS
from tests.serving import Api, serving, until

FILES = Path(server.__file__).parent / "http" / "page"


async def state(api: Api, **query: object) -> dict:
    query = {key: str(value) for key, value in query.items()}
    return (await api.client.get("/live", params=query)).json()


async def test_every_file_is_served_under_a_strict_policy() -> None:
    async with serving() as api:
        for path in PAGE_PATHS:
            reply = await api.client.get(path)
            assert reply.status_code == 200, path
            policy = reply.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy
            assert reply.headers["x-content-type-options"] == "nosniff"
        assert (await api.client.get("/page/uplot.LICENSE")).status_code == 404


async def test_what_a_browser_has_is_not_sent_again() -> None:
    async with serving() as api:
        first = await api.client.get("/page/uplot.js")
        assert first.headers["content-encoding"] == "gzip"
        tag = {"if-none-match": first.headers["etag"]}
        again = await api.client.get("/page/uplot.js", headers=tag)
        assert (again.status_code, again.content) == (304, b"")
        plain = await api.client.get("/page/uplot.js", headers={"accept-encoding": "identity"})
        assert plain.content == (FILES / "uplot.js").read_bytes() == first.content


def test_the_page_asks_nobody_else_and_is_small() -> None:
    total = 0
    for file in FILES.iterdir():
        total += file.stat().st_size
        text = re.sub(r"http://www\.w3\.org/2000/svg", "", file.read_text())
        if file.name not in ("uplot.js", "uplot.LICENSE"):  # a comment with its address
            assert "//" not in re.sub(r"^\s*// .*$", "", text, flags=re.MULTILINE), file.name
        if file.suffix == ".js" and file.name != "uplot.js":
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval", text)
        if file.suffix == ".html":
            assert not re.search(r"<script>|\sstyle=|\son\w+=", text)
    assert total < 100_000


async def test_a_verdict_is_explained() -> None:
    async with serving() as api:
        store = api.parts.releases
        token = await store.acquire(5.0)
        assert token is not None
        version = await store.reserve()
        await store.publish(AdapterRelease(version, 0, "v1", "d", ["g"], {}, 0.0), token)
        why = turned_away(
            Step.TRIAL, Cause.SLICE, "slice s is worse", reference="base", slice="s", lost=["q1"]
        )
        await store.reject(version, why.reason, [why])
        await api.parts.promoter.versions.sync()
        [shown] = (await state(api))["releases"]
    assert shown["reason"] == "slice s is worse"
    assert "reference: base" in shown["why"]
    assert "lost queries: q1" in shown["why"]
    assert "what to do: " in shown["why"]


async def test_it_can_be_switched_off() -> None:
    async with serving(page=False) as api:
        assert (await api.client.get("/")).status_code == 404
        assert (await api.client.get("/live")).status_code == 404


async def test_votes_come_without_texts_unless_the_operator_allows_them() -> None:
    async with serving() as api:
        await api.chat()
        await until(lambda: api.at_rest)
        [vote] = (await state(api))["votes"]
        assert vote["counts"] == [2, 1]
        assert (vote["rollouts"], vote["unanswered"], vote["reason"]) == (4, 1, None)
        assert "question" not in vote and "answers" not in vote
        assert "2+2" not in (await api.client.get("/live")).text


async def test_texts_where_they_are_allowed_but_not_of_who_opts_out() -> None:
    async with serving(page_texts=True) as api:
        await api.chat()
        await api.chat(store=False)
        await until(lambda: api.at_rest)
        first, second = (await state(api))["votes"]
        assert (first["question"], first["answers"]) == ("What is 2+2?", ["4", "5"])
        assert second["reason"] == "opted_out" and "question" not in second
        assert (await state(api, after=first["id"]))["votes"] == [second]


async def test_who_opts_out_later_is_not_shown_any_more() -> None:
    async with serving(page_texts=True) as api:
        await api.chat(user="alice")
        await api.chat(user="bob")
        await until(lambda: api.at_rest)
        await api.parts.buffer.opt_out(pseudonym("alice"))
        await api.parts.recorder.check()
        first, second = (await state(api))["votes"]
        assert "question" not in first and first["counts"] == [2, 1]
        assert second["question"] == "What is 2+2?"


async def test_texts_want_a_key_where_there_are_keys(tmp_path: Path) -> None:
    keys = tmp_path / "keys.jsonl"
    bearer = {"authorization": f"Bearer {add_key(keys, 'ada')}"}
    async with serving(page_texts=True, keys_file=keys) as api:
        asked = {"model": "ratchet", "messages": [{"role": "user", "content": "Secret?"}]}
        await api.client.post("/v1/chat/completions", json=asked, headers=bearer)
        await until(lambda: api.at_rest)
        assert (await api.client.get("/")).status_code == 200
        open_to_all = await api.client.get("/live")
        assert open_to_all.json()["keyed"] is True
        assert "Secret" not in open_to_all.text
        assert "Secret" in (await api.client.get("/live", headers=bearer)).text


async def test_parts_of_content_and_bare_prompts_are_shown_as_text() -> None:
    async with serving(page_texts=True) as api:
        parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
        await api.chat(messages=[{"role": "user", "content": parts}])
        await api.text(prompt="2+2=")
        await api.chat(messages=[{"role": "assistant", "content": None}])
        await until(lambda: api.at_rest)
        votes = (await state(api))["votes"]
        assert [vote["question"] for vote in votes] == ["one two", "2+2=", ""]


async def test_history_by_column_and_only_what_is_new() -> None:
    async with serving() as api:
        await api.chat()
        await until(lambda: api.at_rest)
        api.parts.history.sample()
        columns = (await state(api))["history"]
        assert columns["agreement"][-1] == 0.5
        assert columns["version"][-1] == 0
        assert columns["maj"][-1] is None
        assert columns["p50"][-1] > 0
        assert {len(column) for column in columns.values()} == {len(columns["time"])}
        assert (await state(api, since=columns["time"][-1]))["history"]["time"] == []


@pytest.mark.parametrize("query", [{"since": "x"}, {"since": "nan"}, {"after": "inf"}])
async def test_a_bad_number_is_named(query: dict[str, str]) -> None:
    async with serving() as api:
        reply = await api.client.get("/live", params=query)
        assert reply.status_code == 400
        assert reply.json()["error"]["param"] in query
