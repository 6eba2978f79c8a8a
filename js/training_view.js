// While a training runs: loss curve, time left and the latest sample on the node; also after a reload.
import { api } from "../../scripts/api.js";
import { TRAINERS, askNow, feature, line, panel, valueOf } from "./page.js";

const WIDTH = 300;
const HEIGHT = 90;
const COLOURS = ["#4fa3e0", "#e8803d", "#5fc05f", "#b98ae0"];
const views = new Set();

api.addEventListener("videomage.training", ({ detail }) => {
  for (const view of views) view.tell(detail);
});

feature("TrainingView", Object.keys(TRAINERS), (node) => {
  const element = panel(node, "training", 190);
  const kind = TRAINERS[node.comfyClass];
  let asked;
  let state = null;
  const view = {
    tell(news) {
      if (news.kind === kind && news.name === valueOf(node, "file_name")) show((state = news));
    },
  };
  const show = (now) => {
    element.replaceChildren();
    line(element, now ? headline(now) : "No training of this file name yet.");
    if (!now) return;
    element.append(curve(now.losses));
    if (now.sample) element.append(sample(now));
  };
  // The file name may be typed, loaded with a workflow or set by an undo: look which training it means.
  const look = async () => {
    const name = valueOf(node, "file_name");
    if (name === asked || typeof name !== "string") return;
    asked = name;
    const found = await askNow("training", { kind, name });
    if (name === asked) show((state = found));
  };
  const timer = setInterval(look, 500);
  views.add(view);
  show(state);
  const removed = node.onRemoved;
  node.onRemoved = function (...given) {
    clearInterval(timer);
    views.delete(view);
    return removed?.apply(this, given);
  };
});

function headline(state) {
  const { what, done, total, steps, live, seconds_left: left } = state;
  const finished = what.startsWith("finished");
  if (!live && !finished) return `Stopped: ${what}, ${done} of ${total}. Queue it again and it goes on (${steps} steps kept).`;
  if (finished) return `${what[0].toUpperCase()}${what.slice(1)}, ${total} steps`;
  const time = left == null ? "" : `, ${spoken(left)} left`;
  return `${what[0].toUpperCase()}${what.slice(1)}: ${done} of ${total}${time}`;
}

function spoken(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
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

function sample({ kind, name, steps }) {
  const picture = document.createElement("img");
  picture.src = api.apiURL(`/videomage/sample?${new URLSearchParams({ kind, name, at: steps })}`);
  picture.alt = "latest sample";
  Object.assign(picture.style, { maxWidth: "100%", maxHeight: "64px", imageRendering: "pixelated" });
  return picture;
}

function svg(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
