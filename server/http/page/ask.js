"use strict";
// Asks a question and shows the vote as its rollouts come in: the request's `"stream": "progress"`.

/** The events of a stream as objects; [DONE] ends it. */
async function* eventsOf(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) throw new Error("the reply broke off");
    const parts = (waiting + value).split("\n\n");
    waiting = parts.pop();
    for (const part of parts) {
      if (!part.startsWith("data: ")) continue;
      if (part === "data: [DONE]") return;
      yield JSON.parse(part.slice(6));
    }
  }
}

function showPoll(vote, over) {
  const ranked = Object.entries(vote.distribution || {}).sort((one, other) => other[1] - one[1]);
  const asked = vote.asked || vote.rollouts;
  $("poll-bars").replaceChildren(...ranked.map(([answer, part]) => {
    const fill = make("div", { className: "fill" });
    fill.style.width = `${(100 * part * vote.rollouts) / asked}%`;
    return make("li", {}, make("span", { className: "name", text: answer, title: answer }),
      make("div", { className: "track" }, fill),
      make("span", { className: "count", text: `${Math.round(part * vote.rollouts)}` }));
  }));
  $("poll-state").textContent = over || `${vote.rollouts} of ${asked} rollouts are in, ${vote.valid} with an answer`;
}

function verdictOf(vote) {
  if (vote.reason === "medoid") return `Prose: of ${vote.rollouts} rollouts the one closest to the others.`;
  if (vote.answer === null) return `No answer that enough of ${vote.rollouts} rollouts agree on (${vote.reason}).`;
  const kept = vote.recorded ? "recorded for learning" : `not recorded (${vote.reason})`;
  return `${vote.answer} (${vote.kind}), say ${percent(vote.agreement)} of ${vote.rollouts} rollouts of ${versionName(vote.policy_version)}; ${kept}.`;
}

async function ask(question) {
  const reply = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json", ...keyHeader() },
    body: JSON.stringify({
      model: $("model").textContent, stream: true,
      messages: [{ role: "user", content: question }],
      ratchet: { stream: "progress", train: $("train").checked },
    }),
  });
  if (!reply.ok) throw new Error((await reply.json()).error.message);
  let text = "";
  for await (const event of eventsOf(reply)) {
    if (event.error) throw new Error(event.error.message);
    for (const choice of event.choices) text += choice.delta.content || "";
    if (event.ratchet && event.choices.length) showPoll(event.ratchet, verdictOf(event.ratchet));
    else if (event.ratchet) showPoll(event.ratchet);
  }
  $("poll-answer").textContent = text;
  $("poll-answer").hidden = false;
}

$("asking").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("send").disabled = true;
  $("poll").hidden = false;
  $("poll-answer").hidden = true;
  $("poll-bars").replaceChildren();
  $("poll-state").textContent = "Waiting for the first rollouts";
  try {
    await ask($("question").value);
  } catch (error) {
    $("poll-state").textContent = `No answer: ${error.message}`;
  }
  $("send").disabled = false;
});
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    $("asking").requestSubmit();
  }
});
