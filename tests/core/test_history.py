from __future__ import annotations

from videomage_core.history import History


def test_terms_and_their_sum_are_kept_step_by_step():
    history = History()
    history.add({"L_sub": 0.3, "L_reg": 0.1}, 0.5)
    history.add({"L_sub": 0.2, "L_reg": 0.1}, 0.4)
    assert history.losses["L_sub"] == [0.3, 0.2] and history.seconds == [0.5, 0.4]
    assert [round(value, 6) for value in history.losses["loss"]] == [0.4, 0.3]
