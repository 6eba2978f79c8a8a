// What is wired to what: through reroutes, bypassed nodes and the borders of subgraphs.
//
// A node of a subgraph runs once for each node that stands for the subgraph. So everything here is asked of a place:
// {node, path}, path the subgraph nodes around the node, outermost first.
import { app } from "../../../scripts/app.js";

/** What only a run can tell. */
export const UNKNOWN = Object.freeze({ unknown: true });

const MUTED = 2;
const BYPASSED = 4;
const FAR = 64; // wires to follow before giving up
const PRIMITIVES = [
  "PrimitiveNode", "PrimitiveString", "PrimitiveStringMultiline", "PrimitiveInt", "PrimitiveFloat", "PrimitiveBoolean",
];

/** All nodes of the open workflow, those in subgraphs too, each once. */
export function* nodesOf(graph = root(), seen = new Set()) {
  if (!graph || seen.has(graph)) return;
  seen.add(graph);
  for (const node of graph.nodes) {
    yield node;
    if (node.subgraph) yield* nodesOf(node.subgraph, seen);
  }
}

/** Every place where a node runs; none if it is in no graph, or in a subgraph that nothing stands for. */
export function places(node) {
  return node.graph ? pathsTo(node.graph).map((path) => ({ node, path })) : [];
}

/** The id by which the server knows a node at its place. */
export function runId({ node, path }) {
  return [...path, node].map(({ id }) => id).join(":");
}

/** The place whose output is wired to an input; null if nothing is, UNKNOWN if only a run can tell. */
export function source(place, input) {
  return origin(place, (place.node.inputs ?? []).findIndex((slot) => slot.name === input));
}

/** The places wired to inputs whose names begin so, in order. */
export function sources(place, prefix) {
  return (place.node.inputs ?? [])
    .map((slot, at) => (slot.name.startsWith(prefix) ? origin(place, at) : null))
    .filter(Boolean);
}

/** Whether a widget's value comes from a wire. */
export function isWired(place, name) {
  return Boolean(intoWidget(place, name));
}

/** The value of a widget, also of one that is wired to a primitive or to a subgraph's widget; undefined if none. */
export function valueOf(place, name, far = 0) {
  const from = intoWidget(place, name);
  if (!from) return place.node.widgets?.find((widget) => widget.name === name)?.value;
  if ("value" in from) return from.value;
  if (far > FAR || !PRIMITIVES.includes(from.node?.type)) return UNKNOWN;
  return valueOf(from, from.node.widgets?.[0]?.name, far + 1);
}

/** The places that an output is wired to. */
export function consumers({ node, path }, slot, far = 0) {
  return ends(node.graph, path, (link) => same(link.origin_id, node.id) && link.origin_slot === slot, far);
}

/** What stands for the name of a base made of ComfyUI's own MODEL; the server knows it too. */
export const FROM_MODEL = "wan_of_model";

/** The name of the base that a place is wired to; "" if it is to none. */
export function baseOf(place) {
  const from = source(place, "base");
  if (!from) return "";
  if (from.node?.comfyClass === "VideoMage_BaseFromModel") return FROM_MODEL;
  return from.node?.comfyClass === "VideoMage_LoadBase" ? valueOf(from, "base") : UNKNOWN;
}

function root() {
  return app.rootGraph ?? app.graph;
}

function pathsTo(graph, from = root(), path = []) {
  if (from === graph) return [path];
  const around = from.nodes.filter((node) => node.subgraph);
  return around.flatMap((node) => pathsTo(graph, node.subgraph, [...path, node]));
}

/** Ids are numbers on some pages, text on others. */
function same(id, other) {
  return other !== undefined && String(id) === String(other);
}

/** None for a node that was removed from its graph while the server was asked. */
function linksOf(graph) {
  return [...(graph?.links.values() ?? [])];
}

function intoWidget(place, name) {
  return origin(place, (place.node.inputs ?? []).findIndex((slot) => slot.widget?.name === name));
}

/** Where an input's value is from: {node, path}, {value} of a subgraph's widget, UNKNOWN, or null. */
function origin({ node, path }, at, far = 0) {
  const link = linksOf(node.graph).find((one) => same(one.target_id, node.id) && one.target_slot === at);
  return link ? begin(node.graph, path, link, far + 1) : null;
}

/** The same for a wire. */
function begin(graph, path, link, far) {
  if (far > FAR) return UNKNOWN;
  if (same(link.origin_id, graph.inputNode?.id)) {
    const [around, outer] = [path.slice(0, -1), path.at(-1)];
    const slot = outer.inputs[link.origin_slot];
    const widget = slot?._widget ?? (slot?.widget && outer.getWidgetFromSlot?.(slot));
    return origin({ node: outer, path: around }, link.origin_slot, far) ?? (widget ? { value: widget.value } : null);
  }
  const node = graph.getNodeById(link.origin_id);
  return node ? resolveOutput({ node, path }, link.origin_slot, far) : null;
}

/** The same for an output. */
function resolveOutput(place, slot, far) {
  const { node, path } = place;
  if (node.mode === MUTED) return null;
  if (node.mode === BYPASSED) return origin(place, passedBy(node, slot), far);
  if (node.subgraph) {
    const { outputNode } = node.subgraph;
    const link = linksOf(node.subgraph).find((one) => same(one.target_id, outputNode.id) && one.target_slot === slot);
    return link ? begin(node.subgraph, [...path, node], link, far + 1) : null;
  }
  if (node.isVirtualNode && node.inputs?.[slot]) return origin(place, slot, far); // a reroute
  const link = node.isVirtualNode ? node.getInputLink?.(slot) : null; // a node that gets what another one has set
  return link ? begin(node.graph, path, link, far + 1) : place;
}

/** The input that a bypassed node passes on to an output: that of its place if the types agree, else the first. */
function passedBy(node, slot) {
  const type = node.outputs[slot]?.type;
  return node.inputs[slot]?.type === type ? slot : node.inputs.findIndex((input) => input.type === type);
}

function ends(graph, path, chosen, far) {
  return far > FAR ? [] : linksOf(graph).filter(chosen).flatMap((link) => end(graph, path, link, far + 1));
}

function end(graph, path, link, far) {
  if (same(link.target_id, graph.outputNode?.id)) {
    return consumers({ node: path.at(-1), path: path.slice(0, -1) }, link.target_slot, far);
  }
  const node = graph.getNodeById(link.target_id);
  if (!node || node.mode === MUTED) return [];
  const place = { node, path };
  if (node.mode === BYPASSED) {
    const slots = node.outputs.map((_, slot) => slot).filter((slot) => passedBy(node, slot) === link.target_slot);
    return slots.flatMap((slot) => consumers(place, slot, far));
  }
  if (node.subgraph) {
    const { id } = node.subgraph.inputNode;
    const inner = (one) => same(one.origin_id, id) && one.origin_slot === link.target_slot;
    return ends(node.subgraph, [...path, node], inner, far);
  }
  return node.isVirtualNode && node.outputs?.length ? consumers(place, link.target_slot, far) : [place];
}
