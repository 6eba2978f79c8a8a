// Under the prompt: the tokens of the wired LoRAs, those the prompt lacks or misspells, the superclass prompt.
import { WARNING, alike, feature, follow, line, panel } from "./common/page.js";
import { translate } from "./common/texts.js";
import { TOKEN, tokensOfAll } from "./common/tokens.js";
import { UNKNOWN, source, sources, valueOf } from "./common/wires.js";

feature("PromptHelper", ["VideoMage_SCSSampler", "VideoMage_SampleVideo"], (node) => {
  const element = panel(node, "tokens", 74);
  follow(node, alike(facts), (found) => {
    element.replaceChildren();
    if (found === UNKNOWN) line(element, translate("places_differ"));
    else for (const { text, warn } of advice(found)) line(element, text, warn ? WARNING : undefined);
  });
});

async function facts(place) {
  const subject = place.node.comfyClass === "VideoMage_SCSSampler";
  const loras = subject ? [source(place, "subject")] : sources(place, "lora_");
  return { prompt: valueOf(place, "prompt"), ...(await tokensOfAll(loras)) };
}

/** Lines to show for a prompt and the tokens [{name, superclass}] it can use; not complete: there may be others. */
export function advice({ prompt, tokens, complete }) {
  const untold = complete ? [] : [{ text: translate("tokens_unknown") }];
  if (!tokens.length) return complete ? [{ text: translate("wire_subject") }] : untold;
  const shown = tokens.map(({ name, superclass }) => translate("token_is", { name, superclass }));
  const lines = [{ text: translate("tokens", { tokens: list(shown) }) }, ...untold];
  if (prompt === UNKNOWN) return [...lines, { text: translate("prompt_wired") }];
  return [...lines, ...spelling(String(prompt ?? ""), tokens, complete)];
}

function spelling(prompt, tokens, complete) {
  const known = new Map(tokens.map((token) => [token.name.toLowerCase(), token]));
  const written = prompt.match(TOKEN) ?? [];
  const wrong = complete ? written.filter((word) => !known.has(word.toLowerCase())) : [];
  const lines = wrong.map((word) => ({ text: translate("no_token", { word, near: nearest(word, tokens) }), warn: true }));
  const there = new Set(written.map((word) => word.toLowerCase()));
  const missing = [...known].filter(([name]) => !there.has(name)).map(([, token]) => token.name);
  if (missing.length) lines.push({ text: translate("lacks", { tokens: list(missing) }), warn: true });
  const plain = prompt.replace(TOKEN, (word) => known.get(word.toLowerCase())?.superclass ?? word);
  return [...lines, { text: translate("superclass_prompt", { prompt: plain }) }];
}

function list(words) {
  return words.join(translate("comma"));
}

function nearest(word, tokens) {
  const far = (name) => distance(name.toLowerCase(), word.toLowerCase());
  return tokens.map(({ name }) => name).sort((a, b) => far(a) - far(b))[0];
}

/** Letters to change, add or take away between two words. */
function distance(a, b) {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(next[j - 1] + 1, row[j] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length];
}
