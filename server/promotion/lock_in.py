"""When learning has locked in: its rollouts agree on nearly everything, and no answer moves.

What is wrong then stays wrong, and more learning only makes it surer.
"""

from collections.abc import Sequence

from adapter.store.releases import AdapterRelease, ReleaseState

VERSIONS = 3
"""Versions in a row that must look locked in."""
_FLIPPED = 0.02
"""Share of questions whose leading answer may still change from one version to the next."""


def locked_in(releases: Sequence[AdapterRelease], majority: float) -> str | None:
    """Why learning should pause, by the trials of the last versions that went live; or None. It has
    locked in if the leading answers have at least `majority` of all rollouts; never at 1."""
    alive = (ReleaseState.LIVE, ReleaseState.RETIRED)
    served = sorted((r for r in releases if r.state in alive), key=lambda r: r.version)[-VERSIONS:]
    shares = [r.numbers.get("gate/changes/majority", 0.0) for r in served]
    flipped = [r.numbers.get("gate/changes/flipped", 1.0) for r in served]
    if majority >= 1 or len(served) < VERSIONS:
        return None
    if min(shares) < majority or max(flipped) > _FLIPPED:
        return None
    return (
        f"locked in: the rollouts of the last {VERSIONS} versions agree by "
        f"{100 * min(shares):.0f}% and no answer changes; learning on would only make errors surer"
    )
