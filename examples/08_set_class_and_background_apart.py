"""Make images in which a class and an attribute that go together in the data are set apart.

Apple leaves whose background gives the class away; or faces in the layout of CelebA, where
eyeglasses and sex are made to go together. A classifier trained on such images has nothing
to lean on but the class (`benchmarks/leaves.py` measures it).

    python examples/08_set_class_and_background_apart.py leaves --data FOLDER
    python examples/08_set_class_and_background_apart.py faces --data flwrlabs/celeba

Ten minutes on one core for leaves; faces, at 256x256, want a GPU.
"""

import argparse

import torch

import causal_diffusers as cd
from causal_diffusers.notebook import grid
from causal_diffusers.systems import AppleLeaves
from causal_diffusers.systems.faces import biased_faces

BASES = {"leaves": "causal-diffusers/leaf-ddpm", "faces": "google/ddpm-celebahq-256"}


def load_leaves(options, generator):
    """Draw rows of the biased domain: class C, background B, image I."""
    system = AppleLeaves(options.data)
    return system.sample(200 if options.smoke else 20_000, generator=generator), (3, 32, 32)


def load_faces(options, generator):
    """Choose rows of a data set of the Hub, or of parquet files on this machine."""
    from datasets import load_dataset

    is_local = options.data.endswith(".parquet")
    where = {"path": "parquet", "data_files": options.data} if is_local else {"path": options.data}
    faces = load_dataset(**where, split="train")
    rows = biased_faces(faces, size=options.size, generator=generator)
    columns = {"C": rows["Eyeglasses"], "B": rows["Male"], "I": rows["image"]}
    return columns, (3, options.size, options.size)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("what", nargs="?", choices=BASES, default="leaves")
parser.add_argument("--data", help="a folder; for faces, a data set of the Hub or a .parquet")
parser.add_argument("--base", help="the pretrained generator")
parser.add_argument("--size", type=int, default=256, help="of faces, in pixels")
parser.add_argument("--smoke", action="store_true", help="few rows and steps")
parser.add_argument("--output", default="apart.png", help="where the picture goes")
options = parser.parse_args()

generator = torch.Generator().manual_seed(0)
try:
    load = load_leaves if options.what == "leaves" else load_faces
    rows, shape = load(options, generator)
    base = options.base or BASES[options.what]
    mechanism = cd.DiffusionMechanism.from_pretrained(base, rank=8)
except (FileNotFoundError, cd.CheckpointError) as error:
    print(error)
    raise SystemExit from None

bit = cd.Categorical([0, 1])
pipe = cd.CausalPipeline.from_graph(
    "C -> I <- B; C <-> B",
    variables={"C": bit, "B": bit, "I": cd.Image(*shape)},
    mechanisms={"I": mechanism},
    confounders={"U_C_B": cd.Confounder(states=2)},
)
config = cd.TrainingConfig(
    steps=1 if options.smoke else 600, batch_size=4 if options.smoke else 64
)
cd.ModularTrainer(pipe, rows, config=config).train()

out = pipe(
    num_samples=16,
    do={"C": [i // 8 for i in range(16)], "B": [i // 4 % 2 for i in range(16)]},
    num_inference_steps=2 if options.smoke else 20,
    generator=torch.Generator().manual_seed(1),
)
grid(out.images["I"], columns=4).save(options.output)
print(f"{out.query}: a row for each pair of class and background, in {options.output}")
