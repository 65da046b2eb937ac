"""The page in a real browser: no request, no error, nothing cut off on a phone, text that can be read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from skinclf.reporting._html import POLICY

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    # What the browser itself asks for gets nowhere, at once; what the page asks for is seen by the script below.
    "--proxy-server=127.0.0.1:9",
    "--virtual-time-budget=2000",
    "--dump-dom",
)
PHONE, DESKTOP = 360, 1440
SMALLEST_TEXT = 8.0
"""CSS pixels, of text in a chart on a phone."""

LISTEN = """
window.problems = [];
addEventListener("error", e => problems.push("error: " + (e.message || e.target.outerHTML)), true);
addEventListener("securitypolicyviolation", e => problems.push("blocked: " + e.blockedURI));
for (const level of ["error", "warn"])
  console[level] = (...words) => problems.push(level + ": " + words.join(" "));
"""

MEASURE = """
addEventListener("load", () => setTimeout(() => {
const rgba = text => {
  const numbers = text.match(/[\\d.]+/g).map(Number);
  return [...numbers.slice(0, 3), numbers.length > 3 ? numbers[3] : 1];
};
const over = (top, below) => [0, 1, 2].map(i => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
const luminance = color => {
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const [r, g, b] = color.slice(0, 3).map(v => linear(v / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const background = element => {
  const layers = [];
  for (let e = element; e; e = e.parentElement) layers.push(rgba(getComputedStyle(e).backgroundColor));
  return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255, 1]);
};
const contrast = element => {
  const below = background(element), ink = rgba(getComputedStyle(element).color);
  ink[3] *= Number(getComputedStyle(element).opacity);
  const [a, b] = [luminance(over(ink, below)), luminance(below)];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
};
const ownText = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
const shown = e => e.getClientRects().length > 0;
const all = [...document.body.querySelectorAll("*")].filter(shown);
const texts = all.filter(e => !e.closest("svg, script, .skip") && ownText(e));
const inside = all.filter(e => !e.closest("svg, .scroll > *, .skip"));
const wide = [...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth);
const charts = [...document.querySelectorAll("svg.chart")];
const box = e => e.getBoundingClientRect();
const seen = {
  problems,
  width: innerWidth,
  page_width: document.documentElement.scrollWidth,
  cut: inside.filter(e => box(e).right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 80)),
  requests: performance.getEntriesByType("resource").map(e => e.name).filter(n => !n.startsWith("data:")),
  charts: charts.map(e => [box(e).width, box(e).height, e.querySelectorAll("path").length]),
  chart_text: Math.min(...charts.flatMap(svg => [...svg.querySelectorAll("text")].map(
    t => parseFloat(getComputedStyle(t).fontSize) * box(svg).width / svg.viewBox.baseVal.width))),
  chart_text_cut: charts.flatMap(svg => [...svg.querySelectorAll("text")].filter(t => {
    const a = box(t), b = box(svg);
    return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
  }).map(t => t.textContent)),
  contrast: texts.map(e => [contrast(e), e.outerHTML.slice(0, 120)]).sort((a, b) => a[0] - b[0]).slice(0, 3),
  unreachable: wide.filter(e => e.tabIndex < 0).length,
  small_links: [...document.querySelectorAll("nav a")].filter(e => box(e).height < 24).length,
  summary_starts: box(document.querySelector("main > section")).top,
  summary_ends: box(document.querySelector("main > section")).bottom,
  is_dark: matchMedia("(prefers-color-scheme: dark)").matches,
};
parent.postMessage(JSON.stringify([name, seen]), "*");
}, 100));
"""

AROUND = """<!DOCTYPE html><body style="margin:0"><pre id="seen"></pre><script>
const all = {};
addEventListener("message", e => {
  const [name, seen] = JSON.parse(e.data);
  all[name] = seen;
  document.getElementById("seen").textContent = JSON.stringify(all);
});
</script>"""
FRAME = '<iframe name="{name}" src="{page}" style="border:0;width:{width}px;height:900px"></iframe>'
"""A window is at least 500 pixels wide; a frame can be as narrow as a phone."""


@pytest.fixture(scope="module")
def browser() -> str:
    for name in BROWSERS:
        if path := shutil.which(name):
            return path
    pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the PATH")


def doctor(html: str) -> str:
    """Let one script of ours run in the page, and no other: it watches from the start, and measures at the end."""
    assert POLICY in html
    html = html.replace(POLICY, f"{POLICY}; script-src 'nonce-look'")
    html = html.replace('<meta name="viewport"', f'<script nonce="look">{LISTEN}</script><meta name="viewport"', 1)
    return html.replace("</body>", f'<script nonce="look">{MEASURE}</script></body>')


def look(browser: str, folder: Path, pages: dict[str, tuple[str, int]], *flags: str) -> dict[str, Any]:
    """Open pages, each a name, HTML and a width, side by side; return what the script in each of them sees."""
    frames = []
    for name, (html, width) in pages.items():
        (folder / f"{name}.html").write_text(doctor(html), encoding="utf-8")
        frames.append(FRAME.format(name=name, page=f"{name}.html", width=width))
    around = folder / "around.html"
    around.write_text(AROUND + "".join(frames), encoding="utf-8")
    command = [browser, *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", "--window-size=1600,1000"]
    done = subprocess.run([*command, around.as_uri()], capture_output=True, text=True, timeout=200, check=True)
    found = re.search(r'<pre id="seen">(.+?)</pre>', done.stdout, flags=re.DOTALL)
    assert found, done.stderr[-2000:]
    seen: dict[str, Any] = json.loads(unescape(found[1]))
    assert seen.keys() == pages.keys()
    return seen


FAULTS = (
    '<img src="https://example.org/x.png" alt=""><script>alert(1)</script><p style="color:#999">pale</p>'
    '<p style="width:900px;max-width:none">wide</p><svg class="chart" viewBox="0 0 100 10"><text x="80" y="5" '
    'font-size="3">a long title that runs out of the chart</text></svg>'
)


@pytest.fixture(scope="module")
def seen(full_html: str, browser: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    pages = {"phone": (full_html, PHONE), "desktop": (full_html, DESKTOP)}
    faulty = full_html.replace("</main>", f"{FAULTS}</main>", 1)
    light = look(browser, tmp_path_factory.mktemp("light"), {**pages, "faulty": (faulty, PHONE)})
    dark = look(browser, tmp_path_factory.mktemp("dark"), {"dark": (full_html, PHONE)}, "--force-dark-mode")
    return {**light, **dark}


@pytest.mark.parametrize(("name", "width"), [("phone", PHONE), ("desktop", DESKTOP), ("dark", PHONE)])
def test_the_page_in_a_browser(full_html: str, seen: dict[str, Any], name: str, width: int) -> None:
    page = seen[name]
    assert page["width"] == width
    assert page["is_dark"] == (name == "dark")
    assert page["problems"] == []
    assert page["requests"] == []
    assert page["page_width"] <= width
    assert page["cut"] == []
    assert len(page["charts"]) == full_html.count('<svg class="chart"') >= 6
    assert all(w > 200 and h > 150 and n_paths > 5 for w, h, n_paths in page["charts"])
    assert page["chart_text"] >= SMALLEST_TEXT
    assert page["chart_text_cut"] == []
    assert page["contrast"][0][0] >= 4.5, page["contrast"]
    assert page["unreachable"] == 0
    assert page["small_links"] == 0


def test_the_summary_is_on_the_first_screen(seen: dict[str, Any]) -> None:
    assert seen["desktop"]["summary_ends"] <= 900
    assert seen["phone"]["summary_starts"] <= 400


def test_the_browser_notices_faults(seen: dict[str, Any]) -> None:
    """An outside image, a script, pale text, something wide and a cut chart would fail the test above."""
    page = seen["faulty"]
    assert any("blocked: https://example.org" in problem for problem in page["problems"])
    assert any("blocked: inline" in problem for problem in page["problems"])
    assert page["contrast"][0][0] < 4.5
    assert page["page_width"] > PHONE
    assert any("wide" in element for element in page["cut"])
    assert page["chart_text_cut"] == ["a long title that runs out of the chart"]
