"""Codes hold what an image says about the others, and the district is matched through them."""

import pytest
import torch

from causal_diffusers import (
    Categorical,
    CausalPipeline,
    Confounder,
    DiffusionMechanism,
    Image,
    ModularTrainer,
    TrainingConfig,
)
from causal_diffusers.mechanisms.representation import code_of
from causal_diffusers.training import stage as stage_module
from causal_diffusers.training.lessons import objective_of
from causal_diffusers.training.reading import ReadingObjective
from quadrants import HIDDEN, STAY, apart, classes_of, distance, draw, joint, rows
from tiny import make_tiny_base

TWO, PICTURE = Categorical([0, 1]), Image(1, 8, 8)
GRAPHS = {"L": "X -> I; X -> L; U: I, L", "J": "X -> I; X -> J; U: I, J"}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_tiny_base(tmp_path_factory.mktemp("base"))


def make(base, partner, codes=8, graph=None, states=8):
    torch.manual_seed(0)
    variables = {"X": TWO, "I": PICTURE, "L": TWO, "J": PICTURE}
    graph = graph or GRAPHS[partner]
    variables = {name: variables[name] for name in ("X", "I", partner)}
    images = [name for name, v in variables.items() if v == PICTURE]
    pipe = CausalPipeline.from_graph(
        graph,
        variables,
        {n: DiffusionMechanism.from_pretrained(base, rank=2, codes=codes) for n in images},
        {"U": Confounder(states=states)},
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def trainer(pipe, data, folder=None, reading=150, denoising=1):
    config = TrainingConfig(steps=reading, batch_size=None)
    few = TrainingConfig(steps=denoising, batch_size=8)
    overrides = {n: few for n, v in pipe.variables.items() if v == PICTURE}
    return ModularTrainer(pipe, data, folder, config, overrides)


@torch.no_grad()
def codes_of_classes(pipe, name, codes):
    """Say which class each code stands for, and how often it is right."""
    c = torch.arange(4).repeat(100)
    images = 2 * draw(c, torch.Generator().manual_seed(9)) - 1
    table = torch.zeros(codes, 4)
    table.index_put_((pipe.mechanisms[name].reader.read(images), c), torch.ones(400), True)
    return table.argmax(dim=1), (table.amax(dim=1).sum() / table.sum()).item()


@torch.no_grad()
def model_joint(pipe, partner, codes):
    """Enumerate P(x, class that the code of I stands for, partner) of the trained model."""
    x, states = torch.arange(2), torch.arange(8)
    prior, p_x = pipe.scm.priors["U"].log_weights().exp(), pipe.mechanisms["X"]
    tables = []
    for name in ("I", partner):
        mechanism = pipe.mechanisms[name]
        law = mechanism.head if name != "L" else mechanism
        logits = law.logits({"X": x}, {"U": states}, outer=True)
        table = logits.softmax(dim=-1)  # (x, u, r)
        if name != "L":
            means, _ = codes_of_classes(pipe, name, codes)
            table = table @ torch.nn.functional.one_hot(means, 4).float()
        tables.append(table)
    first = p_x.probabilities({}, {}, num_samples=1)[0]
    return torch.einsum("x,u,xua,xub->xab", first, prior, *tables)


@pytest.mark.parametrize(
    ("partner", "floor"), [("L", 0.04), pytest.param("J", 0.06, marks=pytest.mark.slow)]
)
def test_a_district_is_matched_through_codes(base, partner, floor):
    """By enumeration; ignoring the confounder would cost .33 or .5."""
    pipe = make(base, partner)
    trainer(pipe, rows(8000, partner), reading=150 if partner == "L" else 300).train()
    images = ["I", "J"] if partner == "J" else ["I"]
    assert all(codes_of_classes(pipe, name, 8)[1] > 0.97 for name in images)
    truth = joint(partner)
    assert distance(apart(truth), truth) > 0.3
    found = model_joint(pipe, partner, 8)
    assert distance(found, truth) < floor
    assert distance(apart(found), truth) > 0.3  # it is the shared u that does it


def test_quadrants_are_what_they_seem():
    c = torch.arange(4).repeat(25)
    assert torch.equal(classes_of(draw(c, torch.Generator().manual_seed(0))), c)


def test_lessons_are_taken_in_turn(base, tmp_path):
    pipe = make(base, "J", codes=4)
    data = rows(40, "J")
    plan = str(pipe.plan())
    assert "{I, J} by representation; matched on {I, J} given {X}" in plan
    lessons = trainer(pipe, data, tmp_path, reading=2)
    assert [o.name for o in lessons.objectives("IJ")] == [
        "reading",
        "likelihood",
        "denoising-I",
        "denoising-J",
    ]
    before = {n: t.detach().clone() for n, t in pipe.mechanisms["I"].trainable_state().items()}
    lessons.train()
    after = pipe.mechanisms["I"].trainable_state()
    moved = {n for n, t in after.items() if not torch.equal(before[n], t)}
    assert moved >= {n for n in after if n.startswith(("reader.", "head.")) or ".lora_B." in n}
    folders = {p.parent.name for p in (tmp_path / "I+J").rglob("finished.safetensors")}
    assert folders == {"reading", "likelihood", "denoising-I", "denoising-J"}


@pytest.mark.parametrize("label", ["reading", "likelihood", "denoising-I"])
@pytest.mark.parametrize("step", [0, 2])
def test_interrupted_in_or_between_lessons_and_trained_again(base, label, step, tmp_path):
    whole, again = make(base, "L", codes=4), make(base, "L", codes=4)
    data = rows(60, "L")
    config = TrainingConfig(steps=4, batch_size=8, checkpoint_every=1)
    ModularTrainer(whole, data, config=config).train()
    advance = stage_module._Loop._advance

    def advance_or_stop(loop):
        if loop.label.endswith(label) and loop.step == step:
            raise KeyboardInterrupt
        return advance(loop)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage_module._Loop, "_advance", advance_or_stop)
        with pytest.raises(KeyboardInterrupt):
            ModularTrainer(again, data, tmp_path, config).train()
    ModularTrainer(make(base, "L", codes=4), data, tmp_path, config)  # built and left alone
    ModularTrainer(again, data, tmp_path, config).train()
    for name, component in whole.components.items():
        other = again.components[name].trainable_state()
        assert all(torch.equal(t, other[n]) for n, t in component.trainable_state().items()), name


