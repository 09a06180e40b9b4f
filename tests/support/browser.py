"""What Chromium makes of a page."""

import html
import re
import shutil
import subprocess

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
OPEN = """<script type="module">
for (const one of document.querySelectorAll("details")) one.open = true;
</script>"""
"""Opens the tables of a page."""


def see(path, address):
    """Returns the page's elements as text, after its script has run."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000"]
    command = [BROWSER, *options, "--dump-dom", f"file://{path}#{address}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    return done.stdout[: done.stdout.index('<script type="application/json"')]


def numbers(text):
    """Returns the numbers in a text without tags."""
    plain = html.unescape(re.sub(r"<[^>]*>", " ", text)).replace("\N{MINUS SIGN}", "-")
    return [float(number) for number in re.findall(r"-?\d+\.\d+", plain)]
