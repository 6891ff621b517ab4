r"""How do Graphviz and dagitty write a graph, and how is it read?

The two languages share one grammar, of which this file reads the part that graphs need:

    graph     = ("digraph" | "dag") [name] "{" {statement [";"]} "}"
    statement = chain [attributes] | ("graph" | "node" | "edge") attributes | name "=" name
    chain     = end {arrow end}
    end       = name | "{" {name [";" | ","]} "}"

Dagitty has the arrows `->`, `<-` and `<->`, and `U [latent]` is a latent variable. DOT
has `->` alone: there a bidirected edge is `A -> B [dir=both]`, and a latent variable is
`U [latent=true]`. Anything else is refused.

References:
    The DOT language (Graphviz documentation, graphviz.org/doc/info/lang.html).
    Robust causal inference using directed acyclic graphs: the R package dagitty
    (Textor, van der Zander, Gilthorpe, Liskiewicz & Ellison, 2016).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from itertools import pairwise, product
from typing import TYPE_CHECKING, NamedTuple, NoReturn, final

from causal_diffusers.errors import GraphError
from causal_diffusers.graphs.confounders import as_written
from causal_diffusers.graphs.parts import Parts
from causal_diffusers.graphs.projection import project

if TYPE_CHECKING:
    from causal_diffusers.graphs.admg import ADMG

__all__ = ["read_dagitty", "read_dot", "to_dagitty", "to_dot"]

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*|/\*.*?\*/|\#[^\n]*)
    |"(?P<quoted>(?:[^"\\]|\\.)*)"
    |(?P<word>[^\W\d]\w*|-?[\d.]+)
    |(?P<mark><->|->|<-|--|.)""",
    re.VERBOSE | re.DOTALL,
)
_HEAD = {"dot": "digraph", "dagitty": "dag"}
_ARROWS = {"dot": ("->",), "dagitty": ("->", "<-", "<->")}
_DIRECTION = {"forward": "->", "back": "<-", "both": "<->"}
_KEYWORDS = {"digraph", "edge", "graph", "node", "strict", "subgraph"}
_TRUE = {"", "1", "true", "yes"}


def read_dot(text: str) -> Parts:
    """Read a DOT graph.

    Arguments:
        text: The text, `digraph { ... }`.

    Returns:
        The arguments of `ADMG`, with the latent variables projected out.

    Raises:
        GraphError: If the text does not follow the grammar above.

    Example:
        >>> read_dot("digraph { D -> I -> A; D -> A [dir=both] }").bidirected
        [('D', 'A')]
    """
    return _Reader("dot", text).read()


def read_dagitty(text: str) -> Parts:
    """Read a dagitty graph.

    Arguments:
        text: The text, `dag { ... }`. Exposures, outcomes and positions are left out.

    Returns:
        The arguments of `ADMG`, with the latent variables projected out.

    Raises:
        GraphError: If the text does not follow the grammar above.

    Example:
        >>> read_dagitty("dag { U [latent] X -> Y  X <- U -> Y }").confounders
        {'U': ['X', 'Y']}
    """
    return _Reader("dagitty", text).read()


def to_dot(G: ADMG) -> str:
    """Write a graph in DOT, with what is unobserved dashed.

    Arguments:
        G: The graph.

    Returns:
        Text that Graphviz draws and `read_dot` reads.

    Example:
        >>> from causal_diffusers.graphs import ADMG
        >>> print(to_dot(ADMG.parse("X -> Y; X <-> Y")))
        digraph {
          X;
          Y;
          X -> Y;
          X -> Y [dir=both, style=dashed];
        }
    """
    arcs, named = as_written(G.confounders, G.variables)
    arrows = [f"{_quoted(a)} -> {_quoted(b)}" for a, b in G.sorted_edges()]
    arrows += [f"{_quoted(a)} -> {_quoted(b)} [dir=both, style=dashed]" for a, b in arcs]
    for name, children in named.items():
        arrows += [f"{_quoted(name)} -> {_quoted(child)} [style=dashed]" for child in children]
    nodes = [_quoted(name) for name in G.variables]
    nodes += [f"{_quoted(name)} [latent=true, style=dashed]" for name in named]
    return "\n".join(["digraph {", *(f"  {line};" for line in nodes + arrows), "}"])


def to_dagitty(G: ADMG) -> str:
    """Write a graph for dagitty.

    Arguments:
        G: The graph.

    Returns:
        Text that dagitty and `read_dagitty` read.

    Example:
        >>> from causal_diffusers.graphs import ADMG
        >>> print(to_dagitty(ADMG.parse("X -> Y; U: X, Y")))
        dag {
          X
          Y
          U [latent]
          X -> Y
          U -> X
          U -> Y
        }
    """
    arcs, named = as_written(G.confounders, G.variables)
    lines = [*G.variables, *(f"{name} [latent]" for name in named)]
    lines += [f"{a} -> {b}" for a, b in G.sorted_edges()] + [f"{a} <-> {b}" for a, b in arcs]
    lines += [f"{name} -> {child}" for name in named for child in named[name]]
    return "\n".join(["dag {", *(f"  {line}" for line in lines), "}"])


