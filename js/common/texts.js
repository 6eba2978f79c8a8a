// All that the panels and buttons translate, in each language of the page; English where a language has no table here.
import { app } from "../../../scripts/app.js";

const TEXTS = {
  en: {
    comma: ", ",
    places_differ: "This subgraph is used in several places, which differ: what holds here cannot be said.",
    choose_lora: "Choose a LoRA. Trained ones appear after a refresh (R).",
    lora_wired: "The LoRA's name comes from a wired input: unknown until run.",
    lora_is: "{kind} LoRA, rank {rank}",
    kind_subject: "subject",
    kind_motion: "motion",
    kind_fusion: "fusion",
    token_means: "{name}: a {superclass}",
    for_base: "for {base}",
    unfit: "Does not fit the wired base, {base}: it was trained on another.",
    fit_unknown: "Whether it fits the base it is used with is unknown until run.",
    wire_subject: "Wire a subject LoRA to see its tokens.",
    tokens: "Tokens: {tokens}",
    token_is: "{name} ({superclass})",
    tokens_unknown: "There is a wired LoRA whose tokens are unknown until run.",
    prompt_wired: "The prompt comes from a wired input: unknown until run.",
    no_token: "{word} is no token of these LoRAs; did you mean {near}?",
    lacks: "The prompt lacks {tokens}",
    superclass_prompt: "Superclass prompt: {prompt}",
    not_run: "Shown here once it has run.",
    wire_base: "wire a Load Video Base to see which settings suit it",
    base_unknown: "which settings suit the base is unknown until run",
    use_settings: "use the settings that suit the base ({count} differ)",
    all_suit: "all settings suit the base",
    show_advanced: "show {count} advanced settings",
    hide_advanced: "hide {count} advanced settings",
    no_training: "No training of this file name on this node yet.",
    name_wired: "The file name comes from a wired input: a training is shown while it runs.",
    runs: "{what}: {done} of {total}",
    runs_left: "{what}: {done} of {total}, {time} left",
    stopped: "Stopped: {what}, {done} of {total}. Queue it again and it goes on ({steps} steps kept).",
    failed: "Failed: {error}",
    finished: "Finished: {file}, {total} steps",
    latest_sample: "latest sample",
    seconds: "{count} s",
    minutes: "{count} min",
    hours: "{count} h",
    what_preparing: "preparing",
    what_training: "training",
    what_sampling: "sampling",
    what_inverting_the_clip: "inverting the clip",
    what_making_auxiliary_clips: "making auxiliary clips",
    what_making_teacher_clips: "making teacher clips",
    what_making_background_clips: "making background clips",
    what_waiting_for_another_process: "waiting for another process",
    what_finding_words: "finding words",
    what_following_subjects: "following subjects",
  },
  zh: {
    comma: "、",
    places_differ: "此子图用在多处，各处的连接或数值不同，这里无法给出结论。",
    choose_lora: "请选择一个 LoRA。刚训练好的在刷新（按 R）后出现。",
    lora_wired: "LoRA 文件名来自输入连线，运行时才能确定。",
    lora_is: "{kind} LoRA，秩 {rank}",
    kind_subject: "主体",
    kind_motion: "动作",
    kind_fusion: "融合",
    token_means: "{name}：{superclass}",
    for_base: "基础模型：{base}",
    unfit: "与接入的基础模型 {base} 不匹配：它是用别的基础模型训练的。",
    fit_unknown: "与所用的基础模型是否匹配，运行时才能确定。",
    wire_subject: "接入主体 LoRA 后，这里会列出它的触发词。",
    tokens: "触发词：{tokens}",
    token_is: "{name}（{superclass}）",
    tokens_unknown: "有的 LoRA 的触发词运行时才能确定。",
    prompt_wired: "提示词来自输入连线，运行时才能确定。",
    no_token: "{word} 不是这些 LoRA 的触发词，是否想写 {near}？",
    lacks: "提示词中缺少 {tokens}",
    superclass_prompt: "触发词换成类别词：{prompt}",
    not_run: "运行之后显示在这里。",
    wire_base: "接入“加载视频基础模型”后可查看适合它的设置",
    base_unknown: "运行时才能确定适合基础模型的设置",
    use_settings: "套用适合基础模型的设置（{count} 项不同）",
    all_suit: "所有设置都适合基础模型",
    show_advanced: "显示 {count} 项高级设置",
    hide_advanced: "隐藏 {count} 项高级设置",
    no_training: "此节点还没有用这个文件名训练过。",
    name_wired: "文件名来自输入连线，训练进行时才会显示。",
    runs: "{what}：{done} / {total}",
    runs_left: "{what}：{done} / {total}，剩余 {time}",
    stopped: "已停止：{what}，{done} / {total}。再次加入队列即可继续（已保留 {steps} 步）。",
    failed: "训练失败：{error}",
    finished: "已完成：{file}，共 {total} 步",
    latest_sample: "最新试看",
    seconds: "{count} 秒",
    minutes: "{count} 分钟",
    hours: "{count} 小时",
    what_preparing: "准备中",
    what_training: "训练中",
    what_sampling: "采样中",
    what_inverting_the_clip: "正在反演片段",
    what_making_auxiliary_clips: "正在生成辅助片段",
    what_making_teacher_clips: "正在生成教师视频",
    what_making_background_clips: "正在生成背景视频",
    what_waiting_for_another_process: "等待另一个进程",
    what_finding_words: "正在按词查找",
    what_following_subjects: "正在跟踪主体",
  },
};

/** The page's language, "en" or "zh". */
export function language() {
  const chosen = app.extensionManager?.setting?.get("Comfy.Locale");
  return chosen in TEXTS ? chosen : "en";
}

/** A text by its key, with values in the places of the names in curly brackets. */
export function translate(key, values = {}) {
  return TEXTS[language()][key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** What a training does, in the words of the server or in those of the page's language. */
export function translateActivity(what) {
  const key = `what_${what.replaceAll(" ", "_")}`;
  return key in TEXTS.en ? translate(key) : what;
}
