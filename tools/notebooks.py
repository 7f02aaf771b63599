"""Keep the notebooks in `notebooks/` clean.

    python -m tools.notebooks check       one line for each problem; exit status 1 if there is one
    python -m tools.notebooks normalise   format the code, strip what does not belong into git
    python -m tools.notebooks update      run a notebook and store the outputs that nbval compares

A cell tagged `nbval-check-output` keeps its output, since nbval compares it; no other cell does.
"""

from __future__ import annotations

import argparse
import ast
import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbclient import NotebookClient
from nbformat import NotebookNode

from tools.kernels import AsyncLocalKernel

CHECKOUT = Path(__file__).resolve().parent.parent
CHECKED = "nbval-check-output"
TAGS = {CHECKED, "hide-input", "hide-output", "hide-cell", "remove-input", "remove-cell"}
SKELETON = (
    "Question",
    "Your prediction",
    "Set up",
    "Control",
    "Treatment",
    "What happened",
    "Where it stops being true",
    "Try it",
    "Summary",
)
DIRECTIVES = {"admonition", "exercise", "solution"}
"""What JupyterLab shows as the book does. Before you add one, look at it there."""

SOLUTION = re.compile(r"^(:{3,})\{solution\}.*\n(?:(?!\1).*\n)*\1\s*\Z", flags=re.MULTILINE)
"""A text that ends in a solution: the code cells that follow belong to it."""

CELL_LINES, SERVICE_LINES = 10, 25
CELL_TIMEOUT = 180
"""Seconds that a cell may take, here and where nbval runs it."""

METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
ABSOLUTE_PATH = re.compile(r"(?<![\w.:/-])/(home|Users|root|work|tmp|var|opt|private)/|\b[A-Z]:\\")


def main() -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Keep the notebooks clean.")
    parser.add_argument("command", choices=["check", "normalise", "update"])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    arguments = parser.parse_args()
    paths = arguments.notebooks or sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
    found = 0
    for path in paths:
        if arguments.command == "check":
            for problem in problems(path):
                found += 1
                print(f"{path.name}: {problem}")
        else:
            text = path.read_text(encoding="utf-8")
            clean = normalised(executed(path) if arguments.command == "update" else text)
            if clean != text:
                path.write_text(clean, encoding="utf-8")
                print(f"{path.name}: written")
    return 1 if found else 0


# -- normal form ----------------------------------------------------------------------------------


def normalised(text: str) -> str:
    """The notebook ``text`` in its normal form; raises ``ValueError`` if it is no notebook."""
    notebook = nbformat.reads(text, as_version=4)
    ours = notebook.metadata.get("shoplab")  # such as {"alone": true}: see tools/running.py
    notebook.metadata = METADATA | ({"shoplab": ours} if ours else {})
    notebook.nbformat_minor = 5
    notebook = nbformat.reads(formatted(nbformat.writes(notebook)), as_version=4)
    seen: set[str] = set()
    count = 0
    solves = False
    for index, cell in enumerate(notebook.cells):
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in ("tags", "mystnb")}
        if cell.cell_type == "markdown":
            solves = SOLUTION.search(cell.source) is not None
        elif solves:  # JupyterLab folds the code
            cell.metadata["jupyter"] = {"source_hidden": True}
        if cell.get("id") in seen or "id" not in cell:
            cell.id = f"cell-{index}"
        seen.add(cell.id)
        if cell.cell_type == "code":
            count += 1
            strip(cell, count)
            if solves and cell.outputs:  # and what it prints, until a reader runs it
                cell.metadata["jupyter"]["outputs_hidden"] = True
    return str(nbformat.writes(notebook, indent=1)).rstrip("\n") + "\n"


