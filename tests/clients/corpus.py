"""What every client sends: entries with levels, metadata and awkward text, the same in every run."""

COUNT = 1000
LEVELS = ("debug", "info", "warning", "error", "critical")

AWKWARD = (
    "größe 東京 😀 עברית \u2028 é",
    "two lines\n  the second, indented",
    "Traceback (most recent call last):\n\tFile \"a.py\", line 1\n\nValueError: 'x'",
    'quotes " and \' and a back\\slash \\n \\" and {braces} %s %d',
    '{"json": true, "nested": {"a": [1, 2]}}',
    "key=value other=\"two words\" duration=1.5s",
    "  spaces and a tab before\tand inside",
    "\x1b[31mred\x1b[0m and a bell \x07",
    "long " + "abcdefghij" * 1000,
)


def entries():
    """The entries, in the order in which they are sent."""
    made = []
    for number in range(COUNT):
        text = AWKWARD[number // 7 % len(AWKWARD)] if number % 7 == 3 else f"request took {number % 90} ms"
        made.append({
            "number": number,
            "level": LEVELS[number * 7 % 11 % len(LEVELS)],
            "message": f"{number:04d} {text}",
            "trace": f"{number * 2654435761 % 2**32:08x}",
            "part": "even" if number % 2 == 0 else "odd",
        })
    return made