def _quoted(name: str) -> str:
    return f'"{name}"' if name.lower() in _KEYWORDS else name


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "mark"
        if kind != "skip":
            yield _Token(kind, match[kind].replace('\\"', '"'), line)
        line += match[0].count("\n")
    yield _Token("end", "the end of the text", line)


@final
class _Reader:
    """A recursive descent over the tokens of one text, a method for each rule."""

    def __init__(self, language: str, text: str) -> None:
        self.language = language
        self.tokens = deque(_tokens(text))
        self.parts = Parts({}, [], [], {})
        self.latents: set[str] = set()
        self.defaults: dict[str, dict[str, str]] = {"graph": {}, "node": {}, "edge": {}}

    def read(self) -> Parts:
        strict = self.language == "dot" and self.take("strict")
        self.expect(_HEAD[self.language])
        if not self.take("{"):
            self.name()
            self.expect("{")
        while not self.take("}"):
            self.statement()
        if self.tokens[0].kind != "end":
            self.refuse("one graph and nothing after it")
        if strict:
            self.parts.directed[:] = dict.fromkeys(self.parts.directed)
        return project(self.parts, self.latents)

    def statement(self) -> None:
        if self.take(";"):
            return
        if self.language == "dot" and (target := self.take(*self.defaults)):
            self.defaults[target] |= self.attributes()
            return
        ends = [self.end()]
        if self.take("="):
            self.name()  # a setting of the drawing, such as `rankdir=LR`
            return
        arrows: list[str] = []
        while arrow := self.take(*_ARROWS[self.language]):
            arrows.append(arrow)
            ends.append(self.end())
        if arrows:
            self.add_edges(ends, arrows, self.defaults["edge"] | self.attributes())
        else:
            self.add_nodes(ends[0], self.defaults["node"] | self.attributes())

    def end(self) -> list[str]:
        if not self.take("{"):
            return [self.name()]
        names: list[str] = []
        while not self.take("}"):
            if not self.take(";", ","):
                names.append(self.name())
        return names

    def attributes(self) -> dict[str, str]:
        found: dict[str, str] = {}
        while self.take("["):
            while not self.take("]"):
                key = self.name().lower()
                found[key] = self.name() if self.take("=") else ""
                _ = self.take(",", ";")
        return found

    def add_nodes(self, names: list[str], attributes: dict[str, str]) -> None:
        if "selected" in attributes:
            self.refuse("a graph without selection", f"the attribute `selected` of {names[0]}")
        self.parts.add_variables(*names)
        hidden = {attributes.get("latent"), attributes.get("unobserved")} & _TRUE
        if hidden or attributes.get("observed") in {"0", "false", "no"}:
            self.latents.update(names)

    def add_edges(
        self, ends: list[list[str]], arrows: list[str], attributes: dict[str, str]
    ) -> None:
        direction = attributes.get("dir", "forward").lower()
        if self.language == "dot":
            if direction not in _DIRECTION:
                self.refuse("`dir=forward`, `dir=back` or `dir=both`", f"`dir={direction}`")
            arrows = [_DIRECTION[direction]] * len(arrows)
        for (left, right), arrow in zip(pairwise(ends), arrows, strict=True):
            for a, b in product(left, right):
                self.parts.add_edge(a, arrow, b)

    def name(self) -> str:
        token = self.tokens[0]
        keyword = self.language == "dot" and token.text.lower() in _KEYWORDS
        if token.kind not in {"word", "quoted"} or (token.kind == "word" and keyword):
            self.refuse("a name")
        return self.tokens.popleft().text

    def take(self, *texts: str) -> str | None:
        """Consume the next token if it is one of these words or marks."""
        token = self.tokens[0]
        wanted = token.text in texts and token.kind in {"word", "mark"}
        return self.tokens.popleft().text if wanted else None

    def expect(self, text: str) -> None:
        if self.take(text) is None:
            self.refuse(f"`{text}`")

    def refuse(self, expected: str, received: str = "") -> NoReturn:
        head, arrows = _HEAD[self.language], " ".join(_ARROWS[self.language])
        received = received or f"`{self.tokens[0].text}`"
        raise GraphError(
            f"`from_{self.language}` expected {expected}: got {received} in line "
            f"{self.tokens[0].line}. It reads `{head} {{ ... }}` with nodes, edges ({arrows}) "
            "and attributes; rewrite the rest as edges, or use `ADMG.parse`."
        )