def formatted(text: str) -> str:
    """The notebook ``text`` with its code formatted; raises ``ValueError`` if it is not Python."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "notebook.ipynb", "-"]
    ruff = subprocess.run(command, input=text, capture_output=True, text=True, cwd=CHECKOUT)
    if ruff.returncode:
        raise ValueError(ruff.stderr.strip())
    return ruff.stdout


def strip(cell: NotebookNode, count: int) -> None:
    """Keep the output of a checked cell, numbered as the ``count``-th that runs; drop all other."""
    keep = CHECKED in cell.metadata.get("tags", []) and cell.outputs
    cell.execution_count = count if keep else None
    cell.outputs = cell.outputs if keep else []
    for output in cell.outputs:
        if output.output_type == "execute_result":
            output.execution_count = count


def executed(path: Path) -> str:
    """The notebook at ``path`` with the outputs of a run from top to bottom."""
    notebook = nbformat.read(path, as_version=4)
    client(path, notebook).execute()
    return str(nbformat.writes(notebook))


def client(path: Path, notebook: NotebookNode) -> NotebookClient:
    """Whoever runs a notebook from top to bottom, in the folder of its file ``path``."""
    # What a cell waits for is for people to read: it is no output to show in a page or to compare.
    os.environ["SHOPLAB_PROGRESS"] = "off"
    return NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        kernel_manager_class=AsyncLocalKernel,
        coalesce_streams=True,
        record_timing=False,  # jupyter-cache finds a run by its cells, metadata included
        resources={"metadata": {"path": str(path.parent)}},
    )


# -- problems -------------------------------------------------------------------------------------


def problems(path: Path) -> Iterator[str]:
    """What is wrong with the notebook at ``path``, a sentence each."""
    text = path.read_text(encoding="utf-8")
    try:
        notebook = nbformat.reads(text, as_version=4)
        if normalised(text) != text:
            yield "is not in its normal form: run `make format`"
    except ValueError as error:
        yield f"cannot be read: {error}"
        return
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        yield "names another kernel than python3"
    yield from skeleton_problems(notebook)
    yield from order_problems(notebook)
    figure_names: set[str] = set()
    for number, cell in enumerate(notebook.cells, 1):
        where = f"cell {number}"
        if ABSOLUTE_PATH.search(cell.source):
            yield f"{where} names an absolute path"
        if cell.cell_type == "markdown":
            yield from (f"{where} {problem}" for problem in markup_problems(cell.source))
        if cell.cell_type == "code":
            yield from (f"{where} {problem}" for problem in stored_problems(cell))
            yield from (f"{where} {p}" for p in code_problems(cell, path.stem, figure_names))


def skeleton_problems(notebook: NotebookNode) -> Iterator[str]:
    """The headings that every experiment has, in order, and the line of minutes and seconds."""
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    headings = re.findall(r"^(#{1,6}) +(.+?) *$", prose, flags=re.MULTILINE)
    titles = [title for marks, title in headings if marks == "#"]
    first = notebook.cells[0] if notebook.cells else None
    if len(titles) != 1 or first is None or not first.source.startswith("# "):
        yield "does not begin with its one title"
    elif len(titles[0].split()) < 3:
        yield "has a title that is not a sentence"
    if not re.search(r"\d+ minutes?\b.*\b\d+ (s|seconds?)\b", prose, flags=re.DOTALL):
        yield "does not say how many minutes it takes to read and how many seconds to run"
    sections = iter(title for marks, title in headings if marks == "##")
    for wanted in SKELETON:
        if not any(re.match(rf"{wanted}\b", title) for title in sections):
            yield f"has no section '## {wanted}', or not in its place"
            return


def markup_problems(text: str) -> Iterator[str]:
    """Markup that the book shows and JupyterLab does not."""
    for directive in re.findall(r"^ *(?::{3,}|`{3,})\{(.+?)\}", text, flags=re.MULTILINE):
        if directive not in DIRECTIVES:
            yield f"uses the directive {directive!r}, which JupyterLab does not show"
    for role in re.findall(r"\{([\w:-]+)\}`", text):
        yield f"uses the role {role!r}, which JupyterLab does not show: write a link"


def order_problems(notebook: NotebookNode) -> Iterator[str]:
    """What is imported before the lab, which first puts the user's settings of it out of effect."""
    for cell in notebook.cells:
        try:
            tree = ast.parse(cell.source if cell.cell_type == "code" else "")
        except SyntaxError:
            continue  # told as such
        for node in tree.body:
            if any(name(call.func) == "Lab" for call in calls(ast.walk(node))):
                return
            for module in imported(node) - sys.stdlib_module_names - {"shoplab"}:
                yield f"imports {module} before it opens its lab"


def imported(node: ast.stmt) -> set[str]:
    """The packages that a statement imports."""
    if isinstance(node, ast.ImportFrom):
        return {str(node.module).partition(".")[0]}
    names = node.names if isinstance(node, ast.Import) else []
    return {alias.name.partition(".")[0] for alias in names}


