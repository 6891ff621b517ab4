"""Make tests/data/format_1: a pipeline in format 1, and what it answered when it was made."""

import json
from pathlib import Path

import torch

from causal_diffusers import Categorical, CategoricalMechanism, CausalPipeline, Confounder

HERE = Path(__file__).parent


def main():
    torch.manual_seed(0)
    pipe = CausalPipeline.from_graph(
        "X -> Y; X <-> Y",
        {"X": Categorical(["no", "yes"]), "Y": Categorical([3, 5])},
        {"X": CategoricalMechanism(width=2), "Y": CategoricalMechanism(width=2)},
        {"U_X_Y": Confounder(states=3)},
    )
    with torch.no_grad():
        pipe.U_X_Y.logits.copy_(torch.tensor([0.0, 1.0, -1.0]))
    pipe.save_pretrained(HERE / "format_1")
    parents = {"X": torch.arange(2).repeat_interleave(3)}
    confounders = {"U_X_Y": torch.arange(3).repeat(2)}
    answers = {
        "Y": pipe.Y.probabilities(parents, confounders).tolist(),
        "U": pipe.U_X_Y.log_weights().exp().tolist(),
    }
    (HERE / "format_1" / "answers.json").write_text(json.dumps(answers) + "\n")


if __name__ == "__main__":
    main()