def test_every_part_is_taught_in_one_lesson(base):
    pipe = make(base, "L", codes=4)
    lessons = trainer(pipe, rows(40, "L")).objectives("IL")
    taught = [{id(t) for t in lesson.trainable_state().values()} for lesson in lessons]
    own = {id(t) for m in pipe.components.values() for t in m.trainable_state().values()}
    other = {id(t) for t in pipe.mechanisms["X"].trainable_state().values()}
    assert sum(len(names & own) for names in taught) == len(own - other)
    assert set().union(*taught) >= own - other


def test_codes_are_counted_once_for_all_rows(base):
    pipe = make(base, "L", codes=4)
    objective = trainer(pipe, rows(40, "L")).objectives("IL")[1]
    assert objective.columns == ("L", "X", code_of("I"))
    assert objective.defaults.batch_size is None


@pytest.mark.parametrize(
    "graph",
    [
        "X -> I -> L; U: I, L",
        "X -> L -> I; U: I, L",
        "I <- X -> L; U: I, L",
        "U: I, L; X -> L",
    ],
)
def test_arrows_may_run_beside_the_confounder(base, graph):
    pipe = make(base, "L", codes=4, graph=graph)
    trainer(pipe, rows(40, "L"), reading=2).train()
    out = pipe(3, num_inference_steps=2, generator=torch.Generator().manual_seed(0))
    assert len(out.images["I"]) == 3


def test_an_image_may_be_the_parent_of_the_image_it_is_confounded_with(base):
    pipe = make(base, "J", codes=4, graph="X -> I -> J; U: I, J")
    trainer(pipe, rows(40, "J"), reading=2).train()
    out = pipe(3, num_inference_steps=2, generator=torch.Generator().manual_seed(0))
    assert len(out.images["J"]) == 3


def test_three_members_and_two_confounders(base):
    variables = {"I": PICTURE, "J": PICTURE, "L": TWO, "X": TWO}
    images = {n: DiffusionMechanism.from_pretrained(base, rank=2, codes=3) for n in "IJ"}
    graph = "X -> I; U: I, L; V: I, J"
    pipe = CausalPipeline.from_graph(graph, variables, images, {"U": Confounder(states=3)})
    data = {**rows(40, "J"), "L": rows(40, "L")["L"]}
    trainer(pipe, data, reading=2).train()
    terms = trainer(pipe, data).objectives("IJL")[0].judges
    seen = {"I, J", "I, L", "J, I", "J, L"}
    assert set(terms) == seen | {"I, cluster(J)", "J, cluster(I)"}


def test_a_confounded_image_is_trained_by_its_code(base):
    pipe = make(base, "L")
    assert objective_of(pipe.mechanisms["I"], pipe.mechanisms["L"]) == "representation"
    with pytest.raises(ValueError, match=r"`given` must name categorical"):
        pipe(2, given={"I": torch.zeros(1, 8, 8)})


def test_building_a_reading_moves_no_random_state(base):
    mechanisms = {n: make(base, "L").mechanisms[n] for n in "IL"}
    state = torch.get_rng_state()
    one, two = (ReadingObjective(mechanisms, seed=3).judges.state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one[name], two[name]) for name in one)


BOW = torch.tensor([[0.05, 0.9, 0.1, 0.95], [0.1, 0.95, 0.5, 0.9]])  # P(l = 1 | c mod 2, u)


