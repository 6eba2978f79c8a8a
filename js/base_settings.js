// A button that fills in the settings that suit the wired base: a node's own defaults are the paper's, for ZeroScope.
import { ask, baseOf, button, feature, follow } from "./page.js";

const STAGES = {
  VideoMage_TrainSubject: "subject",
  VideoMage_TrainMotion: "motion",
  VideoMage_FuseSubjects: "fusion",
  VideoMage_SCSSampler: "collaborative",
  VideoMage_SampleVideo: "sampling",
};

feature("BaseSettings", Object.keys(STAGES), (node) => {
  const fill = button(node, "settings that suit the base", async () => {
    for (const [widget, value] of (await differing(node)) ?? []) widget.value = value;
    node.setDirtyCanvas?.(true, true);
  });
  follow(node, async () => (await differing(node))?.length ?? null, (count) => {
    if (count === null) fill.label = "wire a Load Video Base to see which settings suit it";
    else fill.label = count ? `use the settings that suit the base (${count} differ)` : "all settings suit the base";
    node.setDirtyCanvas?.(true, true);
  });
});

/** [widget, value] of the settings whose value is not the one that suits the wired base; null if none is known. */
async function differing(node) {
  const base = baseOf(node);
  const fit = base ? (await ask("presets", { base }))?.[STAGES[node.comfyClass]] : null;
  if (!fit) return null;
  const known = (node.widgets ?? []).filter((widget) => widget.name in fit && widget.name !== "seed");
  return known.filter((widget) => widget.value !== fit[widget.name]).map((widget) => [widget, fit[widget.name]]);
}
