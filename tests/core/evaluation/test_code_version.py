"""What older code made is never shown as of today's."""

from __future__ import annotations

from videomage_core.evaluation.code_version import _statements, engine_version, metrics_version


def test_metrics_have_a_mark_of_their_own():
    assert len(engine_version()) == len(metrics_version()) == 16 and engine_version() != metrics_version()


def test_other_code_is_another_mark_and_other_comments_are_not():
    plain = "def f(x):\n    return x\n"
    assert _statements('"""Doc."""\n' + plain.replace("    ", '    """Doc."""  # why\n    ')) == _statements(plain)
    assert _statements(plain.replace("return x", "return -x")) != _statements(plain)
