"""Which version of each stage makes LoRAs and videos: what it declares as its ``VERSION``.

A stage's version is raised when the same inputs give other results, and with it everything that it made is made anew.
"""

from __future__ import annotations

from . import baselines, collaborative_sampling, ddim_inversion, fusion, generated_clips, motion_lora, subject_lora

STAGE_VERSIONS: dict[str, int] = {
    stage.__name__.rpartition(".")[2]: stage.VERSION
    for stage in (subject_lora, motion_lora, fusion, collaborative_sampling, baselines, generated_clips, ddim_inversion)
}
