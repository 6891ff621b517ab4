"""What can be done from a shell? Propose a graph, ask it, train, sample, see the demonstration.

    causal-diffusers demo
    causal-diffusers identify "D -> I -> A; D <-> A" --outcomes A --do D
    causal-diffusers plan "D -> I -> A; D <-> A"
    causal-diffusers discover rows.csv --output graph.txt
    causal-diffusers falsify recipe.yaml
    causal-diffusers train recipe.yaml --output my-pipeline
    causal-diffusers sample my-pipeline --do W=3 --num-samples 16 --output samples
    causal-diffusers convert-generator gan.pth --arguments latent_dim=64 --output my-gan

A mistake of the user ends in one line that says what is wrong, and exit status 2; a
query that the graph does not answer, and a graph that the data contradict, in exit status
1. `--debug` shows the traceback. Nothing heavy is imported before it is needed: `--help`,
`identify` and the plan of a graph load no torch.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from causal_diffusers.errors import CheckpointError, NotIdentifiableError

if TYPE_CHECKING:
    from causal_diffusers.pipeline import CausalPipeline

__all__ = ["main"]

MISTAKES = (ValueError, KeyError, OSError, ImportError, CheckpointError, FloatingPointError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Arguments:
        arguments: The words after the name of the program; those of the process if None.

    Returns:
        The exit status: 0, 1 if a query is not identifiable or the data contradict the
        graph, 2 after a mistake, 130 after an interruption.

    Raises:
        SystemExit: If argparse ends the program, as after `--help`.

    Example:
        >>> main(["identify", "X -> Y", "--outcomes", "Y", "--do", "X"])
        P(Y | do(X)) = P(Y | X)
        0
    """
    options = _parser().parse_args(arguments)
    # Read when torch is imported. On a busy machine threads that wait by spinning take the
    # time of those that work: thirty times slower was measured.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        return options.command(options) or 0
    except KeyboardInterrupt:
        _complain("Stopped. If it was training, the same command goes on from the checkpoint.")
        return 130
    except NotIdentifiableError as error:
        return _fail(error, options.debug, status=1)
    except MISTAKES as error:
        return _fail(error, options.debug, status=2)


def _fail(error: Exception, debug: bool, status: int) -> int:
    if debug:
        raise error
    message = error.args[0] if isinstance(error, KeyError) and error.args else error
    _complain(" ".join(str(message).split()) or type(error).__name__)
    return status


def _complain(message: str) -> None:
    print(f"causal-diffusers: {message}", file=sys.stderr)


def _demo(options: argparse.Namespace) -> None:
    from causal_diffusers.demo import Study, run

    chosen = {"adapter_steps": options.steps, "samples": options.samples, "seed": options.seed}
    chosen = {name: value for name, value in chosen.items() if value is not None}
    study = Study.choose(pretrained=options.pretrained, smoke=options.smoke, **chosen)
    run(study, Path(options.output), tell=print)


def _identify(options: argparse.Namespace) -> None:
    from causal_diffusers.graphs import identify
    from causal_diffusers.sources import read_graph

    graph, query = read_graph(options.graph), (options.outcomes, options.do, options.given)
    regimes = [tuple(filter(None, word.split(","))) for word in options.experiments]
    estimand = identify(graph, *query, experiments=regimes)
    print(estimand.to_latex() if options.latex else f"{estimand.query} = {estimand}")


def _plan(options: argparse.Namespace) -> None:
    from causal_diffusers.graphs import HGraph
    from causal_diffusers.graphs.notation import write_set
    from causal_diffusers.sources import read_graph

    if _is_pipeline(options.source):
        print(_load(options.source).plan(options.objective))
        return
    if options.objective:
        raise ValueError(
            "`--objective` needs to know the mechanisms: got a graph. Name a saved pipeline; a "
            "training file says it under `training`."
        )
    for number, stage in enumerate(HGraph(read_graph(options.source)).plan(), start=1):
        print(f"stage {number}: {write_set(stage.variables)}; {stage}")


def _discover(options: argparse.Namespace) -> None:
    from causal_diffusers.discovery import discover
    from causal_diffusers.sources import read_columns, read_edge

    found = discover(
        read_columns(options.rows, options.columns),
        options.model,
        required=[read_edge(word) for word in options.required],
        forbidden=[read_edge(word) for word in options.forbidden],
        tiers=[word.split(",") for word in options.tiers],
        density=options.density,
    )
    print(found)
    if options.output:
        graph = found.to_admg(options.probability)
        Path(options.output).write_text(f"{graph}\n", encoding="utf-8")
        print(f"Saved. Name it as `graph` in a training file, then `falsify` it: {options.output}")


