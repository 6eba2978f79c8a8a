// On the loader: thumbnail, kind, tokens with classes and base of the chosen file; a warning if it does not fit.
import { WARNING, ask, baseOf, feature, follow, line, panel, valueOf } from "./page.js";

const USERS = ["VideoMage_SCSSampler", "VideoMage_SampleVideo", "VideoMage_FuseSubjects"];

feature("LoraCard", ["VideoMage_LoadLora"], (node) => {
  const element = panel(node, "card", 110);
  follow(node, facts, ({ about, base }) => {
    element.replaceChildren();
    if (!about) return line(element, "Choose a LoRA. Trained ones appear after a refresh (R).");
    if (about.error) return line(element, about.error, WARNING);
    if (about.thumbnail) {
      const picture = document.createElement("img");
      picture.src = about.thumbnail;
      Object.assign(picture.style, { float: "left", width: "72px", marginRight: "8px", imageRendering: "pixelated" });
      element.append(picture);
    }
    line(element, `${about.kind} LoRA, rank ${about.rank}`);
    for (const { name, superclass } of about.tokens) line(element, `${name}: a ${superclass}`);
    line(element, `for ${about.base}`);
    if (about.fits === false) line(element, `Does not fit the wired base, ${base}: it was trained on another.`, WARNING);
  });
});

async function facts(node) {
  const base = neighbour(node);
  const name = valueOf(node, "lora_name");
  return { base, about: name ? await ask("lora", { name, base }) : null };
}

/** The base of the first node that uses this LoRA, however far down the wires. */
function neighbour(node, depth = 0) {
  if (depth > 16) return "";
  for (const output of node.outputs ?? []) {
    for (const id of output.links ?? []) {
      const target = node.graph?.getNodeById(node.graph.getLink(id)?.target_id);
      if (!target) continue;
      const base = USERS.includes(target.comfyClass) ? baseOf(target) : neighbour(target, depth + 1);
      if (base) return base;
    }
  }
  return "";
}
