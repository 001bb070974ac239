"""Tables as docs/benchmarks.md has them."""

from importlib.metadata import version


def table(header, rows):
    """Prints a table; the first column to the left, numbers to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    print("\n" + "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines))


def versions(*packages):
    """`name 1.2, other 3.4` of installed packages."""
    return ", ".join(f"{package} {version(package)}" for package in packages)


def figure(value):
    """A measured number to three digits: `1,560`, `45.6`, `0.035`."""
    if value == 0:
        return "0"
    digits = 2
    size = abs(value)
    while size >= 10 and digits > 0:
        size, digits = size / 10, digits - 1
    while size < 1:
        size, digits = size * 10, digits + 1
    return f"{value:,.{digits}f}"
