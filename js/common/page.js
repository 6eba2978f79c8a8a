// What the features share: asking the server, panels on nodes, looking again and again.
import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";
import { language } from "./texts.js";
import { UNKNOWN, nodesOf, places } from "./wires.js";

let answers; // by address; a promise each

/** What the server says at /videomage/<path>; null if it refuses. Kept until a node has run: files may have changed. */
export function ask(path, query) {
  if (!answers) {
    answers = new Map();
    api.addEventListener("executed", () => answers.clear());
  }
  const address = `/videomage/${path}?${new URLSearchParams(query)}`;
  if (!answers.has(address)) answers.set(address, read(address));
  return answers.get(address);
}

/** The same, asked anew. */
export function askNow(path, query) {
  return read(`/videomage/${path}?${new URLSearchParams(query)}`);
}

async function read(address) {
  try {
    const answer = await api.fetchApi(address);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

const MARGINS = 20; // that the page leaves above and below such an element, together

/** An element under a node's widgets; not part of the workflow nor of the prompt. */
export function panel(node, name, height) {
  const room = () => height + MARGINS;
  const element = document.createElement("div");
  Object.assign(element.style, {
    minHeight: `${height}px`, overflow: "auto", font: "12px sans-serif", padding: "4px",
    boxSizing: "border-box", color: "var(--input-text, #ddd)", background: "var(--comfy-input-bg, #222)",
    borderRadius: "4px",
  });
  const widget = node.addDOMWidget(name, name, element, {
    serialize: false, hideOnZoom: false, getMinHeight: room, getMaxHeight: room,
  });
  widget.serialize = false;
  return element;
}

/** A button under a node's widgets; not part of the workflow nor of the prompt. */
export function button(node, name, press) {
  const widget = node.addWidget("button", name, null, press);
  widget.serialize = false;
  widget.options = { ...widget.options, serialize: false };
  return widget;
}

/** Buttons, then panels, under a node's own widgets, whichever feature came first. */
export function tidy(node) {
  const own = node.widgets.filter((widget) => widget.serialize !== false);
  const ours = node.widgets.filter((widget) => widget.serialize === false);
  const [buttons, panels] = [ours.filter(({ type }) => type === "button"), ours.filter(({ type }) => type !== "button")];
  buttons.sort((one, other) => one.name.localeCompare(other.name));
  node.widgets.splice(0, node.widgets.length, ...own, ...buttons, ...panels);
}

/** Hide a node's own widget, or show it again; its value stays in the workflow. */
export function hide(widget, hidden) {
  widget.hidden = hidden;
  if (globalThis.LiteGraph?.vueNodesMode) widget.options = { ...widget.options, hidden };
  if (hidden) {
    widget.shownSize ??= [widget.computeSize];
    widget.computeSize = () => [0, -4]; // older pages keep a hidden widget's place; 4 is the gap below each
  } else if (widget.shownSize) {
    widget.computeSize = widget.shownSize[0];
  }
}

/** A line of text in an element. */
export function line(parent, text, color) {
  const row = document.createElement("div");
  row.textContent = text;
  if (color) row.style.color = color;
  parent.append(row);
  return row;
}
export const WARNING = "#e8a33d";

/**
 * Call show(found) with what facts(places of the node) says, once the node is in the workflow and whenever that
 * changes. What a node shows may depend on nodes far up its wires, of whose changes the page tells it nothing: so all
 * nodes of the workflow are looked at twice a second. A node that is not in it, or no longer, costs nothing.
 */
export function follow(node, facts, show) {
  let shown;
  let busy = false;
  const look = async () => {
    if (busy) return;
    busy = true;
    try {
      const found = await facts(places(node));
      const text = JSON.stringify([language(), found ?? null]);
      if (text !== shown) show(found);
      shown = text;
    } finally {
      busy = false;
    }
  };
  followed.set(node, [...(followed.get(node) ?? []), look]);
  ticker ??= setInterval(lookAtAll, 500);
}
const followed = new WeakMap(); // the watchers of a node
let ticker;

function lookAtAll() {
  if (document.hidden) return;
  for (const node of nodesOf()) for (const look of followed.get(node) ?? []) look();
}

/** The facts of one place, of all that a node has; UNKNOWN where they are not alike. */
export function alike(facts) {
  return async (all) => {
    const found = await Promise.all(all.map(facts));
    return new Set(found.map((one) => JSON.stringify(one))).size === 1 ? found[0] : UNKNOWN;
  };
}

/** Register a feature for nodes of these types: begin(node) is called for each new one. */
export function feature(name, types, begin) {
  app.registerExtension({
    name: `VideoMage.${name}`,
    nodeCreated(node) {
      if (!types.includes(node.comfyClass)) return;
      begin(node);
      tidy(node);
    },
  });
}
