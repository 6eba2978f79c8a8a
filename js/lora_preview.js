// On the loader: thumbnail, kind, tokens with classes and base of the chosen file; a warning if it does not fit.
import { WARNING, alike, ask, feature, follow, line, panel } from "./common/page.js";
import { translate } from "./common/texts.js";
import { FROM_MODEL, UNKNOWN, baseOf, consumers, valueOf } from "./common/wires.js";

const USERS = ["VideoMage_SCSSampler", "VideoMage_SampleVideo", "VideoMage_FuseSubjects"];
const LORA = "VIDEOMAGE_LORA";

feature("LoraPreview", ["VideoMage_LoadLora"], (node) => {
  const element = panel(node, "card", 110);
  follow(node, alike(facts), (found) => {
    element.replaceChildren();
    if (found === UNKNOWN) return line(element, translate("places_differ"));
    const { name, about, unfit, untold, trigger } = found;
    if (name === UNKNOWN) return line(element, translate("lora_wired"));
    if (!about) return line(element, translate("choose_lora"));
    if (about.error && trigger) return line(element, translate("ordinary_lora"));
    if (about.error) return line(element, about.error, WARNING);
    if (about.thumbnail) element.append(thumbnail(about.thumbnail));
    line(element, translate("lora_is", { kind: translate(`kind_${about.kind}`), rank: about.rank }));
    for (const { name, superclass } of about.tokens) line(element, translate("token_means", { name, superclass }));
    line(element, translate("for_base", { base: about.base }));
    for (const base of unfit) line(element, translate("unfit", { base }), WARNING);
    if (untold) line(element, translate("fit_unknown"));
  });
});

function thumbnail(address) {
  const image = document.createElement("img");
  image.src = address;
  Object.assign(image.style, { float: "left", width: "72px", marginRight: "8px", imageRendering: "pixelated" });
  return image;
}

async function facts(place) {
  const name = valueOf(place, "lora_name");
  if (!name || name === UNKNOWN) return { name };
  const bases = [...new Set(basesOf(place))];
  const fits = bases.filter((base) => base && base !== UNKNOWN);
  const asked = await Promise.all(fits.map((base) => ask("lora", { name, base })));
  const unfit = fits.filter((_, at) => asked[at]?.fits === false);
  const trigger = Boolean(valueOf(place, "trigger"));
  return { name, trigger, about: await ask("lora", { name }), unfit, untold: bases.includes(UNKNOWN) };
}

/** A base of a MODEL has no name to compare with. */
function onlyNamed(base) {
  return base === FROM_MODEL ? UNKNOWN : base;
}

/** The bases that a LoRA is used with, however far down the wires. */
function basesOf(place, far = 0) {
  if (far > 16) return [UNKNOWN];
  return consumers(place, 0).flatMap((consumer) => {
    if (USERS.includes(consumer.node.comfyClass)) return [onlyNamed(baseOf(consumer))];
    if (consumer.node.comfyClass === "VideoMage_SaveLora") return basesOf(consumer, far + 1);
    return (consumer.node.outputs ?? []).some(({ type }) => type === LORA || type === "*") ? [UNKNOWN] : [];
  });
}
