// Rare settings are folded away: Nodes 2.0 does it by itself, on a canvas there is a button.
import { app } from "../../scripts/app.js";
import { button, follow, hide, tidy } from "./common/page.js";
import { translate } from "./common/texts.js";

app.registerExtension({
  name: "VideoMage.AdvancedSettings",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("VideoMage_") || globalThis.LiteGraph?.vueNodesMode) return;
    const rare = (node.widgets ?? []).filter((widget) => widget.options?.advanced);
    if (!rare.length) return;
    let hidden = false;
    const fold = button(node, "advanced_settings", () => turn());
    const name = () => {
      fold.label = translate(hidden ? "show_advanced" : "hide_advanced", { count: rare.length });
    };
    const turn = () => {
      hidden = !hidden;
      for (const widget of rare) hide(widget, hidden);
      name();
      node.setSize([node.size[0], node.computeSize()[1]]);
      node.setDirtyCanvas?.(true, true);
    };
    turn();
    follow(node, () => null, name); // in the page's language, which may change
    tidy(node);
  },
});
