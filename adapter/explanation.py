"""`ratchet releases why N`: why a version was accepted or turned away, and what to do about it."""

import textwrap
from collections.abc import Sequence

from adapter.store.judgement import Cause, StepVerdict
from adapter.store.releases import AdapterRelease

_ADVICE = {
    Cause.PARENT_NOT_LIVE: "Nothing: the learner goes on from what is live now.",
    Cause.ENGINE_ENDED: "Look at the engine's log from just before it ended.",
    Cause.UNUSABLE: "Check the disk of adapters_dir; engine and learner must see the same folder.",
    Cause.ENGINE_DIFFERS: "Have engine and learner load the same model in the same precision.",
    Cause.NO_CHANGE: "Raise learning_rate, or look at the learner's grad_norm.",
    Cause.NOT_APPLIED: "Check that engine and learner have the same lora_targets.",
    Cause.FAR_FROM_BASE: "Lower learning_rate, raise kl_coefficient or lower max_age.",
    Cause.IGNORANT_BASE: "Use a stronger base, or give a gate_file.",
    Cause.COLLAPSE: "Once, nothing. Often: lower learning_rate or raise kl_coefficient.",
    Cause.AGREEMENT: "More groups_per_update make steps less noisy.",
    Cause.ANSWERED_SHARE: "Raise the token limit of requests, or look at what is rewarded.",
    Cause.LENGTH: "Look at what is rewarded: padding, or answers without reasoning.",
    Cause.WORSE: "Once, nothing: the next one starts from the live version. Often: the reward does "
    "not follow what is right; measure it with feedback.",
    Cause.SLICE: "Look at the slice's queries; they may be too few among those learnt from.",
    Cause.OVERTURNED: "Give a gate_file with 64 questions like these or more: without labels, a "
    "mended consensus looks like a damaged one.",
    Cause.GUARD: "Its single requests and prose go to base until a version without that harm is "
    "live. Often: lower learning_rate or raise kl_coefficient.",
    Cause.LIKELIHOOD: "As for guard: it has left base far behind where nothing was learnt. Lower "
    "learning_rate or max_age, or raise kl_coefficient.",
    Cause.UNDECIDED: "Once, nothing. Often: raise gate_queries or gate_rollouts, or gate_margin.",
}  # fmt: skip
_REFERENCES = ("parent", "base", "best", "labels")
_NAMES = {"parent": "its parent", "base": "base", "best": "the best version",
          "labels": "its parent, labels only"}  # fmt: skip
_SHOWN = 20


def explanation(release: AdapterRelease) -> str:
    """The verdict in words: which step, reference, slice and queries, how sure, what to do."""
    lines = [f"v{release.version} is {release.state.value}: {release.reason or 'not judged yet'}"]
    for verdict in release.steps:
        mark = "passed, with harm" if verdict.harmed else "passed"
        mark = mark if verdict.passed else "turned away"
        lines.append(f"  {verdict.step.value}: {mark}, {verdict.seconds:.1f} s")
        lines += [*_comparisons(verdict), *_guards(verdict)]
        if not verdict.passed or verdict.harmed:
            lines += _finding(verdict)
    return "\n".join(lines)


def _comparisons(verdict: StepVerdict) -> list[str]:
    """How the version compares with each reference, and how sure that is."""
    lines: list[str] = []
    for name in _REFERENCES:
        found = {
            key.split("/")[1]: number
            for key, number in verdict.numbers.items()
            if key.startswith(f"against_{name}/")
        }
        if not {"mean", "queries", "error"} <= found.keys():
            continue
        line = f"    against {_NAMES[name]}: {found['mean']:+.3f} +- {found['error']:.3f}"
        line += f" over {found['queries']:.0f} queries"
        if {"sure", "margin", "needed"} <= found.keys():
            line += (
                f"; {found['sure']:.1f} standard errors above -{found['margin']:.3g}, "
                f"{found['needed']:.1f} needed"
            )
        lines.append(line)
    if (lowest := verdict.numbers.get("slices/lowest")) is not None:
        count = verdict.numbers["slices/compared"]
        lines.append(f"    lowest of {count:.0f} slices: {lowest:+.3f}")
    if (tokens := verdict.numbers.get("tokens")) is not None:
        lines.append(f"    {tokens:,.0f} tokens were drawn for it")
    if verdict.numbers.get("better") == 1.0:
        lines.append("    proven better than the best version before it")
    return lines


def _guards(verdict: StepVerdict) -> list[str]:
    """How many tasks of the guard suite the version still does, and base's replies under it."""
    numbers, lines = verdict.numbers, list[str]()
    if (tasks := numbers.get("tasks")) is not None:
        did = tasks - numbers["lost"]
        lines.append(f"    does {did:.0f} of {tasks:.0f} tasks of the guard suite that base does")
    if (likelihood := numbers.get("likelihood")) is not None:
        lines.append(f"    base's own replies: {likelihood:+.3f} nats per token")
    return lines


def _finding(verdict: StepVerdict) -> list[str]:
    """Where it was found, and what to do."""
    lines = [f"    cause: {verdict.cause.value}" if verdict.cause else "    cause: unknown"]
    if verdict.reference:
        lines.append(f"    reference: {_NAMES.get(verdict.reference, verdict.reference)}")
        lines.append(f"    slice: {verdict.slice or 'all queries'}")
    if verdict.lost:
        lines.append(f"    lost queries: {_listed(verdict.lost)}")
    if verdict.cause is not None:
        lines.append(f"    what to do: {_ADVICE[verdict.cause]}")
    return [part for line in lines for part in textwrap.wrap(line, 100, subsequent_indent=" " * 6)]


def _listed(queries: Sequence[str]) -> str:
    more = f" and {len(queries) - _SHOWN} more" if len(queries) > _SHOWN else ""
    return " ".join(queries[:_SHOWN]) + more
