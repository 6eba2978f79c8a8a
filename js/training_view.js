// While a training runs: loss curve, time left and the latest sample on the node; also after a reload.
import { api } from "../../scripts/api.js";
import { WARNING, askNow, feature, follow, line, panel } from "./common/page.js";
import { translate, translateActivity } from "./common/texts.js";
import { UNKNOWN, nodesOf, runId, valueOf } from "./common/wires.js";

const KINDS = {
  VideoMage_TrainSubject: "subject",
  VideoMage_TrainMotion: "motion",
  VideoMage_FuseSubjects: "fusion",
};
const WIDTH = 300;
const HEIGHT = 90;
const COLOURS = ["#4fa3e0", "#e8803d", "#5fc05f", "#b98ae0"];
const views = new WeakMap(); // by node

api.addEventListener("videomage.training", ({ detail }) => {
  for (const node of nodesOf()) views.get(node)?.(detail);
});

feature("TrainingView", Object.keys(KINDS), (node) => {
  const show = view(panel(node, "training", 190));
  const kind = KINDS[node.comfyClass];
  let trainings = []; // {name, node} of those this node does: several in a subgraph that is used several times
  let state = null;
  const tell = (news) => {
    if (news.kind !== kind || !trainings.some((one) => isOf(news, one))) return;
    if (!state || news.time >= state.time) show((state = news));
  };
  views.set(node, tell);
  // The file name may be typed, loaded with a workflow or set by an undo: see which trainings are meant.
  const own = (places) => places.map((place) => ({ name: valueOf(place, "file_name"), node: runId(place) }));
  follow(node, own, async (found) => {
    trainings = found;
    state = null;
    show(null, found.every(({ name }) => name === UNKNOWN) ? "name_wired" : "no_training");
    const named = found.filter(({ name }) => name !== UNKNOWN);
    for (const one of await Promise.all(named.map((training) => askNow("training", { kind, ...training })))) {
      if (one) tell(one);
    }
  });
});

function isOf(news, { name, node }) {
  return news.node === node && (name === UNKNOWN || news.name === name);
}

/** Fills a panel; gives a function that shows a state, or a text by its key where there is none. */
function view(element) {
  const head = line(element, "");
  const drawing = element.appendChild(document.createElement("div"));
  const image = element.appendChild(document.createElement("img"));
  Object.assign(image.style, { maxWidth: "100%", maxHeight: "64px", imageRendering: "pixelated" });
  return (state, otherwise) => {
    head.textContent = state ? headline(state) : translate(otherwise);
    head.style.color = state?.error ? WARNING : "";
    drawing.replaceChildren(...(state ? [curve(state.losses)] : []));
    image.style.display = state?.sample ? "" : "none";
    image.alt = translate("latest_sample");
    const address = state?.sample ? sampleAddress(state) : "";
    if (image.dataset.address !== address) image.src = image.dataset.address = address;
  };
}

function headline(state) {
  const { file, error, done, total, steps, live, seconds_left: left } = state;
  const what = translateActivity(state.what);
  if (error) return translate("failed", { error });
  if (file) return translate("finished", { file, total });
  if (!live) return translate("stopped", { what, done, total, steps });
  const text = left == null ? translate("runs", { what, done, total }) : translate("runs_left", { what, done, total, time: spoken(left) });
  return text[0].toUpperCase() + text.slice(1);
}

function spoken(seconds) {
  if (seconds < 90) return translate("seconds", { count: Math.round(seconds) });
  if (seconds < 5400) return translate("minutes", { count: Math.round(seconds / 60) });
  return translate("hours", { count: (seconds / 3600).toFixed(1) });
}

function curve(losses) {
  const names = Object.keys(losses);
  const values = Object.values(losses).flat().filter((value) => value > 0);
  const box = document.createElement("div");
  if (values.length < 2) return box;
  const [low, high] = [Math.log(Math.min(...values)), Math.log(Math.max(...values))];
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: "100%", height: HEIGHT, preserveAspectRatio: "none" });
  const legend = document.createElement("div");
  names.forEach((name, index) => {
    const line = smooth(losses[name]);
    const points = line.map((value, at) => {
      const x = (WIDTH * at) / Math.max(1, line.length - 1);
      const y = HEIGHT - 2 - ((HEIGHT - 4) * (Math.log(Math.max(value, 1e-12)) - low)) / Math.max(high - low, 0.1);
      return `${x.toFixed(1)},${y.toFixed(1)}`;
    });
    const colour = COLOURS[index % COLOURS.length];
    drawing.append(svg("polyline", { points: points.join(" "), fill: "none", stroke: colour, "vector-effect": "non-scaling-stroke" }));
    const label = document.createElement("span");
    label.textContent = `${name} ${line.at(-1).toPrecision(3)}  `;
    label.style.color = colour;
    legend.append(label);
  });
  box.className = "videomage-curve";
  box.dataset.points = String(Math.max(...names.map((name) => losses[name].length)));
  box.append(drawing, legend);
  return box;
}

/** Running mean over a tenth of the values, as in the loss plot that the node gives. */
function smooth(values) {
  const width = Math.max(1, Math.floor(values.length / 10));
  return values.map((_, at) => {
    const part = values.slice(Math.max(0, at + 1 - width), at + 1);
    return part.reduce((sum, value) => sum + value, 0) / part.length;
  });
}

/** Another one for each sample that is made: its time tells them apart. */
function sampleAddress({ kind, name, node, sample }) {
  return api.apiURL(`/videomage/sample?${new URLSearchParams({ kind, name, node, at: sample })}`);
}

function svg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
