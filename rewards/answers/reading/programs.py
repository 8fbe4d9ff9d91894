"""Programs within a reply: what stands in them marks no answer."""

import re

_FENCED = re.compile(r"```([\w+#.-]*)[ \t]*\n(.*?)```", re.DOTALL)
_PROSE = frozenset({"", "text", "txt", "plaintext", "plain", "markdown", "md", "latex", "tex",
                    "math", "html", "answer", "output"})  # fmt: skip
_LINES = re.compile(
    r"^[ \t]*(?:def|class|return|import|from|print|let|var|const|func|fn|public|#include|for|"
    r"while|if)\b[^\n]*[(:;{<]|^[ \t]*return\s|==|\+=|=>|; *$|console\.",
    re.MULTILINE,
)
_LINE_CHARS = 200
_CALL = re.compile(
    r"(?:\w\(|\b(?:echo|return|puts)\s)\s*[frbu]{0,2}[\"'`][^\n\"'`]*\Z|\w\([^()\n]*[\"'][^\n\"']*\Z"
)


def without_programs(text: str) -> str:
    """The text with as many spaces where a fence has a program or data."""
    return _FENCED.sub(_blank, text) if "```" in text else text


def written_by_a_call(text: str, at: int) -> bool:
    """Whether what begins there is of a string that a program writes: `print("The answer is …`."""
    line = text[max(text.rfind("\n", 0, at) + 1, at - _LINE_CHARS) : at]
    return ('"' in line or "'" in line or "`" in line) and _CALL.search(line) is not None


def _blank(fence: re.Match[str]) -> str:
    tag, content = fence[1].lower(), fence[2]
    return fence[0] if tag in _PROSE and not _LINES.search(content) else " " * len(fence[0])
