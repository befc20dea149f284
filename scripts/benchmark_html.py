"""Time of the network in exported HTML pages, in node and in headless Chromium, with and without vectors.

Usage: python scripts/benchmark_html.py PAGE...

Needs node; Chromium and playwright (the extra `browser`) for the second part. Each page classifies the same bytes
60 times, or for 10 seconds; printed are the median and the fastest time.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

MEASURE = """
  const data = (id) => part(id).trim();
  const { rules } = JSON.parse(data("about"));
  const bytes = new Uint8Array(rules.imageSize ** 2 * 3).map((_, k) => (k * 7919) % 256);
  const measured = {};
  for (const vectors of [Vectors.start(), Vectors.inJavaScript()]) {
    const network = Network.load(JSON.parse(data("network")), data("kernels"), data("floats"), vectors);
    const times = [];
    const begin = performance.now();
    while (times.length < 60 && performance.now() - begin < 10_000) {
      const start = performance.now();
      network.run(bytes);
      times.push(performance.now() - start);
    }
    times.sort((one, other) => one - other);
    measured[network.runtime] = [times[times.length >> 1], times[0]];
  }
  return measured;
"""


def measure_in_node(page: Path) -> dict[str, list[float]]:
    """Return median and fastest time in ms for each way to compute."""
    program = """
      const text = require("fs").readFileSync(process.argv[1], "utf8");
      const part = (id) => text.match(new RegExp(`<script id="${id}"[^>]*>([^]*?)</script>`))[1];
    """
    program += f'const measure = new Function("part", part("interpreter") + {json.dumps(MEASURE)});'
    program += "console.log(JSON.stringify(measure(part)));"
    answer = subprocess.run(["node", "-e", program, str(page)], capture_output=True, text=True, check=True)
    return json.loads(answer.stdout)


def measure_in_chromium(pages: list[Path]) -> tuple[str, list[dict[str, list[float]]]]:
    """Return Chromium's version, and for each page what `measure_in_node` returns."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        results = []
        for page in pages:
            opened = browser.new_page()
            opened.goto(page.resolve().as_uri())
            opened.wait_for_selector("body[data-ready]")
            part = "const part = (id) => document.getElementById(id).textContent;"
            results.append(opened.evaluate(f"() => {{ {part} {MEASURE} }}"))
            opened.close()
        return browser.version, results


def show(runtime: str, page: Path, measured: dict[str, list[float]]) -> None:
    """Print a line for each way to compute."""
    for way, (median, fastest) in measured.items():
        megabytes = page.stat().st_size / 1e6
        print(f"{page.name}, {megabytes:.1f} MB, {runtime}, {way}: {median:.1f} ms, fastest {fastest:.1f} ms")


def main() -> None:
    pages = [Path(argument) for argument in sys.argv[1:]]
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    for page in pages:
        show(f"node {version}", page, measure_in_node(page))
    try:
        version, results = measure_in_chromium(pages)
    except ImportError:
        print("playwright is not installed: nothing is measured in Chromium")
        return
    for page, measured in zip(pages, results, strict=True):
        show(f"Chromium {version}", page, measured)


if __name__ == "__main__":
    main()
