"""What a vLLM server calls the base model: as the operator says, or as its list of models does."""

from collections.abc import Mapping, Sequence
from typing import Any

from server.engine.base import BASE_MODEL, EngineUnavailable

_SHOWN = 5


class BaseName:
    """The name of the base model in one engine: `configured`, or else found in what it serves."""

    def __init__(self, configured: str) -> None:
        self._configured = self._known = configured

    @property
    def known(self) -> bool:
        """Whether the engine need not be asked."""
        return bool(self._known)

    def of(self, model: str) -> str:
        """The engine's name for one of ours."""
        return self._known if model == BASE_MODEL else model

    def ours(self, name: str) -> str:
        """Our name for one of the engine's."""
        return BASE_MODEL if name == self._known else name

    def learn(self, cards: Sequence[Mapping[str, Any]]) -> None:
        """Take the name from the engine's list of models. Raises EngineUnavailable, with the
        setting to change, if the base model is not among them."""
        base = [str(card.get("id")) for card in cards if not card.get("parent")]
        if self._configured:
            if self._configured not in (str(card.get("id")) for card in cards):
                listed = ", ".join(base[:_SHOWN]) or "nothing"
                raise EngineUnavailable(
                    f"it serves {listed}, not {self._configured}: change engine_model, or leave it "
                    "out to use what is served"
                )
        elif base:
            self._known = base[0]
        else:
            raise EngineUnavailable("it serves no model: start it with one")

    def forget(self) -> None:
        """Look again: the engine does not know the name any more."""
        self._known = self._configured
