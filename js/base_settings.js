// A button that fills in the settings that suit the wired base: a node's own defaults are the paper's, for ZeroScope.
import { alike, ask, button, feature, follow } from "./common/page.js";
import { translate } from "./common/texts.js";
import { UNKNOWN, baseOf, isWired, places } from "./common/wires.js";

const STAGES = {
  VideoMage_TrainSubject: "subject",
  VideoMage_TrainMotion: "motion",
  VideoMage_FuseSubjects: "fusion",
  VideoMage_SCSSampler: "collaborative",
  VideoMage_SampleVideo: "sampling",
};

feature("BaseSettings", Object.keys(STAGES), (node) => {
  const fill = button(node, "base_settings", async () => {
    const found = await alike(differing)(places(node));
    if (!Array.isArray(found)) return;
    for (const [name, value] of found) node.widgets.find((widget) => widget.name === name).value = value;
    node.setDirtyCanvas?.(true, true);
  });
  follow(node, alike(differing), (found) => {
    if (found === UNKNOWN) fill.label = translate("base_unknown");
    else if (!found) fill.label = translate("wire_base");
    else fill.label = found.length ? translate("use_settings", { count: found.length }) : translate("all_suit");
    node.setDirtyCanvas?.(true, true);
  });
});

/** [name, value] of the settings whose value is not the one that suits the wired base; null if none is wired. */
async function differing(place) {
  const base = baseOf(place);
  if (!base || base === UNKNOWN) return base || null;
  const fit = (await ask("presets", { base }))?.[STAGES[place.node.comfyClass]];
  if (!fit) return UNKNOWN;
  return place.node.widgets
    .filter(({ name }) => name in fit && name !== "seed" && !isWired(place, name))
    .filter(({ name, value }) => value !== fit[name])
    .map(({ name }) => [name, fit[name]]);
}
