// Under the prompt: the tokens of the wired LoRAs, those the prompt lacks or misspells, the superclass prompt.
import { WARNING, feature, follow, line, panel, source, sources, valueOf } from "./page.js";
import { tokensOf } from "./tokens.js";

feature("PromptHelper", ["VideoMage_SCSSampler", "VideoMage_SampleVideo"], (node) => {
  const element = panel(node, "tokens in the prompt", 74);
  follow(node, facts, ({ prompt, tokens }) => {
    element.replaceChildren();
    for (const { text, warn } of advice(prompt, tokens)) line(element, text, warn ? WARNING : undefined);
  });
});

async function facts(node) {
  const loras = node.comfyClass === "VideoMage_SCSSampler" ? [source(node, "subject")] : sources(node, "lora_");
  const tokens = (await Promise.all(loras.filter(Boolean).map((lora) => tokensOf(lora)))).flat();
  return { prompt: String(valueOf(node, "prompt") ?? ""), tokens };
}

/** Lines to show for a prompt and the tokens [{name, superclass}] it can use. */
export function advice(prompt, tokens) {
  if (!tokens.length) return [{ text: "Wire a subject LoRA to see its tokens." }];
  const lines = [{ text: `Tokens: ${tokens.map(({ name, superclass }) => `${name} (${superclass})`).join(", ")}` }];
  const known = tokens.map(({ name }) => name.toLowerCase());
  const written = prompt.match(/<[^<>\s]*>/g) ?? [];
  const unknown = written.filter((word) => !known.includes(word.toLowerCase()));
  const missing = tokens.filter(({ name }) => !prompt.toLowerCase().includes(name.toLowerCase()));
  for (const word of unknown) {
    const near = tokens.map(({ name }) => name).sort((a, b) => distance(a, word) - distance(b, word))[0];
    lines.push({ text: `${word} is no token of these LoRAs; did you mean ${near}?`, warn: true });
  }
  if (missing.length) lines.push({ text: `The prompt lacks ${missing.map(({ name }) => name).join(", ")}`, warn: true });
  const plain = tokens.reduce((text, { name, superclass }) => text.replace(anyCase(name), superclass), prompt);
  lines.push({ text: `Superclass prompt: ${plain}` });
  return lines;
}

function anyCase(name) {
  return new RegExp(name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi");
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
