// Under Encode Prompt (SCS): its subjects, those that the prompt lacks, and what the motion branch gets.
// Finds and replaces as videomage_core/model/prompt_spans.py does.
import { WARNING, alike, feature, follow, line, panel } from "./common/page.js";
import { translate } from "./common/texts.js";
import { UNKNOWN, valueOf } from "./common/wires.js";

const NO_BLANKS = "\\u0e00-\\u0eff\\u3040-\\u30ff\\u3400-\\u9fff\\uac00-\\ud7af"; // Thai and Lao, kana, Chinese, Hangul
const LETTER = `(?![${NO_BLANKS}])[\\p{L}\\p{N}_]`;
const UNREADABLE = /<(?:lora|lyco|hypernet):[^<>]*>|\bembedding:\S*/i;

feature("ScsPrompt", ["VideoMage_EncodePromptSCS"], (node) => {
  const element = panel(node, "motion_branch", 74);
  follow(node, alike(facts), (found) => {
    element.replaceChildren();
    if (found === UNKNOWN) line(element, translate("places_differ"));
    else for (const { text, warn } of advice(found)) line(element, text, warn ? WARNING : undefined);
  });
});

async function facts(place) {
  const [prompt, box, file] = ["prompt", "subjects", "learned_tokens"].map((name) => valueOf(place, name));
  return { prompt, box, file };
}

/** Lines to show for a prompt and a box with a line for each subject. */
export function advice({ prompt, box, file }) {
  if (prompt === UNKNOWN) return [{ text: translate("prompt_wired") }];
  if (box === UNKNOWN) return [{ text: translate("subjects_wired") }];
  const { subjects, wrong } = readSubjects(String(box ?? ""));
  const lines = wrong.map((text) => ({ text: translate("no_superclass", { line: text }), warn: true }));
  if (file !== "none") lines.push({ text: translate("tokens_of_file") });
  else if (!subjects.length && !wrong.length) return [{ text: translate("mark_subjects"), warn: true }];
  const unreadable = String(prompt ?? "").match(UNREADABLE);
  if (unreadable) lines.push({ text: translate("not_read", { what: unreadable[0] }), warn: true });
  const { motion, missing } = forMotion(String(prompt ?? ""), subjects);
  if (missing.length) lines.push({ text: translate("lacks", { tokens: missing.join(translate("comma")) }), warn: true });
  return [...lines, { text: translate("motion_gets", { prompt: motion }) }];
}

/** {subjects: [{words, superclass}], wrong: lines without a superclass} */
function readSubjects(box) {
  const lines = box.split("\n").map((text) => text.trim()).filter(Boolean);
  const read = lines.map((text) => {
    const at = text.indexOf("=");
    const [words, superclass] = [text.slice(0, Math.max(at, 0)), text.slice(at + 1)].map(tidied);
    return at > 0 && words && superclass ? { words, superclass } : { wrong: text };
  });
  return { subjects: read.filter(({ wrong }) => !wrong), wrong: read.flatMap(({ wrong }) => wrong ?? []) };
}

function tidied(text) {
  return text.trim().replace(/\s+/g, " ");
}

/** {motion: the prompt with superclasses in the subjects' places, missing: words that it lacks} */
function forMotion(prompt, subjects) {
  if (!subjects.length) return { motion: prompt, missing: [] };
  const ordered = [...subjects].sort((one, other) => other.words.length - one.words.length); // the longest first
  const there = new Set();
  const pattern = new RegExp(ordered.map(({ words }) => `(${pieces(words)})`).join("|"), "giu");
  const motion = prompt.replace(pattern, (match, ...groups) => {
    const subject = ordered[groups.slice(0, ordered.length).findIndex((group) => group !== undefined)];
    there.add(subject.words);
    return escaped(subject.superclass);
  });
  return { motion, missing: subjects.map(({ words }) => words).filter((words) => !there.has(words)) };
}

/** A subject's words as the prompt writes them: whole words in a row, parentheses escaped. */
function pieces(words) {
  const [first, last] = [[...words][0], [...words].at(-1)];
  const letter = new RegExp(`^${LETTER}$`, "u");
  const plain = words.split(" ").map((word) => escaped(word).replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"));
  const [before, after] = [letter.test(first) ? `(?<!${LETTER})` : "", letter.test(last) ? `(?!${LETTER})` : ""];
  return before + plain.join("\\s+") + after;
}

function escaped(text) {
  return text.replace(/[()]/g, "\\$&");
}
