// Everything that comes from the service is set as text, never as markup.
const ALTERNATIVES = 4;
const STATUS_INTERVAL = 15000; // milliseconds

const at = (id) => document.getElementById(id);
const numberOrNull = (x) => (Number.isNaN(x) ? null : x);
const percent = (x) => `${(100 * x).toFixed(x < 0.1 ? 1 : 0)}%`;

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

function say(place, text, isError = false) {
  place.textContent = text;
  place.classList.toggle("error", isError);
}

async function call(method, path, body) {
  const headers = {};
  if (body) headers["content-type"] = "application/json";
  if (at("token").value) headers.authorization = `Bearer ${at("token").value}`;
  const reply = await fetch(path, {
    method,
    headers,
    body: body && JSON.stringify(body),
  });
  const content = await reply.json();
  if (!reply.ok) throw new Error(content.error || `Status ${reply.status}`);
  return content;
}

function bar(name, value) {
  const row = make("div", undefined, "bar");
  const meter = make("meter");
  meter.max = 1;
  meter.value = value;
  meter.setAttribute("aria-label", `${name} ${percent(value)}`);
  row.append(make("span", name), meter, make("span", percent(value), "value"));
  return row;
}

function title(block) {
  return block.title || block.document_id || "(no title)";
}

function showEvidence(span) {
  // Offsets count characters, of which JavaScript may need two units each.
  const characters = Array.from(span.block.text);
  at("source").textContent = title(span.block);
  at("text").replaceChildren(
    characters.slice(0, span.start).join(""),
    make("mark", span.answer),
    characters.slice(span.end).join(""),
  );
}

function showAlternatives(spans) {
  at("other").hidden = !spans.length;
  at("alternatives").replaceChildren(
    ...spans.map((span) => {
      const item = make("li");
      const name = make("div", span.answer);
      name.dir = "auto";
      item.append(
        name,
        make("div", title(span.block), "note"),
        bar("answer", span.probability),
      );
      return item;
    }),
  );
}

function parts(block) {
  const words = block.lexical_score;
  const meaning = block.score - words;
  return `score ${block.score.toFixed(1)} = embeddings ${meaning.toFixed(1)} + words ${words.toFixed(1)}`;
}

function showBlocks(answer) {
  const spans = answer.answer ? [answer, ...answer.alternatives] : [];
  at("blocks").replaceChildren(
    ...answer.blocks.map((block) => {
      const item = make("li");
      const more = make("details");
      more.dir = "auto";
      more.append(make("summary", title(block)), make("p", block.text, "note"));
      item.append(more, bar("p(z|x)", block.probability));
      if (block.lexical_score) item.append(make("div", parts(block), "note"));
      const span = spans.find((s) => s.block.block_id === block.block_id);
      if (span) {
        item.append(
          bar("p(y|z,x)", span.reading_probability),
          make("div", `reads: ${span.answer}`, "note"),
        );
      } else {
        item.append(make("div", "no leading answer in this block", "note"));
      }
      return item;
    }),
  );
}

function showAnswer(answer) {
  at("result").hidden = false;
  at("asked").textContent = answer.question;
  at("answer").textContent = answer.found ? answer.answer : "No answer";
  let confidence = "Nothing could be read.";
  if (answer.answer) {
    const guess = answer.found ? "" : `Best guess: ${answer.answer}. `;
    confidence =
      `${guess}Probability ${percent(answer.probability)}, ` +
      `p(z|x) ${percent(answer.retrieval_probability)}, ` +
      `p(y|z,x) ${percent(answer.reading_probability)}.`;
  }
  if (answer.truncated) confidence += " The question was too long and was cut.";
  at("confidence").textContent = confidence;
  at("evidence").hidden = !answer.answer;
  if (answer.answer) showEvidence(answer);
  showAlternatives(answer.alternatives);
  showBlocks(answer);
  const models = Object.entries(answer.models).map(([n, v]) => `${n} ${v}`);
  at("versions").textContent =
    `Answered by index version ${answer.index_version}, ${models.join(", ")}.`;
  at("answer").focus();
}

async function showIndex() {
  try {
    const index = await call("GET", "/v1/index");
    at("index").textContent =
      `Index version ${index.version}, ` +
      `${index.num_blocks.toLocaleString("en")} blocks`;
  } catch (error) {
    at("index").textContent = `Not ready: ${error.message}`;
  }
}

async function whileBusy(button, place, action) {
  button.disabled = true;
  try {
    await action();
  } catch (error) {
    say(place, error.message, true);
  } finally {
    button.disabled = false;
  }
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(at("send"), at("message"), async () => {
    say(at("message"), "Reading…");
    const reply = await call("POST", "/v1/ask", {
      question: at("question").value,
      top_k: at("top-k").valueAsNumber || null,
      alternatives: ALTERNATIVES,
      threshold: numberOrNull(at("threshold").valueAsNumber),
    });
    say(at("message"), "");
    showAnswer(reply.answers[0]);
  });
});

at("add").addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(at("save"), at("added"), async () => {
    say(at("added"), "Adding…");
    const id = at("document-id").value;
    const reply = await call("POST", "/v1/documents", {
      documents: [
        {
          id,
          title: at("document-title").value,
          text: at("document-text").value,
        },
      ],
    });
    say(
      at("added"),
      `${id} can be asked about. The index has ${reply.num_blocks} blocks.`,
    );
    await showIndex();
    at("question").focus();
  });
});

at("delete").addEventListener("click", () => {
  whileBusy(at("delete"), at("added"), async () => {
    const id = at("document-id").value;
    await call("DELETE", `/v1/documents?id=${encodeURIComponent(id)}`);
    say(at("added"), `${id} is deleted.`);
    await showIndex();
  });
});

showIndex();
setInterval(showIndex, STATUS_INTERVAL);