def bow_rows(number, *, is_set, seed=0):
    """Draw I and L, where I is a cause of L as well; or set I to any quadrant."""
    generator = torch.Generator().manual_seed(seed)
    u = torch.multinomial(HIDDEN, number, replacement=True, generator=generator)
    c = torch.multinomial(STAY[u], 1, generator=generator).squeeze(1)
    c = torch.randint(4, (number,), generator=generator) if is_set else c
    label = torch.bernoulli(BOW[c % 2, u], generator=generator).long()
    return {"I": draw(c, generator), "L": label, "intervened": ["I" if is_set else ""] * number}


def test_rows_in_which_an_image_was_set_teach_what_listens_to_it(base):
    """Each lesson takes its own rows; the law of the code is not asked where I was set."""
    one, other = bow_rows(30, is_set=False), bow_rows(12, is_set=True)
    both = {name: [*one[name], *other[name]] for name in one}
    pipe = CausalPipeline.from_graph(
        "I -> L; U: I, L",
        {"I": Image(1, 8, 8), "L": Categorical([0, 1])},
        {"I": DiffusionMechanism.from_pretrained(base, rank=2, codes=4)},
        {"U": Confounder(states=2)},
    )
    lessons = ModularTrainer(pipe, both, config=TrainingConfig(steps=2, batch_size=8), held_out=0)
    reading, likelihood, denoising = lessons.objectives("IL")
    assert [len(o.select(lessons.rows)) for o in (reading, likelihood, denoising)] == [30, 42, 30]
    told = likelihood.derive(likelihood.select(lessons.rows)).batch(torch.arange(42))
    assert told["do(phi(I))"].tolist() == [0] * 30 + [1] * 12
    losses = likelihood({n: told[n] for n in told if n != "I" or "I" in likelihood.columns}, 0)
    with torch.no_grad():
        for p in pipe.mechanisms["I"].head.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    moved = likelihood(told, 0) != losses
    assert moved[:30].any()
    assert not moved[30:].any()
    lessons.train()
    assert pipe.experiments[1].variables == ("I",)


@pytest.mark.slow
def test_an_image_that_was_set_by_hand_identifies_a_bow(base):
    """P(L | do(I)) is not identifiable from observation, and off by .2 if it is taken so."""
    truth = torch.einsum("u,cu->c", HIDDEN, BOW)
    weight = torch.einsum("u,uc->cu", HIDDEN, STAY)
    naive = (BOW[torch.arange(4) % 2] * weight / weight.sum(1, keepdim=True)).sum(1)
    assert (naive - truth[torch.arange(4) % 2]).abs().max() > 0.2
    parts = [bow_rows(5000, is_set=flag, seed=seed) for seed, flag in enumerate((False, True))]
    both = {name: [x for part in parts for x in part[name]] for name in parts[0]}
    pipe = CausalPipeline.from_graph(
        "I -> L; U: I, L",
        {"I": Image(1, 8, 8), "L": Categorical([0, 1])},
        {"I": DiffusionMechanism.from_pretrained(base, rank=2, codes=8)},
        {"U": Confounder(states=4)},
    )
    overrides = {"I": TrainingConfig(steps=2, batch_size=8)}
    ModularTrainer(
        pipe, both, config=TrainingConfig(steps=800, batch_size=512), overrides=overrides
    ).train()
    generator = torch.Generator().manual_seed(9)
    for c in range(4):
        shown = draw(torch.full((500,), c), generator)
        out = pipe(500, do={"I": shown}, outcomes="L", generator=generator)
        answer = out.probabilities["L"][:, 1].mean()
        assert abs(answer - truth[c % 2]) < 0.05


def test_two_images_of_digits_are_read_for_what_they_share():
    """Both codes say nothing at first; seen through each other alone they would never start."""
    from causal_diffusers.systems import ConfoundedDigits

    torch.manual_seed(0)
    system = ConfoundedDigits.with_image()
    data = system.sample(8000, generator=torch.Generator().manual_seed(0))
    pipe = CausalPipeline.from_graph(
        system.graph,
        system.variables,
        {n: DiffusionMechanism.from_pretrained("causal-diffusers/digits-ddpm") for n in "IJ"},
        {"U": Confounder(states=4)},
    )
    lessons = ModularTrainer(pipe, data, held_out=0)
    reading = lessons.objectives("IJ")[0]
    stage_module.train_stage(reading, lessons.rows, TrainingConfig(steps=250), label="reading")
    hand = system.handwriting
    for name in "IJ":
        shown = torch.tensor(system.digits[name])
        mine = torch.isin(hand.digits, shown)
        classes = (hand.digits[mine][:, None] == shown).int().argmax(dim=1)
        codes = pipe.mechanisms[name].reader.read(2 * hand.images[mine] - 1)
        table = torch.zeros(16, 4).index_put_((codes, classes), torch.ones(len(codes)), True)
        assert table.amax(dim=1).sum() / table.sum() > 0.9
