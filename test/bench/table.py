#!/usr/bin/python3
"""The table and the chart of a run of all benches.

usage: table.py RESULTS.tsv [README.md CHART.svg]

Prints the table in Markdown.  With the two files: puts it between the marks
<!-- bench --> and <!-- /bench --> of the first, and draws the second: a bar for
each row that has an aim, as long as its ratio is far from it, on a log scale.
"""
import datetime
import html
import math
import platform
import re
import subprocess
import sys

FIELDS = ("what", "ours", "versus", "other", "unit", "ratio", "aim", "verdict")


def machine():
    """One line: processor, cores, memory, system, server, date."""
    with open("/proc/cpuinfo") as info:
        text = info.read()
    model = re.search(r"model name\s*:\s*(.*)", text)
    with open("/proc/meminfo") as info:
        memory = int(re.search(r"MemTotal:\s*(\d+)", info.read()).group(1)) / 1024 ** 2
    server = re.search(r"\d+(\.\d+)*", subprocess.run(["postgres", "--version"], text=True, capture_output=True).stdout).group(0)
    return (f"{model.group(1) if model else platform.machine()}, {text.count('processor')} cores, {memory:.0f} GiB, "
            f"Linux {platform.release().split('-')[0]}, PostgreSQL {server}, {datetime.date.today():%d %B %Y}")


def table(rows):
    lines = ["| what | ours | compared with | other | unit | ratio | aim | |", "|---|---|---|---|---|---|---|---|"]
    lines += ["| {what} | {ours} | {versus} | {other} | {unit} | {ratio} | {aim} | {verdict} |".format(**r) for r in rows]
    return "\n".join(lines)


def chart(rows, caption):
    """SVG: for each row, log2 of how many times better (right) or worse (left) than its aim it is."""
    bars = []
    for r in rows:
        if r["aim"] == "-":
            continue
        sign, bound = r["aim"].split()
        ratio, bound = float(r["ratio"]), float(bound)
        better = bound / ratio if sign.startswith("<") else ratio / bound
        bars.append((r["what"], f"{r['ratio']} ({r['aim']})", max(-3.0, min(5.0, math.log2(better)))))
    left, unit, step = 430, 70, 24
    zero = left + 3 * unit
    height = step * len(bars) + 70
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1100 {height}" font-family="sans-serif" font-size="13" role="img">',
           f"<title>Each bench against its aim</title><desc>{html.escape(caption)}</desc>",
           f'<rect width="1100" height="{height}" fill="#ffffff"/>']
    for n in range(-3, 6):
        x = zero + n * unit
        label = "the aim" if n == 0 else f"{2 ** n}&#215; better" if n == 1 else f"{2 ** n}&#215;" if n > 0 else f"1/{2 ** -n}"
        out.append(f'<line x1="{x}" y1="24" x2="{x}" y2="{height - 40}" stroke="{"#333333" if n == 0 else "#dddddd"}"/>'
                   f'<text x="{x}" y="16" text-anchor="middle" fill="#333333">{label}</text>')
    for i, (what, label, log) in enumerate(bars):
        y = 30 + i * step
        x, width = (zero, log * unit) if log >= 0 else (zero + log * unit, -log * unit)
        out.append(f'<text x="{left - 10}" y="{y + 13}" text-anchor="end" fill="#111111">{html.escape(what)}</text>'
                   f'<rect x="{x:.1f}" y="{y}" width="{max(width, 2):.1f}" height="17" fill="{"#2c7a4b" if log >= 0 else "#b5452c"}"/>'
                   f'<text x="{x + max(width, 2) + 6:.1f}" y="{y + 13}" fill="#111111">{html.escape(label)}</text>')
    out.append(f'<text x="{left - 10}" y="{height - 12}" text-anchor="end" fill="#555555">measured ratio (aim)</text>'
               f'<text x="{left}" y="{height - 12}" fill="#555555">{html.escape(caption)}</text></svg>')
    return "\n".join(out) + "\n"


with open(sys.argv[1]) as file:
    results = [dict(zip(FIELDS, line.rstrip("\n").split("\t"))) for line in file]
print(table(results))
if len(sys.argv) > 2:
    readme, svg = sys.argv[2:]
    with open(readme) as file:
        text = file.read()
    new, places = re.subn(r"<!-- bench -->.*<!-- /bench -->",
                          lambda _: f"<!-- bench -->\n{machine()}.\n\n{table(results)}\n<!-- /bench -->", text, flags=re.S)
    if places != 1:
        sys.exit(f"{readme} has no place for the table: a line <!-- bench --> and a line <!-- /bench -->")
    with open(readme, "w") as file:
        file.write(new)
    with open(svg, "w") as file:
        file.write(chart(results, machine()))
