"""Builds the site from the guide, the notebooks and the reference: `just docs`."""

import ast
import inspect
import os
import re
import textwrap
from pathlib import Path

import gru_jax as gj

project, author = "gru_jax", "The gru_jax authors"
version = release = gj.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx-mathjax-offline",
]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_timeout = 600
nb_execution_in_temp = True
nb_output_stderr = "remove-warn"
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
nb_execution_raise_on_error = True
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
default_role = "py:obj"
python_maximum_signature_line_length = 88
add_module_names = False

html_theme = "sphinx_book_theme"
html_title = "gru_jax"
html_theme_options = {"home_page_in_toc": False, "show_toc_level": 2, "use_download_button": False}
html_static_path = ["figures/site"]
html_css_files = ["site.css"]

ROOT = Path(__file__).parent.parent
BACK = " [Back to the README](../../README.md)."
INCLUDE = re.compile(r"```{include} \.\./(\w+\.md)\n```\n")
FOLDER = re.compile(r"\[([^\]]+)\]\([./]*gru_jax/[\w/]*\)")
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}


def prepare_page(_app, _name, source):
    """Includes files of the root, and leaves out what only a code host needs.

    That is the way back to the README, and links to folders of code.
    """
    text = INCLUDE.sub(lambda match: read_root(match[1]), source[0]).replace(BACK, "")
    for file, page in PAGES.items():
        text = text.replace(f"](../../{file}", f"](../{page}")
    source[0] = FOLDER.sub(r"\1", text)


def read_root(name):
    """Returns a file of the root, with its links as they are from this folder."""
    text = re.sub(r"\]\((?!https:|#)", "](../", (ROOT / name).read_text())
    for file, page in {"notebooks/": "", **PAGES}.items():
        text = text.replace(f"](../{file}", f"]({page}")
    return text


def parse(obj):
    """Returns the syntax tree of a class or function."""
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(obj)))).body[0]


def write_signature(_app, what, _name, obj, _options, signature, _returns):
    """Adds types to a signature, but for arguments that the docstring describes."""
    if what not in ("class", "function"):
        return None
    node, described = parse(obj), re.search("^ *(Args|Attributes):$", obj.__doc__ or "", re.M)
    if what == "class":
        fields = ", ".join(ast.unparse(a) for a in node.body if isinstance(a, ast.AnnAssign))
        return signature if described else f"({fields})", None
    signature = signature if described else f"({ast.unparse(node.args)})"
    return signature, ast.unparse(node.returns)


def prepare_docstring(_app, what, _name, obj, _options, lines):
    """Writes a docstring's Markdown as reStructuredText, and the types of arguments into it."""
    text = "\n".join(lines)
    if what in ("class", "function"):
        for node in ast.walk(parse(obj)):
            if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation:
                name = ast.unparse(node.target) if isinstance(node, ast.AnnAssign) else node.arg
                typed = f"    {name} (`{ast.unparse(node.annotation)}`): "
                text = re.sub(rf"^    {name}: ", typed, text, count=1, flags=re.M)
    paragraphs = re.split(r"\n\s*\n", text)
    lines[:] = [*"\n\n".join(map(prepare_paragraph, paragraphs)).splitlines(), ""]


def prepare_paragraph(text):
    """Marks an indented paragraph as code; in others, escapes all but what is in backticks."""
    if all(line.startswith("    ") for line in text.splitlines()):
        return f"::\n\n{text}"
    parts = re.split(r"`([^`]+)`", text)
    plain = [re.sub(r"([*|]|_\b)", r"\\\1", part) for part in parts[::2]]
    code = [f"`{' '.join(part.split())}`\\ " for part in parts[1::2]]
    return "".join(part for pair in zip(plain, [*code, ""], strict=True) for part in pair)


def setup(app):
    """Connects the functions above, before Napoleon reads the sections of docstrings."""
    app.connect("source-read", prepare_page)
    app.connect("autodoc-process-signature", write_signature)
    app.connect("autodoc-process-docstring", prepare_docstring, priority=100)
