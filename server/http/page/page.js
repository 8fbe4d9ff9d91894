"use strict";
// Asks the server every other second what is new and shows it. All texts are set as text, never as markup.

const EVERY_MS = 2000;
const KEPT = 1800;
const $ = (id) => document.getElementById(id);
const percent = (value) => (value === null || value === undefined ? "–" : `${Math.round(100 * value)}%`);
const seconds = (value) => (value === null || value === undefined ? "–" : value < 1 ? `${Math.round(1000 * value)} ms` : `${value.toFixed(1)} s`);
const versionName = (version) => (version ? `v${version}` : "base");

/** An element with a class, text and children. */
function make(tag, { className = "", text = null, title = "" } = {}, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== null) element.textContent = text;
  if (title) element.title = title;
  element.append(...children);
  return element;
}

let seen = {};
let lastVote = 0;
const column = (name) => seen[name] || [];
const latest = (name) => { const values = column(name); return values.length ? values[values.length - 1] : null; };

const share = { format: percent, range: [0, 1] };
const learningNames = ["agreement", "maj", "avg", "label", "reward"];
const learning = chart($("chart-learning"), [
  { name: "agreement", colour: "agreement" },
  { name: "maj@n", colour: "maj" },
  { name: "avg@n", colour: "avg", dash: [8, 4] },
  { name: "label accuracy", colour: "label", dash: [2, 3] },
  { name: "reward accuracy", colour: "reward", dash: [10, 3, 2, 3] },
], { ...share, marks: versionMarks(() => column("version")) });
const upward = (_, low, high) => [0, Math.max(high * 1.1, 0.001)];
const latency = chart($("chart-latency"), [
  { name: "median", colour: "agreement" },
  { name: "95th percentile", colour: "avg", dash: [8, 4] },
], { format: seconds, range: upward });
const flow = chart($("chart-flow"), [
  { name: "completions a second", colour: "agreement" },
  { name: "groups waiting for the learner", colour: "avg", dash: [8, 4] },
], { format: (value) => (value < 10 ? value.toFixed(1) : Math.round(value)), range: upward });

function showHistory(fresh) {
  for (const [name, values] of Object.entries(fresh)) {
    seen[name] = column(name).concat(values).slice(-KEPT);
  }
  const times = column("time");
  learning([times, ...learningNames.map(column)]);
  latency([times, column("p50"), column("p95")]);
  flow([times, column("rate"), column("waiting")]);
  const first = column("agreement").find((value) => value !== null);
  $("said-learning").textContent = first === undefined ? "Nothing voted on yet."
    : `Agreement of the rollouts ${percent(latest("agreement"))}, at first ${percent(first)}. Accuracies show where feedback tells the truth; dashed lines are new versions.`;
  $("said-latency").textContent = `Of the last completions: median ${seconds(latest("p50"))}, 95th percentile ${seconds(latest("p95"))}.`;
  const price = latest("price");
  $("said-flow").textContent = `${(latest("rate") ?? 0).toFixed(1)} completions a second; ${latest("waiting") ?? 0} groups wait for the learner.${price === null ? "" : ` ${price.toFixed(1)} tokens are generated for each token of an answer, learning and judging included.`}`;
}

function showState(state) {
  $("model").textContent = state.model;
  document.title = `Ratchet – ${versionName(state.version)}`;
  const health = Object.entries(state.engines).map(([name, up]) => [`engine ${name} ${up ? "up" : "down"}`, up]);
  health.push([`Redis ${state.buffer ? "up" : "down: nothing is recorded"}`, state.buffer]);
  if (state.paused !== null) health.push([`candidates wait: ${state.paused}`, false]);
  $("health").replaceChildren(...health.map(([text, fine]) => make("li", { className: fine ? "good" : "bad", text })));
  const verdicts = state.releases;
  const promoted = verdicts.filter((one) => ["live", "retired"].includes(one.state)).length;
  const rejected = verdicts.filter((one) => one.state === "rejected").length;
  const figures = [
    ["live version", versionName(state.version)],
    ["agreement", percent(latest("agreement"))],
    ["maj@n", percent(latest("maj"))],
    ["reward accuracy", percent(latest("reward"))],
    [`promoted / rejected, last ${verdicts.length}`, `${promoted} / ${rejected}`],
  ];
  $("figures").replaceChildren(...figures.map(([name, value]) => make("div", {}, make("dt", { text: name }), make("dd", { text: value }))));
  $("key-label").hidden = !state.keyed;
  showReleases(verdicts);
}

const opened = new Set();

function explained(release) {
  const reason = release.reason || "being judged";
  if (!release.why) return [reason];
  const details = make("details", {},
    make("summary", { text: reason }), make("pre", { text: release.why }));
  details.open = opened.has(release.version);
  details.addEventListener("toggle", () => {
    if (details.open) opened.add(release.version);
    else opened.delete(release.version);
  });
  return [details];
}

function showReleases(releases) {
  $("no-releases").hidden = releases.length > 0;
  $("release-rows").replaceChildren(...releases.map((one) => make("tr", {},
    make("td", { text: versionName(one.version) }),
    make("td", { className: one.state, text: one.state }),
    make("td", {}, ...explained(one)),
    make("td", { className: "number", text: one.kl === null ? "–" : one.kl.toFixed(3) }),
    make("td", { className: "number", text: seconds(one.seconds) }))));
}

function showVotes(votes) {
  for (const vote of votes) {
    lastVote = vote.id;
    const split = make("div", { className: "split" });
    const parts = vote.counts.map((count, at) => [count, vote.answers ? vote.answers[at] : String(count), ""]);
    const others = vote.rollouts - vote.unanswered - vote.counts.reduce((sum, count) => sum + count, 0);
    if (others) parts.push([others, "others", ""]);
    if (vote.unanswered) parts.push([vote.unanswered, "none", "none"]);
    for (const [count, text, className] of parts) {
      const part = make("span", { className, text, title: `${text}: ${count} of ${vote.rollouts}` });
      part.style.flexGrow = count;
      part.style.flexBasis = 0;
      split.append(part);
    }
    const about = make("div", { className: "about" },
      make("span", { text: `${clock(vote.at)} · ${versionName(vote.version)} · ${vote.kind} · ${vote.counts[0] || 0} of ${vote.rollouts} agree` }),
      make("span", { text: vote.recorded ? vote.reason || "" : `not recorded: ${vote.reason}` }));
    const item = make("li", {}, about);
    if (vote.question !== undefined) item.append(make("div", { className: "asked", text: vote.question }));
    item.append(split);
    $("vote-list").prepend(item);
  }
  while ($("vote-list").children.length > 12) $("vote-list").lastChild.remove();
  $("no-votes").hidden = $("vote-list").children.length > 0;
}

/** The header that carries the key typed in, which is kept nowhere else. */
function keyHeader() {
  const key = $("key").value;
  return key ? { authorization: `Bearer ${key}` } : {};
}

async function look() {
  if (!document.hidden) {
    try {
      const since = latest("time") ?? 0;
      const reply = await fetch(`/live?since=${since}&after=${lastVote}`, { headers: keyHeader() });
      if (!reply.ok) throw new Error(`status ${reply.status}`);
      const state = await reply.json();
      showHistory(state.history);
      showState(state);
      showVotes(state.votes);
      $("trouble").textContent = "";
    } catch (error) {
      $("trouble").textContent = `The server cannot be reached (${error.message}); trying again.`;
    }
  }
  setTimeout(look, EVERY_MS);
}

look();
