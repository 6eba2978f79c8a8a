"""Contact Sheet."""

from __future__ import annotations

from typing import Any

import torch


def test_contact_sheet_labels_and_sizes(nodes: dict[str, Any]) -> None:
    sheet = nodes["VideoMage_ContactSheet"].execute(
        "one\ntwo", 2, row_1=torch.rand(3, 20, 30, 3), row_3=torch.rand(5, 8, 8, 3)
    )
    assert sheet.result[0].shape[0] == 1 and sheet.result[0].shape[2] > 3 * 60
