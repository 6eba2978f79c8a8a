// Which tokens come out of a node: of a file, of a training, of a fusion.
import { ask, source, sources, valueOf } from "./page.js";

/** [{name, superclass}] of the LoRA that a node gives. */
export async function tokensOf(node, depth = 0) {
  if (!node || depth > 16) return [];
  switch (node.comfyClass) {
    case "VideoMage_LoadLora": {
      const about = await ask("lora", { name: valueOf(node, "lora_name") ?? "" });
      return renamed(about?.tokens ?? [], String(valueOf(node, "rename") ?? ""));
    }
    case "VideoMage_TrainSubject":
      return [{ name: String(valueOf(node, "token")).toLowerCase(), superclass: String(valueOf(node, "superclass")) }];
    case "VideoMage_FuseSubjects":
      return (await Promise.all(sources(node, "lora_").map((lora) => tokensOf(lora, depth + 1)))).flat();
    case "VideoMage_SaveLora":
      return tokensOf(source(node, "lora"), depth + 1);
    default:
      return [];
  }
}

function renamed(tokens, pairs) {
  const names = new Map(pairs.split(",").map((pair) => pair.split("=").map((part) => part.trim())));
  return tokens.map(({ name, superclass }) => ({ name: names.get(name) || name, superclass }));
}
