"""Settings of the server that are about candidates and versions: gate, guards, and watch."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from adapter.settings import SettingsGroup


class GateSettings(SettingsGroup):
    """The gate: parity and trial of a candidate."""

    gate_prompts: int = Field(default=128, ge=2)
    """Candidates wait until the gate has this many distinct queries to compare on, of those that
    are held out. Traffic with few different prompts needs a smaller number, or no `gate_holdout`.
    The small models' recipes have 16."""
    gate_holdout: int = Field(default=8, ge=0)
    """Hold out one in so many prompts, by hash: the gate judges on these alone, and they are never
    learnt from. 0 holds out none, and the gate judges on recent prompts of all, as in the small
    models' recipes."""
    gate_queries: int = Field(default=192, ge=1)
    """Most queries to spend on one candidate; it is rejected if nothing is proven by then."""
    gate_rollouts: int = Field(default=8, ge=2)
    """Rollouts per query in the gate."""
    gate_margin: float = Field(default=0.05, gt=0, lt=1)
    """A candidate passes once it is proven, at 95%, not to score worse by this much than the live
    version, base, or the best version so far. Half of it takes four times the queries."""
    gate_max_overturned: float = Field(default=0.18, gt=0, le=1)
    """Reject a candidate that leaves more than this share of what the live version, base or the
    best version agrees on, unless at least 64 labels defend it: no consensus tells a wrong one that
    is mended from a right one that is damaged."""
    gate_max_novel: float = Field(default=0.25, gt=0, le=1)
    """Reject a candidate whose rollouts agree, on more than this share of the queries, on an answer
    that the live version, base or the best version does not have, unless at least 64 labels defend
    it. A query counts by how surely it does not: in full if its rollouts are of one mind, not at
    all if each says something else. Learning makes answers more frequent; it invents none."""
    gate_refresh: int = Field(default=4, ge=1)
    """Judge this many candidates on the same queries before drawing new ones."""
    gate_file: Path | None = None
    """Labelled questions of your own, which a candidate must not answer worse either: a JSON object
    a line, with `question` (or `messages`) and `answer`; `kind` where answers are not read as the
    setting `answer` says, `tools` or `response_format` to ask with. Labels only decide promotions.
    200 or more prove the margin; fewer only turn away what they show to be worse."""
    gate_labels: int = Field(default=400, ge=1)
    """Most labelled questions of one drawing: of a longer `gate_file` a random part is asked. All
    of them are read before a candidate can pass."""
    gate_feedback: int = Field(default=100, ge=0)
    """Most questions of one drawing whose right answer a client has told by feedback, beside the
    `gate_file`; 0 has feedback decide nothing. Keys and their users take turns; of several labels
    on a question the most common counts. Kept for `retention_seconds`, forgotten with the client,
    never learnt from."""
    gate_max_kl: float = Field(default=0.25, gt=0)
    """Reject above this KL to base (nats per token, as the trainer measured it after the update; a
    token counts at most 10). Honest updates reach 0.12 where answers have 12 tokens
    (docs/performance.md); longer answers need less."""
    gate_min_margin: float = Field(default=0.12, ge=0, le=1)
    """Reject everything while base's mean vote margin is below this: it knows too little to be its
    own teacher."""
    gate_min_diversity: float = Field(default=0.7, ge=0, le=1)
    """Reject if the diversity of answers across queries falls below this share of base's."""
    gate_max_drop: float = Field(default=0.1, ge=0, le=1)
    """Reject if agreement or the share of answering rollouts falls by more, live to new."""
    gate_max_stretch: float = Field(default=2.0, gt=1)
    """Reject if the mean length leaves [1/x, x] times base's."""
    gate_lock_in: float = Field(default=0.98, gt=0, le=1)
    """Pause learning once the leading answers of three versions in a row have this share of all
    rollouts and no longer change: what is wrong by then stays wrong. `ratchet releases resume` goes
    on; 1 never pauses."""
    parity_tolerance: float = Field(default=0.02, gt=0)
    """Largest mean difference (nats per token) between engine and trainer on pinned tokens. fp32 on
    both sides agrees to 1e-5; bf16 needs about this much."""


class GuardSettings(SettingsGroup):
    """The guards: what a version must still do where no trial looks."""

    gate_guard: Literal["base", "reject", "off"] = "base"
    """What becomes of a version that can no longer do what base can, by a suite of small tasks that
    ships, or under which base's own replies have become unlikely. `base`: base answers what no
    trial sees, single requests and prose (`text`), while that version is live. `reject`: the
    candidate is turned away. `off` asks nothing: the live version answers everything."""
    gate_guard_items: int = Field(default=100, ge=8)
    """Tasks of the guard suite per candidate that has passed its trial, one reply each; base is
    asked each but once. What base cannot do is not asked."""
    gate_guard_tokens: int = Field(default=192, ge=16)
    """Most tokens of such a reply. A model that reasons before it answers needs more."""
    gate_guard_loss: float = Field(default=0.15, ge=0, lt=1)
    """It is harm if a version is proven, at 99%, to fail more than this share of the tasks that
    base does, in all or of one area."""
    gate_guard_likelihood: float = Field(default=0.25, gt=0)
    """It is harm if base's own replies are less likely than under base by more than this, in nats
    per token. Only scored, not sampled."""


class WatchSettings(SettingsGroup):
    """Canary, and monitor of the live version."""

    canary_share: float = Field(default=0.0, ge=0, le=0.5)
    """Share of requests that a candidate answers after the trial and before it goes live; or 0."""
    canary_seconds: float = Field(default=600.0, gt=0)
    """Seconds after which a canary that has not answered `watch_queries` queries is rejected."""
    watch_queries: int = Field(default=64, ge=8)
    """Voted queries needed to judge a version on live traffic: a canary, or the live version, which
    is compared with its parent again and rolled back if it turns out worse."""
