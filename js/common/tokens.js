// Which tokens come out of a node: of a file, of a training, of a fusion.
import { ask } from "./page.js";
import { UNKNOWN, source, sources, valueOf } from "./wires.js";

/** A token in a prompt, as the engine finds it; case does not matter. */
export const TOKEN = /<[A-Za-z0-9_-]+>/g;

const NONE = { tokens: [], complete: true };
const UNTOLD = { tokens: [], complete: false };

/** {tokens: [{name, superclass}], complete} of the LoRA that a place gives; not complete: there may be others. */
export async function tokensOf(place, far = 0) {
  if (!place) return NONE;
  if (place === UNKNOWN || far > 16) return UNTOLD;
  switch (place.node.comfyClass) {
    case "VideoMage_LoadLora":
      return ofFile(valueOf(place, "lora_name"), valueOf(place, "rename"));
    case "VideoMage_TrainSubject": {
      const [name, superclass] = [valueOf(place, "token"), valueOf(place, "superclass")];
      return [name, superclass].includes(UNKNOWN) ? UNTOLD : { tokens: [{ name, superclass }], complete: true };
    }
    case "VideoMage_TrainMotion":
      return NONE;
    case "VideoMage_FuseSubjects":
      return tokensOfAll(sources(place, "lora_"), far + 1);
    case "VideoMage_SaveLora":
      return tokensOf(source(place, "lora"), far + 1);
    default:
      return UNTOLD;
  }
}

/** The tokens of several LoRAs together. */
export async function tokensOfAll(all, far = 0) {
  const found = await Promise.all(all.map((place) => tokensOf(place, far)));
  return { tokens: found.flatMap(({ tokens }) => tokens), complete: found.every(({ complete }) => complete) };
}

async function ofFile(name, rename) {
  if (name === UNKNOWN || rename === UNKNOWN) return UNTOLD;
  const about = await ask("lora", { name: name ?? "" });
  return about?.tokens ? { tokens: renamed(about.tokens, String(rename ?? "")), complete: true } : UNTOLD;
}

/** As the loader renames them: one pair after the other, whatever the case. */
function renamed(tokens, pairs) {
  return pairs.split(",").reduce((now, pair) => {
    const at = pair.indexOf("=");
    const [old, name] = [pair.slice(0, Math.max(at, 0)).trim().toLowerCase(), pair.slice(at + 1).trim()];
    return now.map((token) => (at > 0 && token.name.toLowerCase() === old ? { ...token, name } : token));
  }, tokens);
}
