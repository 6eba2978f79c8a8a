// What LoRA Info and Save VideoMage LoRA show of a LoRA, on the node: the page itself shows texts of its own nodes alone.
import { feature, follow, panel } from "./common/page.js";
import { translate } from "./common/texts.js";

const HEIGHTS = { VideoMage_LoraInfo: 200, VideoMage_SaveLora: 40 };

feature("LoraText", Object.keys(HEIGHTS), (node) => {
  const element = panel(node, "said", HEIGHTS[node.comfyClass]);
  element.style.whiteSpace = "pre-wrap";
  let text = "";
  const before = node.onExecuted;
  node.onExecuted = function (message) {
    before?.call(this, message);
    text = (message?.text ?? []).join("\n");
  };
  follow(node, () => text, () => {
    element.textContent = text || translate("not_run");
  });
});
