"""What people read begins like a sentence, and ends like one."""

import re


def assert_sentences(text: str) -> None:
    """One or more. One may begin with a number, as those of kube-scheduler do."""
    assert re.fullmatch(r"[A-Z0-9].*[^.]\.", text, re.DOTALL), text
