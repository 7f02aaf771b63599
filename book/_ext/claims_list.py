"""The ``claims`` directive and the ``claim`` role: claims on other pages than the ledger's.

    ```claims saga
    ```

lists the claims of one section of ``claims.yml``, each a link to its line in the ledger. In a
sentence, ``{claim}`what the runs show <rd-one-trace>` `` is such a link. A section or a claim that
does not exist is an error of the build.
"""

from __future__ import annotations

from importlib import resources

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import ReferenceRole, SphinxDirective

from shoplab.claims import SECTIONS, Claim, claims

LEDGER = "book/ledger"
"""The page with the ledger, which gives each claim's line the id ``claim-`` and its own."""


def claims_of(section: str) -> list[Claim]:
    """The claims of a section, in the document's sequence."""
    return [claim for claim in claims().values() if claim.section == section]


def link(env: BuildEnvironment, claim: Claim, text: str) -> nodes.reference:
    """A link from the page that is being read to the claim's line in the ledger."""
    page = env.app.builder.get_relative_uri(env.docname, LEDGER)
    return nodes.reference("", text, internal=True, refuri=f"{page}#claim-{claim.id}")


def read_with_the_claims(env: BuildEnvironment) -> None:
    """Let the page be read again when ``claims.yml`` has changed."""
    with resources.as_file(resources.files("shoplab") / "claims.yml") as path:
        env.note_dependency(str(path))


class ClaimsDirective(SphinxDirective):
    """Lists the claims of the section that it names, in place of what is written in it."""

    has_content = True
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """A list of links, or an error."""
        section = self.arguments[0]
        if section not in SECTIONS:
            raise self.error(f"'{section}' is not among the sections {list(SECTIONS)}")
        read_with_the_claims(self.env)
        items = (
            nodes.list_item("", nodes.paragraph("", "", link(self.env, claim, claim.claim)))
            for claim in claims_of(section)
        )
        return [nodes.bullet_list("", *items)]


class ClaimRole(ReferenceRole):
    """Links its text to the claim whose id follows in angle brackets."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """The link, or an error."""
        claim = claims().get(self.target)
        if claim is None:
            message = self.inliner.reporter.error(f"no claim '{self.target}'", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        read_with_the_claims(self.env)
        return [link(self.env, claim, self.title)], []


def setup(app: Sphinx) -> dict[str, bool]:
    """Sphinx's entry."""
    app.add_directive("claims", ClaimsDirective)
    app.add_role("claim", ClaimRole())
    return {"parallel_read_safe": True, "parallel_write_safe": True}
