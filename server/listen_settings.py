"""Settings of what listens: for clients, for the operator, and the live page."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from adapter.settings import SettingsGroup


class ListenSettings(SettingsGroup):
    """Listening: addresses, keys, limits of a request."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on."""
    keys_file: Path | None = None
    """API keys, a JSON object a line; `ratchet keys add NAME` writes them. Without a file no key is
    needed."""
    admin_port: int = Field(default=0, ge=0, le=65535)
    """Port on which releases can be listed and the live pointer moved over HTTP; 0 for none."""
    admin_key: SecretStr | None = Field(default=None, min_length=16)
    """Key of the admin port, as `Authorization: Bearer …`: at least 16 characters. Without it the
    port is not opened."""
    allowed_hosts: str = ""
    """Names under which clients reach the server, separated by commas, as `Host` and `Origin` have
    them; others are refused. Addresses, names without a dot and those under `.localhost`,
    `.internal`, `.local` and `.home.arpa` are always let in. Without any, a server that needs no
    key and listens on this machine alone is reached by no other name, and no page of another origin
    may ask a server that needs no key."""
    max_body_bytes: int = Field(default=4 << 20, gt=0)
    """Largest request body accepted (413 above)."""
    body_seconds: float = Field(default=60.0, gt=0)
    """Seconds for a request's body to come whole (408)."""
    reply_seconds: float = Field(default=60.0, gt=0)
    """Seconds, all in all, for which a client may keep a reply waiting that it does not read: then
    it is hung up on, and what was held for it is free."""
    max_unparsed_bytes: int = Field(default=32 << 20, gt=0)
    """Most bytes of requests that are still coming, of all clients together. For more, the one that
    has taken the longest is broken off (408), so that those which never end keep nobody out."""
    max_header_bytes: int = Field(default=32 << 10, ge=1_024)
    """Most bytes of a request's address and headers (431)."""
    max_headers: int = Field(default=100, ge=10)
    """Most headers of a request (431)."""
    header_seconds: float = Field(default=20.0, gt=0)
    """Seconds for a request's headers to come whole (408), and for a new connection to ask."""
    unknown_fields: Literal["refuse", "ignore"] = "refuse"
    """What becomes of a request's field that neither OpenAI, vLLM nor we have: `refuse` is a 400
    that names it, which finds misspelt ones; `ignore` drops it."""
    cors_origins: str = ""
    """Origins whose pages may ask from a browser, separated by commas (`https://app.example`), or
    `*` for all. None by default."""
    drain_seconds: float = Field(default=0.0, ge=0)
    """Seconds after SIGTERM in which answers go on and `/readyz` says 503, for load balancers."""

    @model_validator(mode="after")
    def _a_body_has_room(self) -> Self:
        if self.max_body_bytes > self.max_unparsed_bytes:
            raise ValueError("max_body_bytes must not be above max_unparsed_bytes")
        return self

    @property
    def host_names(self) -> frozenset[str]:
        """`allowed_hosts`, one by one."""
        names = (name.strip().lower().rstrip(".") for name in self.allowed_hosts.split(","))
        return frozenset(names) - {""}


class PageSettings(SettingsGroup):
    """The live page."""

    page: bool = True
    """Show the live page at `/`: figures, verdicts, how votes split. Like `/metrics` it needs no
    key and has no texts."""
    page_texts: bool = False
    """Show questions and answers on it too: to anyone, or with a `keys_file` to holders of a key.
    Never those of requests that opted out."""
