// What the features share: finding what is wired to a node, asking the server, panels on nodes.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

export const TRAINERS = {
  VideoMage_TrainSubject: "subject",
  VideoMage_TrainMotion: "motion",
  VideoMage_FuseSubjects: "fusion",
};

/** The value of a node's widget, or undefined. */
export function valueOf(node, name) {
  return node?.widgets?.find((widget) => widget.name === name)?.value;
}

/** The node wired to an input, reroutes passed through; undefined if there is none. */
export function source(node, input) {
  const at = node.inputs?.findIndex((slot) => slot.name === input) ?? -1;
  return at < 0 ? undefined : through(node, at);
}

/** The nodes wired to inputs whose names begin so, in order. */
export function sources(node, prefix) {
  return (node.inputs ?? [])
    .map((slot, at) => (slot.name.startsWith(prefix) ? through(node, at) : undefined))
    .filter(Boolean);
}

function through(node, at) {
  for (let hops = 0; hops < 32; hops++) {
    const link = node.isInputConnected?.(at) ? node.getInputLink(at) : null;
    const from = link && node.graph?.getNodeById(link.origin_id);
    if (!from || from.type !== "Reroute") return from ?? undefined;
    [node, at] = [from, 0];
  }
  return undefined;
}

/** The name of the base that a node is wired to, or "". */
export function baseOf(node) {
  const from = source(node, "base");
  return (from?.type === "VideoMage_LoadBase" && valueOf(from, "base")) || "";
}

const answers = new Map(); // by address; a promise each

/** What the server says at /videomage/<path>; null if it refuses. Kept until forget(). */
export function ask(path, query) {
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

/** Forget what the server said: files may have changed. */
export function forget() {
  answers.clear();
}
api.addEventListener("executed", forget);

/** An element under a node's widgets; not part of the workflow nor of the prompt. */
export function panel(node, name, height) {
  const element = document.createElement("div");
  Object.assign(element.style, {
    minHeight: `${height}px`, overflow: "auto", font: "12px sans-serif", padding: "4px",
    boxSizing: "border-box", color: "var(--input-text, #ddd)", background: "var(--comfy-input-bg, #222)",
    borderRadius: "4px",
  });
  const widget = node.addDOMWidget(name, name, element, {
    serialize: false, hideOnZoom: false, getMinHeight: () => height, getMaxHeight: () => height,
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
 * Call show(node) with what facts(node) says, now and whenever that changes. What a node shows may depend on
 * nodes far up its wires, of whose changes the page tells it nothing: so it looks twice a second.
 */
export function follow(node, facts, show) {
  let shown;
  let busy = false;
  const timer = setInterval(async () => {
    if (!node.graph || document.hidden || busy) return;
    busy = true;
    try {
      const found = await facts(node);
      const text = JSON.stringify(found);
      if (text !== shown) show(found);
      shown = text;
    } finally {
      busy = false;
    }
  }, 500);
  const removed = node.onRemoved;
  node.onRemoved = function (...given) {
    clearInterval(timer);
    return removed?.apply(this, given);
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
