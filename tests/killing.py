"""Train a tiny pipeline in processes that are killed with SIGKILL, as a script.

    python killing.py BASE OUTPUT PLACE...

For each place a process is forked that kills itself there, and then one that continues where
it left off, built with other random weights. A place is a name below, or `any`: then processes
are killed from outside, after delays drawn at random, until one gets through. In the place
`GAME` the last district plays against a critic.
"""

import dataclasses
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from causal_diffusers import ModularTrainer, TrainingConfig
from causal_diffusers.training import checkpoint, stage
from causal_diffusers.training.player import Player
from tiny import make_tiny_pipeline

CONFIG = TrainingConfig(steps=7, checkpoint_every=2, batch_size=8, ema_decay=0.9, seed=1)
START = 0
GAME = "between the moves of a game"


def rows():
    generator = torch.Generator().manual_seed(2)
    labels = {"D": 3, "W": 3, "A": 2}
    columns = {n: torch.randint(k, (30,), generator=generator) for n, k in labels.items()}
    return {**columns, "I": torch.rand(30, 1, 8, 8, generator=generator)}


def train(base, output, seed=START, overrides=None):
    """Train from scratch or from what `output` holds; give the pipeline."""
    torch.manual_seed(seed)
    pipe = make_tiny_pipeline(base, seed=seed)
    ModularTrainer(pipe, rows(), output, CONFIG, overrides).train()
    return pipe


def play(base, output, seed=START):
    """The same, but the last district plays against a critic."""
    game = dataclasses.replace(CONFIG, objective="adversarial", critic_steps=2, bank_size=4)
    return train(base, output, seed, {"A": game})


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def replaced(name, count, *, after):
    """Die when a file called `name` is moved into place for the count-th time."""
    move, seen = Path.replace, []

    def replace(path, target):
        is_it = Path(target).name == name
        seen.extend([target] * is_it)
        if is_it and len(seen) == count and not after:
            die()
        move(path, target)
        if is_it and len(seen) == count:
            die()

    Path.replace = replace


def between_checkpoints():
    """In the middle of a step of the image: Adam has moved the weights, the average not yet."""
    average = stage._Loop._average_weights

    def average_or_die(loop):
        if loop.label == "{I}" and loop.step == 6:
            die()
        average(loop)

    stage._Loop._average_weights = average_or_die


def before_the_stage_after():
    """The image is finished, its checkpoint not yet removed."""
    remove = checkpoint.Checkpoint.remove

    def remove_or_die(self):
        if self.path.parent.name == "I":
            die()
        remove(self)

    checkpoint.Checkpoint.remove = remove_or_die


def between_moves():
    """The critic has moved once since the checkpoint, the mechanisms not yet."""
    answer, seen = Player.answer, []

    def answer_or_die(*arguments):
        if len(seen) == 9:
            die()
        seen.append(answer(*arguments))

    Player.answer = answer_or_die


PLACES = {
    "between checkpoints": between_checkpoints,
    "while a checkpoint is written": lambda: replaced("checkpoint.safetensors", 6, after=False),
    "after a checkpoint": lambda: replaced("checkpoint.safetensors", 6, after=True),
    "while the start is written": lambda: replaced("start.safetensors", 1, after=False),
    "before a stage is finished": lambda: replaced("finished.safetensors", 2, after=False),
    "before the stage after": before_the_stage_after,
}


def fork(work):
    """Start a process that does some work; give its number."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    return child


def outcome(child):
    """Wait for a process; give its exit status, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill_at(base, output, place):
    learn = play if place == GAME else train

    def work():
        between_moves() if place == GAME else PLACES[place]()
        learn(base, output)

    if (status := outcome(fork(work))) != -signal.SIGKILL:
        raise RuntimeError(f"{place}: the process was not killed but ended with {status}.")
    seed = START + Path(output, "start.safetensors").exists()
    if status := outcome(fork(lambda: learn(base, output, seed=seed))):
        raise RuntimeError(f"{place}: the process that continues ended with {status}.")


def kill_anywhere(base, output):
    delays, killed = random.Random(0), 0
    while True:
        child = fork(lambda: train(base, output))
        time.sleep(delays.uniform(0, 0.2 + 0.1 * killed))
        os.kill(child, signal.SIGKILL)
        if (status := outcome(child)) != -signal.SIGKILL:
            break
        killed += 1
    if status:
        raise RuntimeError(f"After {killed} kills the process ended with {status}.")
    sys.stdout.write(f"{killed}\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    base, output, *places = sys.argv[1:]
    for number, place in enumerate(places):
        folder = Path(output, str(number))
        kill_anywhere(base, folder) if place == "any" else kill_at(base, folder, place)
