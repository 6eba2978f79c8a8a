// Rare settings are folded away: Nodes 2.0 does it by itself, on a canvas there is a button.
import { app } from "../../scripts/app.js";
import { button, tidy } from "./page.js";

app.registerExtension({
  name: "VideoMage.RareSettings",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("VideoMage_") || globalThis.LiteGraph?.vueNodesMode) return;
    const rare = (node.widgets ?? []).filter((widget) => widget.options?.advanced);
    if (!rare.length) return;
    let hidden = false;
    const fold = button(node, "rare settings", () => turn());
    const turn = () => {
      hidden = !hidden;
      for (const widget of rare) hide(widget, hidden);
      fold.label = `${hidden ? "show" : "hide"} ${rare.length} rare settings`;
      node.setSize([node.size[0], node.computeSize()[1]]);
      node.setDirtyCanvas?.(true, true);
    };
    turn();
    tidy(node);
  },
});

function hide(widget, hidden) {
  widget.hidden = hidden;
  if (hidden) {
    widget.shownSize ??= [widget.computeSize];
    widget.computeSize = () => [0, -4]; // older pages keep a hidden widget's place; 4 is the gap below each
  } else if (widget.shownSize) {
    widget.computeSize = widget.shownSize[0];
  }
}