def stored_problems(cell: NotebookNode) -> Iterator[str]:
    """Outputs that are stored and should not be, or are missing where nbval compares them."""
    tags = set(cell.metadata.get("tags", []))
    if CHECKED in tags and not cell.outputs:
        yield "is to be checked and has no stored output: run `python -m tools.notebooks update`"
    if CHECKED not in tags and (cell.outputs or cell.execution_count is not None):
        yield "stores an output that nothing checks"
    if any(output.output_type == "error" for output in cell.outputs):
        yield "stores an error"
    if ABSOLUTE_PATH.search(str(cell.outputs)):
        yield "stores an output with an absolute path"
    for tag in sorted(tags - TAGS):
        yield f"has the tag {tag!r}, which is not one of ours"


def code_problems(cell: NotebookNode, stem: str, figure_names: set[str]) -> Iterator[str]:
    """What is wrong with a cell's code; ``figure_names`` collects names that stand for figures."""
    try:
        tree = ast.parse(cell.source)
    except SyntaxError as error:
        yield f"is not Python: {error.msg} (magic commands are for exploring only)"
        return
    lines = sum(bool(line.strip()) for line in cell.source.splitlines())
    defines = all(isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef) for n in tree.body)
    limit = SERVICE_LINES if defines else CELL_LINES
    if lines > limit:
        yield f"has {lines} lines of code; {limit} is the limit" + (
            "" if defines else " for a cell that is more than functions"
        )
    if any(isinstance(node, ast.ExceptHandler) and node.type is None for node in ast.walk(tree)):
        yield "has a bare except"
    if any(last_name(call) == "sleep" for call in calls(outside_functions(tree))):
        yield "sleeps where it can await a condition: use lab.until(...)"
    if "group_id" in cell.source and any(polls_briefly(call) for call in calls(ast.walk(tree))):
        yield "polls for less than a second, and kafka-python may lose its place while it joins"
    for call in calls(ast.walk(tree)):
        argument = call.args[0] if call.args else None
        first = str(argument.value) if isinstance(argument, ast.Constant) else None
        if last_name(call) == "claim" and first not in claim_ids():
            yield f"claims {first!r}, which is not in claims.yml"
        if name(call.func) == "Lab" and (first is None or not stem.startswith(f"{first}-")):
            yield f"opens Lab({first!r}); the number is the file's"
    if draws(tree, figure_names):
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if len(alt.split()) < 5:
            yield "draws a figure without alternative text (cell metadata mystnb.image.alt)"


def polls_briefly(call: ast.Call) -> bool:
    """Whether a call is a poll that may end while its group is joined: see broker.py's settings."""
    timeouts = [word.value for word in call.keywords if word.arg == "timeout_ms"]
    return last_name(call) == "poll" and any(
        isinstance(each, ast.Constant) and isinstance(each.value, int) and each.value < 1000
        for each in timeouts
    )


def draws(tree: ast.Module, figure_names: set[str]) -> bool:
    """Whether the cell's value is a figure; notes names bound to figures and to what draws them."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "shoplab.figures":
            figure_names.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign) and is_figure(node.value, figure_names):
            figure_names.update(t.id for t in node.targets if isinstance(t, ast.Name))
    last = tree.body[-1] if tree.body else None
    return isinstance(last, ast.Expr) and is_figure(last.value, figure_names)


def is_figure(node: ast.expr, figure_names: set[str]) -> bool:
    """Whether an expression is a figure: a call of `figures.*`, or a name bound to one."""
    if isinstance(node, ast.Call):
        called = name(node.func)
        return called.startswith("figures.") or called in figure_names
    return isinstance(node, ast.Name) and node.id in figure_names


def outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a tree, except those inside a function: a service's work may take its time."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from outside_functions(child)


def calls(nodes: Iterator[ast.AST]) -> Iterator[ast.Call]:
    """The calls among ``nodes``."""
    return (node for node in nodes if isinstance(node, ast.Call))


def name(node: ast.expr) -> str:
    """The dotted name that is called: `lab.claim`; empty where it is not a name."""
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def last_name(call: ast.Call) -> str:
    """The last part of the name that is called: `claim`."""
    return name(call.func).rpartition(".")[2]


@functools.cache
def claim_ids() -> set[Any]:
    """The identifiers in claims.yml."""
    data = (CHECKOUT / "src" / "shoplab" / "claims.yml").read_text(encoding="utf-8")
    return {claim["id"] for claim in yaml.safe_load(data)}


if __name__ == "__main__":
    sys.exit(main())
