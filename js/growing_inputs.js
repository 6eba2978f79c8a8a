// Numbered inputs (lora_1, mask_1 ...) grow as they are wired, and shrink again: one free input is always shown.
import { app } from "../../scripts/app.js";

// Of each node: the inputs' prefix, and how many are always shown.
const GROWING = {
  VideoMage_FuseSubjects: ["lora_", 2],
  VideoMage_SampleVideo: ["lora_", 1],
  VideoMage_TrainMotion: ["mask_", 1],
  VideoMage_ContactSheet: ["row_", 2],
  VideoMage_Evaluate: ["images_", 1],
  VideoMage_SCSGuider: ["model_subject_", 1],
};

app.registerExtension({
  name: "VideoMage.GrowingInputs",
  nodeCreated(node) {
    if (!(node.comfyClass in GROWING)) return;
    const [prefix, least] = GROWING[node.comfyClass];
    const all = node.inputs.filter(({ name }) => name.startsWith(prefix)).map(({ name, type, ...rest }) => [name, type, kept(rest)]);
    const sync = () => grow(node, prefix, least, all);
    sync();
    after(node, "onConfigure", sync);
    after(node, "onConnectionsChange", () => {
      if (!app.configuringGraph) queueMicrotask(sync);
    });
  },
});

function grow(node, prefix, least, all) {
  const shown = () => node.inputs.map(({ name }, at) => ({ name, at })).filter(({ name }) => name.startsWith(prefix));
  const last = Math.max(-1, ...shown().map(({ at }, number) => (node.isInputConnected(at) ? number : -1)));
  const wanted = Math.min(all.length, Math.max(least, last + 2));
  while (shown().length > wanted) node.removeInput(shown().at(-1).at); // wired ones come before
  for (const [name, type, rest] of all.slice(shown().length, wanted)) node.addInput(name, type, rest);
  node.setDirtyCanvas?.(true, true);
}

/** What a new input keeps of the declared one: its widget and its name in the user's language. */
function kept({ shape, label, localized_name }) {
  return { shape, label, localized_name };
}

function after(node, method, then) {
  const before = node[method];
  node[method] = function (...given) {
    const result = before?.apply(this, given);
    then();
    return result;
  };
}
