// On Merge Subject LoRAs: of its rows (lora_1, weight_1 ...) those that are chosen are shown, and one more.
import { app } from "../../scripts/app.js";
import { hide } from "./common/page.js";

const NONE = "none";

app.registerExtension({
  name: "VideoMage.GrowingWidgets",
  nodeCreated(node) {
    if (node.comfyClass !== "VideoMage_MergeSubjectLoRAs") return;
    const rows = (node.widgets ?? []).filter(({ name }) => name.startsWith("lora_")).map((lora) => rowOf(node, lora));
    const sync = () => {
      // A wired widget's own value says nothing.
      const chosen = rows.map(([lora]) => lora.value !== NONE || isWired(node, lora.name));
      const last = Math.max(1, chosen.lastIndexOf(true) + 1); // two rows, at least
      rows.forEach((row, at) => row.forEach((widget) => hide(widget, at > last)));
      node.setSize([node.size[0], node.computeSize()[1]]);
      node.setDirtyCanvas?.(true, true);
    };
    for (const [lora] of rows.slice(1)) {
      const before = lora.callback;
      lora.callback = function (...given) {
        const result = before?.apply(this, given);
        sync();
        return result;
      };
    }
    for (const method of ["onConfigure", "onConnectionsChange"]) {
      const before = node[method];
      node[method] = function (...given) {
        const result = before?.apply(this, given);
        queueMicrotask(sync);
        return result;
      };
    }
    sync();
  },
});

function rowOf(node, lora) {
  return [lora, node.widgets.find(({ name }) => name === lora.name.replace("lora_", "weight_"))];
}

function isWired(node, name) {
  const at = (node.inputs ?? []).findIndex((input) => input.widget?.name === name);
  return at >= 0 && node.isInputConnected(at);
}