def _falsify(options: argparse.Namespace) -> int:
    from causal_diffusers.recipe import Recipe

    found = Recipe.read(options.recipe).falsify(options.level)
    print(found)
    return int(found.is_falsified)


def _train(options: argparse.Namespace) -> None:
    from causal_diffusers.recipe import Recipe

    recipe = Recipe.read(options.recipe)
    output = options.output or recipe.output
    if output is None:
        raise ValueError("Where to save is not said. Add `--output DIR`, or the key `output`.")
    print(recipe.plan(recipe.train(output, on_report=print)))
    print(f'Saved. Load it with `CausalPipeline.from_pretrained("{output}")`.')


def _sample(options: argparse.Namespace) -> None:
    import torch

    from causal_diffusers.sampled import check_unused, summarise, write_samples
    from causal_diffusers.sources import read_values

    folder = Path(options.output)
    check_unused(folder)
    pipe = _load(options.pipeline)
    pipe.to(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    out: Any = pipe(
        options.num_samples,
        do=read_values(options.do, pipe.variables, "do"),
        given=read_values(options.given, pipe.variables, "given"),
        outcomes=options.outcomes,
        num_inference_steps=options.num_inference_steps,
        guidance_scale=options.guidance_scale,
        generator=torch.Generator().manual_seed(options.seed),
    )
    write_samples(out, folder)
    print(f"{out.query}: {options.num_samples} samples in {folder}")
    print(summarise(out, pipe.variables))


def _convert_generator(options: argparse.Namespace) -> None:
    from causal_diffusers.backbones import convert_generator

    arguments: dict[str, Any] = {}
    for word in options.arguments:
        name, _, value = word.partition("=")
        try:
            arguments[name] = json.loads(
                value if "," not in value or value[0] == "[" else f"[{value}]"
            )
        except ValueError:
            arguments[name] = value  # a word, such as norm=none
    made = convert_generator(
        options.weights,
        options.output,
        options.architecture,
        arguments,
        license=options.license,
    )
    print(f"A generator of {made.image}, with latents of length {made.latent_dim}.")
    print(f'Saved. Load it with `GANMechanism.from_pretrained("{options.output}")`.')


def _is_pipeline(source: str) -> bool:
    """Tell a saved pipeline, a folder or an id `owner/name`, from a graph."""
    path = Path(source)
    return path.is_dir() or (
        re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", source) is not None and not path.is_file()
    )


def _load(source: str) -> CausalPipeline:
    from causal_diffusers.pipeline import CausalPipeline

    return CausalPipeline.from_pretrained(source)


def _parser() -> argparse.ArgumentParser:
    from causal_diffusers import __version__

    parser = argparse.ArgumentParser(
        prog="causal-diffusers",
        description="Answer causal queries with frozen pretrained image generators.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    asking = _add_discover, _add_falsify, _add_identify, _add_plan
    for add in (_add_demo, *asking, _add_train, _add_sample, _add_convert):
        added, command = add(commands)
        added.set_defaults(command=command)
        added.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


Command = tuple[argparse.ArgumentParser, Callable[[argparse.Namespace], int | None]]
Commands = Any  # argparse's own type is private


def _add_demo(commands: Commands) -> Command:
    parser = commands.add_parser(
        "demo",
        help="train on confounded handwriting, compare with the truth, write a report",
        description="Train a pipeline on front-door digits, ask it what would happen under "
        "do(...), compare its answers with the truth and write a report with pictures.",
    )
    add = parser.add_argument
    add("--pretrained", action="store_true", help="use the shipped pipeline; train nothing")
    add("--output", default="report", metavar="DIR", help="folder of the report (report)")
    add("--steps", type=_positive, metavar="N", help="training steps of the image adapter")
    add("--samples", type=_positive, metavar="N", help="samples for each value of D and of W")
    add("--seed", type=int, metavar="N", help="where all randomness comes from (0)")
    add("--smoke", action="store_true", help="a few steps only: does it run at all?")
    return parser, _demo


def _add_identify(commands: Commands) -> Command:
    parser = commands.add_parser(
        "identify",
        help="express a query by what is observed, or say why that is impossible",
        description="Print the estimand of P(outcomes | do, given). Exit status 1 if the "
        "graph does not determine the answer.",
    )
    parser.add_argument("graph", metavar="GRAPH", help=_GRAPH)
    parser.add_argument("--outcomes", nargs="+", required=True, metavar="NAME")
    parser.add_argument("--do", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--given", nargs="+", default=[], metavar="NAME")
    parser.add_argument(
        "--experiments",
        nargs="+",
        default=[""],
        metavar="NAMES",
        help='what was set in each regime of the data: X or X,Y, and "" for nothing ("")',
    )
    parser.add_argument("--latex", action="store_true", help="print LaTeX")
    return parser, _identify


def _add_plan(commands: Commands) -> Command:
    parser = commands.add_parser(
        "plan",
        help="show what is trained together, and in which order",
        description="Print the training plan of a graph, or of a saved pipeline.",
    )
    parser.add_argument("source", metavar="GRAPH", help=f"{_GRAPH}; or a saved pipeline")
    parser.add_argument("--objective", metavar="NAME", help="how to train a saved pipeline")
    return parser, _plan


def _add_discover(commands: Commands) -> Command:
    parser = commands.add_parser(
        "discover",
        help="propose a graph for a table of numbers",
        description="Print edge probabilities, and the graph of those that are likely enough.",
    )
    add = parser.add_argument
    add("rows", metavar="FILE", help="observational rows: .csv, .parquet or .npz")
    add("--columns", nargs="+", metavar="NAME", help="which to look at (all)")
    edges: dict[str, Any] = {"nargs": "+", "default": [], "metavar": "'X->Y'"}
    add("--required", help="edges that exist", **edges)
    add("--forbidden", help="edges that do not", **edges)
    add(
        "--tiers", nargs="+", default=[], metavar="X,Y", help="groups of names, the earliest first"
    )
    add(
        "--density", type=float, metavar="P", help="chance that two variables are joined, if known"
    )
    add("--probability", type=float, metavar="P", help="least of an edge (likelier than none)")
    add("--model", default="causal-diffusers/adag", metavar="MODEL", help="a folder or an id")
    add("--output", metavar="FILE", help="where to write the graph")
    return parser, _discover


def _add_falsify(commands: Commands) -> Command:
    parser = commands.add_parser(
        "falsify",
        help="ask whether the data contradict the graph of a training file",
        description="Test every independence that the graph implies on the rows of the file.",
    )
    parser.add_argument("recipe", metavar="FILE", help="as for `train`; no mechanism is needed")
    parser.add_argument("--level", type=float, default=0.05, help="chance of a false alarm")
    return parser, _falsify


def _add_train(commands: Commands) -> Command:
    parser = commands.add_parser(
        "train",
        help="train a pipeline as a YAML or JSON file says",
        description="Train and save a pipeline. If it is stopped, the same command goes on.",
    )
    parser.add_argument("recipe", metavar="FILE", help="see causal_diffusers/recipe.py for keys")
    parser.add_argument("--output", metavar="DIR", help="where to save the pipeline")
    return parser, _train


def _add_sample(commands: Commands) -> Command:
    parser = commands.add_parser(
        "sample",
        help="sample a trained pipeline under interventions",
        description="Write samples of P(outcomes | do, given): PNG files, and values.csv.",
    )
    add = parser.add_argument
    add("pipeline", metavar="PIPELINE", help="a folder, or a repository id `owner/name`")
    add("--do", nargs="+", default=[], metavar="NAME=VALUE", help="interventions")
    add("--given", nargs="+", default=[], metavar="NAME=VALUE", help="conditions")
    add("--outcomes", nargs="+", metavar="NAME", help="what to sample (all that is left)")
    add("--num-samples", type=_positive, default=16, metavar="N", help="how many (16)")
    add("--num-inference-steps", type=_positive, metavar="N", help="denoising steps")
    add(
        "--guidance-scale", type=float, default=1.0, metavar="W", help="1 is the causal answer (1)"
    )
    add("--seed", type=int, default=0, metavar="N", help="where the randomness comes from (0)")
    add("--device", metavar="NAME", help="such as cuda or cpu (a GPU if there is one)")
    add("--output", default="samples", metavar="DIR", help="folder of the samples (samples)")
    return parser, _sample


def _add_convert(commands: Commands) -> Command:
    parser = commands.add_parser(
        "convert-generator",
        help="turn the weights of somebody else's GAN generator into safetensors",
        description="Write config.json and model.safetensors. A .pth file is read as plain "
        "tensors only; nothing in it is run.",
    )
    add = parser.add_argument
    add("weights", metavar="FILE", help="a state dict: .pth, .pt, .bin or .safetensors")
    add("--architecture", default="dcgan", metavar="NAME", help="its architecture (dcgan)")
    add(
        "--arguments",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="its arguments, such as latent_dim=64 channels=256,128,64,1 bias=true",
    )
    add("--license", metavar="NAME", help="the licence of the weights, for the card")
    add("--output", required=True, metavar="DIR", help="folder of the generator")
    return parser, _convert_generator


_GRAPH = "text such as 'D -> I -> A; D <-> A', or a file of text, DOT or dagitty"


def _positive(word: str) -> int:
    if not re.fullmatch(r"[1-9]\d*", word):
        raise argparse.ArgumentTypeError(f"takes a whole number from 1: got {word}")
    return int(word)


if __name__ == "__main__":
    sys.exit(main())
