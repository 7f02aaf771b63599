"""What the book adds to markup that JupyterLab can show as well.

A notebook is read in both, and JupyterLab knows neither the glossary nor a directive that opens in
one cell and closes in another. So a notebook links to the glossary by its path, and a solution is
an ordinary directive: the code that belongs to it are the code cells that follow.
"""

from __future__ import annotations

from itertools import takewhile

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.std import Glossary
from sphinx.transforms import SphinxTransform
from sphinx_exercise.nodes import solution_node


class GatherSolutions(SphinxTransform):
    """Move the code cells after a solution into it, in front of its text."""

    default_priority = 10

    def apply(self) -> None:
        """Do it for every solution of the page."""
        for solution in self.document.findall(solution_node):
            around = solution.parent
            after = around[around.index(solution) + 1 :]
            cells = list(takewhile(_is_code_cell, after))
            for cell in cells:
                around.remove(cell)
            solution[-1].insert(0, cells)


def _is_code_cell(node: nodes.Node) -> bool:
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


class DefinitionList(Glossary):
    """A glossary written as a definition list: the meaning begins with a colon."""

    def run(self) -> list[nodes.Node]:
        """Read it as Sphinx wants it, with the meaning indented."""
        for number, line in enumerate(self.content.data):
            if line.startswith(": "):
                self.content.data[number] = "  " + line[2:]
        return super().run()


def offer_terms(app: Sphinx, doctree: nodes.document) -> None:
    """Let ``[broker](glossary.md#term-broker)`` find the term, as it finds a heading."""
    anchors = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for term in doctree.findall(nodes.term):
        for name in term["ids"]:
            anchors[name] = (term.line, name, term.astext())


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.add_directive_to_domain("std", "glossary", DefinitionList, override=True)
    app.add_transform(GatherSolutions)
    app.connect("doctree-read", offer_terms)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
