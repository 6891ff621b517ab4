"""Taste, where a machine can hold it: the shape that CONTRIBUTING.md describes."""

import ast
import re
import socket
import tomllib
from pathlib import Path

import pytest
from pytest_socket import SocketConnectBlockedError

import causal_diffusers

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "causal_diffusers"
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPT_FOLDERS = ["benchmarks", "examples", "pipelines", "tests"]
SCRIPTS = [path for top in SCRIPT_FOLDERS for path in sorted(ROOT.glob(f"{top}/**/*.py"))]

# Imports flow downward: a unit may import from its own line and from the lines above it.
LAYERS = [
    {"", "__version__", "errors"},  # "" is the top level: what it imports, it imports on first use
    {"aliases", "seeding", "graphs"},
    {"metrics"},
    {"variables"},
    {"blueprint"},
    {"systems"},
    {"sources"},
    {"backbones"},
    {"adapters"},
    {"mechanisms"},
    {"scm"},
    {"query"},
    {"training"},
    {"inference"},
    {"card"},
    {"hub"},
    {"discovery"},
    {"stored"},
    {"notebook"},
    {"pipeline"},
    {"recipe", "sampled"},
    {"demo"},
    {"app", "cli"},
    {"__main__"},
]
DEPTH = {unit: depth for depth, layer in enumerate(LAYERS) for unit in layer}

# May be inherited from although it is concrete: pipelines/*/pipeline.py must subclass it.
OPEN = {"CausalPipeline"}


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=name_of(path))


def unit_of(module):
    """The part of a dotted name, or of a path, that LAYERS speaks of."""
    return module.split(".")[1] if "." in module else ""


def module_of(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def is_type_checking(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported(tree, package):
    """Yield every dotted name imported at run time, in functions too."""
    nodes = [tree]
    while nodes:
        node = nodes.pop()
        if is_type_checking(node):
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            home = ".".join(filter(None, [package if node.level else "", node.module]))
            yield from (f"{home}.{alias.name}" for alias in node.names)


def upward(tree, module, package):
    """List the imports of a module that climb to a later layer, or through the top level."""
    depth = DEPTH[unit_of(module)]
    ours = [name for name in imported(tree, package) if name.startswith("causal_diffusers.")]
    return [name for name in ours if DEPTH.get(unit_of(name), len(LAYERS)) > depth]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_flow_downward(path):
    module = module_of(path)
    assert unit_of(module) in DEPTH, f"give {unit_of(module)!r} a line in LAYERS"
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    assert not upward(parse(path), module, package)


@pytest.mark.parametrize(
    ("source", "climbs"),
    [
        ("from causal_diffusers.pipeline import CausalPipeline", True),
        ("from causal_diffusers import pipeline", True),
        ("from causal_diffusers import CausalPipeline", True),
        ("def f():\n    import causal_diffusers.pipeline", True),
        ("from causal_diffusers.graphs import ADMG", False),
        ("if TYPE_CHECKING:\n    from causal_diffusers.pipeline import CausalPipeline", False),
    ],
)
def test_an_upward_import_would_be_seen(source, climbs):
    assert bool(upward(ast.parse(source), "causal_diffusers.scm", "causal_diffusers")) is climbs


def classes():
    return [
        node for path in MODULES for node in parse(path).body if isinstance(node, ast.ClassDef)
    ]


def bases_of(node):
    return {ast.unparse(base).rpartition(".")[2].partition("[")[0] for base in node.bases}


def is_abstract(node):
    methods = [item for item in node.body if isinstance(item, ast.FunctionDef)]
    decorators = {ast.unparse(item) for method in methods for item in method.decorator_list}
    return bool(
        {"ABC", "Protocol"} & bases_of(node)
        or {"abstractmethod", "abc.abstractmethod"} & decorators
    )


def test_every_class_is_abstract_or_final():
    concrete = {node.name for node in classes() if not is_abstract(node)} - OPEN
    broken = {node.name: bases_of(node) & concrete for node in classes()}
    assert {name: bases for name, bases in broken.items() if bases} == {}


def announced(tree):
    """Read the names in `__all__`, a literal."""
    values = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    return ast.literal_eval(values[0]) if values else None


def public(path):
    """List the functions and classes that a module defines and announces."""
    tree = parse(path)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = announced(tree) or ()
    found = [node for node in tree.body if isinstance(node, kinds) and node.name in names]
    return [node for node in found if "overload" not in map(ast.unparse, node.decorator_list)]


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "__main__.py"], ids=name_of)
def test_every_module_announces_its_public_names(path):
    assert announced(parse(path))


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_public_function_and_class_has_an_example(path):
    without = [node.name for node in public(path) if ">>>" not in (ast.get_docstring(node) or "")]
    assert without == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_says_which_question_it_answers(path):
    assert ast.get_docstring(parse(path))


@pytest.mark.parametrize("path", [*MODULES, *SCRIPTS], ids=name_of)
def test_no_file_is_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_file_is_named_after_an_idea(path):
    assert path.stem not in {"base_utils", "common", "helpers", "misc", "utils"}


def test_every_module_has_a_test():
    """The tests mirror the package; a folder may be tested by fewer files than it has."""
    units = {
        module_of(path).split(".")[1] for path in MODULES if module_of(path) != "causal_diffusers"
    }
    missing = [
        unit
        for unit in units
        if not (ROOT / f"tests/test_{unit}.py").exists()
        and not list((ROOT / "tests" / unit).glob("test_*.py"))
    ]
    assert sorted(missing) == []


def written():
    """Yield the text files of the project that a person or a script of ours wrote."""
    suffixes = {".cff", ".ipynb", ".json", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}
    folders = ["benchmarks", "causal_diffusers", "examples", "model_cards", "pipelines", "tests"]
    inside = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    return [p for p in [*ROOT.iterdir(), *inside] if p.suffix in suffixes or p.name == "Makefile"]


@pytest.mark.parametrize("path", written(), ids=name_of)
def test_no_path_of_a_machine_is_written_down(path):
    homes = re.compile(r"(?<![\w.~])/(home|root|work|mnt|tmp|Users|workspace)/\w")
    assert homes.findall(path.read_text(encoding="utf-8")) == []


def test_the_version_is_the_same_everywhere():
    version = causal_diffusers.__version__
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_files_allowed_to_be_heavy_exist():
    """An exemption that no file needs any more is an open door."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    patterns = [
        pattern for pattern in settings["per-file-ignores"] if pattern.startswith("causal_")
    ]
    assert [pattern for pattern in patterns if not list(ROOT.glob(pattern))] == []


def test_the_network_is_blocked():
    with pytest.raises(SocketConnectBlockedError), socket.socket() as connection:
        connection.connect(("192.0.2.1", 80))
