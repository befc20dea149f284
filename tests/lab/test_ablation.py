"""The matrix of an experiment from the first run to the results; most runs are pretended (see pretended.py)."""

import json
import multiprocessing
import shutil
import time
from types import SimpleNamespace

import numpy as np
import pytest
from pretended import pretend_trainings

from keras_sepnets import Run, SepnetsError
from keras_sepnets.base.errors import DivergedError, FailedRunError, InterruptedRunError
from keras_sepnets.base.files import locked
from keras_sepnets.lab.ablation import Planning, ablate
from keras_sepnets.lab.budget import Duration
from keras_sepnets.lab.definition import make_experiment, read_definition
from keras_sepnets.lab.jobs import Running
from keras_sepnets.lab.opening import find_experiment
from keras_sepnets.lab.results import read_results

BASE = {"model.name": "xception", "model.alpha": 0.25, "model.middle_repeats": 0, "training.epochs": 2}
RESIDUAL = [{"name": "with"}, {"name": "without", "settings": {"model.residual": False}}]


def experiment(**keys):
    return make_experiment({"base": BASE, "variants": RESIDUAL, "seeds": 2, **keys})


@pytest.fixture
def trainer(monkeypatch):
    return pretend_trainings(monkeypatch)


def test_trains_every_arm_with_every_seed_and_adds_seeds(trainer, tmp_path):
    said = []
    running = Running(on_event=lambda event: said.append((event.kind, event.run)))
    ablate(experiment(seeds=1), output=tmp_path / "x", running=running)
    assert trainer.trained == ["with/seed-0", "without/seed-0"]
    assert said == [("start", 0), ("finished", 0), ("start", 1), ("finished", 1)]
    result = ablate(experiment(), output=tmp_path / "x")
    assert trainer.trained[2:] == ["with/seed-1", "without/seed-1"]
    assert result.seeds == [0, 1]
    assert read_definition(tmp_path / "x").seeds == 2
    configs = [Run(run.run).config for arm in result.arms for run in arm.runs]
    assert [config.data.holdout_seed for config in configs] == [0, 1, 0, 1]


def test_results_follow_from_the_runs(trainer, tmp_path):
    asked = experiment(seeds=4, margin=0.05, reach=[0.1, 0.99], question="Why?", command="sepnets ablate x")
    result = ablate(asked, output=tmp_path / "x")
    assert json.loads((tmp_path / "x" / "results.json").read_text()) == result.to_json()
    assert read_results(tmp_path / "x") == result
    assert (result.question, result.command, result.margin) == ("Why?", "sepnets ablate x", 0.05)
    before, after = result.arms
    for arm in result.arms:
        top1 = [Run(run.run).read_json("evaluation-test.json")["top1"] for run in arm.runs]
        assert arm.top1 == top1
        assert arm.mean == pytest.approx(np.mean(top1))
        assert arm.std == pytest.approx(np.std(top1, ddof=1))
        assert [run.seed for run in arm.runs] == [0, 1, 2, 3]
        assert [(row.epoch, row.step) for row in arm.runs[0].history] == [(1, 10), (2, 20)]
        assert arm.runs[0].val_top1 == arm.runs[0].top1
        assert [(one.epochs, one.censored) for one in arm.reached] == [(1.0, 0), (None, 4)]
    top1, loss = result.comparisons
    assert (top1.metric, top1.reference, top1.arm) == ("top1", "with", "without")
    assert top1.difference == pytest.approx(np.mean(np.subtract(after.top1, before.top1)))
    assert top1.bootstrap_interval is not None
    assert top1.equivalent is not None
    assert (loss.metric, loss.verdict) == ("training_loss", "no measurable difference")


def test_a_change_of_the_loss_leaves_only_the_test_to_compare(trainer, tmp_path):
    smoothed = [{"name": "plain"}, {"name": "smooth", "settings": {"training.label_smoothing": 0.1}}]
    result = ablate(experiment(variants=smoothed), output=tmp_path / "x")
    assert result.comparisons[1].verdict.startswith("not comparable")


@pytest.mark.long
def test_several_comparisons_share_the_error(trainer, tmp_path):
    variants = [{"name": f"a{alpha}", "settings": {"model.alpha": alpha}} for alpha in (0.25, 0.5, 1.0)]
    result = ablate(experiment(variants=variants, seeds=6), output=tmp_path / "x")
    for metric in ("top1", "training_loss"):
        pairs = [one for one in result.comparisons if one.metric == metric and one.p is not None]
        assert all(one.p_holm >= one.p for one in pairs)
    assert len([one for one in result.comparisons if one.metric == "top1"]) == 2


def test_settings_of_one_network_are_not_compared(trainer, tmp_path):
    variants = [{"name": "open"}, {"name": "linear", "settings": {"model.intermediate_activation": "linear"}}]
    with pytest.raises(SepnetsError, match="Both networks are the same"):
        ablate(experiment(variants=variants), output=tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_another_experiment_in_the_folder_is_refused(trainer, tmp_path):
    output = tmp_path / "x"
    ablate(experiment(margin=0.01), output=output)
    for change, sentence in (
        ({"base": BASE | {"training.epochs": 3}}, "its base.training.epochs is 2, not 3"),
        ({"margin": 0.02}, "its margin is 0.01, not 0.02"),
        ({"fixed": ["split"]}, "its fixed is"),
        ({"variants": [RESIDUAL[0], RESIDUAL[1] | {"settings": {"model.alpha": 0.5}}]}, "its arms.without.model"),
    ):
        with pytest.raises(SepnetsError, match="another experiment") as caught:
            ablate(experiment(**{"margin": 0.01, **change}), output=output)
        assert sentence in str(caught.value)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.txt").write_text("x")
    with pytest.raises(SepnetsError, match="not empty"):
        ablate(experiment(), output=tmp_path / "thesis")
    assert len(trainer.trained) == 4


def test_a_file_of_somebody_stays_as_it_is(trainer, tmp_path):
    text = f"# mine\nseeds = 1\nbase = {{ model.name = 'xception', training.epochs = 1 }}\n"  # noqa: F541
    text += '[[variants]]\nname = "a"\n[[variants]]\nname = "b"\nsettings.model.residual = false\n'
    (tmp_path / "experiment.toml").write_text(text)
    definition = read_definition(tmp_path)
    ablate(definition.model_copy(update={"seeds": 2}), output=tmp_path)
    assert (tmp_path / "experiment.toml").read_text() == text


def hold(folder, held):
    with locked(folder, "held"):
        held.set()
        time.sleep(30)


def test_two_processes_do_not_work_in_one_folder(trainer, tmp_path):
    ablate(experiment(seeds=1), output=tmp_path / "x")
    context = multiprocessing.get_context("fork")
    held = context.Event()
    other = context.Process(target=hold, args=(tmp_path / "x", held), daemon=True)
    other.start()
    held.wait()
    try:
        with pytest.raises(SepnetsError, match="Another process is running this experiment"):
            ablate(experiment(), output=tmp_path / "x")
    finally:
        other.kill()
        other.join()
    assert len(trainer.trained) == 2


def test_a_failed_run_does_not_end_the_others(trainer, tmp_path):
    trainer.failing = {"without/seed-0"}
    seen = []
    with pytest.raises(FailedRunError, match=r"1 of 6 runs failed.*without, seed 0: the disk is full"):
        ablate(experiment(seeds=3), output=tmp_path / "x", on_result=seen.append)
    assert len(trainer.trained) == 5
    (result,) = seen
    assert [len(arm.runs) for arm in result.arms] == [3, 2]
    trainer.failing = set()
    again = ablate(experiment(seeds=3), output=tmp_path / "x")
    assert trainer.trained[5:] == ["without/seed-0"]
    assert [len(arm.runs) for arm in again.arms] == [3, 3]


def test_an_arm_that_always_fails_is_left_out(trainer, tmp_path):
    trainer.failing = {"without/seed-0", "without/seed-1"}
    seen = []
    with pytest.raises(FailedRunError, match="2 of 4 runs failed"):
        ablate(experiment(), output=tmp_path / "x", on_result=seen.append)
    assert [arm.name for arm in seen[0].arms] == ["with"]
    assert not seen[0].comparisons


def test_runs_that_were_stopped_are_resumed_and_unfinished_ones_trained_again(trainer, tmp_path, monkeypatch):
    output = tmp_path / "x"
    whole = ablate(experiment(), output=output)
    stopped, begun = Run(output / "with" / "seed-0"), Run(output / "without" / "seed-1")
    shutil.copytree(stopped.path, tmp_path / "kept")
    for run in (stopped, begun):
        (run.path / "training.json").unlink()
    (stopped.checkpoints_folder / "step-00000001").mkdir(parents=True)
    (begun.path / "half").write_text("x")
    resumed = []

    def finish(run, **_):
        resumed.append(run.path)
        shutil.copy(tmp_path / "kept" / "training.json", run.path)
        return SimpleNamespace(run=run)

    monkeypatch.setattr("keras_sepnets.lab.experiment.resume", finish)
    monkeypatch.setattr(Run, "has_checkpoints", property(lambda run: run.path == stopped.path))
    again = ablate(experiment(), output=output)
    assert resumed == [stopped.path]
    assert trainer.trained[4:] == ["without/seed-1"]
    assert not (begun.path / "half").exists()
    assert again == whole


def test_ctrl_c_says_how_to_continue(trainer, tmp_path, monkeypatch):
    train = trainer.train

    def interrupt(config, *, output, **options):
        if output.parent.name == "without":
            raise InterruptedRunError("")
        return train(config, output=output, **options)

    monkeypatch.setattr("keras_sepnets.lab.experiment.train", interrupt)
    with pytest.raises(InterruptedRunError, match=r"in without, seed 0, with 1 of 4 runs finished. Run the same"):
        ablate(experiment(), output=tmp_path / "x")


def test_an_experiment_of_0_1_0_is_continued_with_the_split_that_it_had(trainer, tmp_path):
    output = tmp_path / "x"
    settings = ({"residual": True}, {"residual": False})
    base = {
        "model": {"name": "xception", "alpha": 0.25, "middle_repeats": 0, "segments": None},
        "data": {"dataset": "digits", "image_size": None},
        "training": {"epochs": 2, "seed": 0},
    }
    sides = dict(zip(("reference", "ablated"), zip(("with", "without"), settings, strict=True), strict=True))
    output.mkdir()
    (output / "experiment.json").write_text(json.dumps({"base": base, **sides}))
    found = find_experiment(output)
    assert [(one.name, one.settings) for one in found.variants] == [
        ("with", {"model.residual": True}), ("without", {"model.residual": False}),
    ]  # fmt: skip
    same = make_experiment({
        "base": BASE, "seeds": 2,
        "variants": [{"name": name, "settings": {"model.residual": value}} for name, value in
                     (("with", True), ("without", False))],
    })  # fmt: skip
    result = ablate(same, output=output)
    assert [Run(run.run).config.data.holdout_seed for arm in result.arms for run in arm.runs] == [None] * 4
    assert result.fixed == ["split"]
    assert not (output / "experiment.toml").exists()
    assert find_experiment(output).seeds == 2


def test_pilots_choose_a_learning_rate_for_every_arm(trainer, tmp_path):
    tune = {"learning_rate": [0.1, 0.03, 0.01], "seeds": 1}
    result = ablate(experiment(tune=tune), output=tmp_path / "x")
    pilots = [name for name in trainer.trained if "1000" in name]
    assert len(pilots) == 6
    assert Run(tmp_path / "x" / "pilots" / "with" / "lr-0.03" / "seed-1000").config.training.seed == 1000
    for arm in result.arms:
        assert list(arm.tuned.tried) == ["0.01", "0.03", "0.1"]
        best = max(arm.tuned.tried, key=arm.tuned.tried.get)
        assert arm.tuned.learning_rate == float(best)
        assert arm.tuned.at_end == (best != "0.03")
        assert {run.learning_rate for run in arm.runs} == {arm.tuned.learning_rate}
        assert {run.seed for run in arm.runs} == {0, 1}
    ablate(experiment(tune=tune), output=tmp_path / "x")
    assert len(trainer.trained) == 10


def test_a_rate_that_diverges_is_not_chosen_and_ends_nothing(trainer, tmp_path, monkeypatch):
    train = trainer.train

    def diverge(config, *, output, **options):
        if config.training.learning_rate == 0.1:
            raise FailedRunError("the loss became NaN") from DivergedError()
        return train(config, output=output, **options)

    monkeypatch.setattr("keras_sepnets.lab.experiment.train", diverge)
    result = ablate(experiment(tune={"learning_rate": [0.01, 0.1]}), output=tmp_path / "x")
    assert [arm.tuned.tried["0.1"] for arm in result.arms] == [0.0, 0.0]
    assert {arm.tuned.learning_rate for arm in result.arms} == {0.01}


def test_seeds_are_added_until_the_interval_decides(trainer, tmp_path):
    said = []
    result = ablate(
        experiment(until_decided=True, seeds=30, variants=[
            {"name": "wide", "settings": {"model.alpha": 1.0}},
            {"name": "flat", "settings": {"model.alpha": 0.0625, "model.residual": False}},
        ]),
        output=tmp_path / "x",
        planning=Planning(on_progress=said.append),
    )  # fmt: skip
    top1 = result.comparisons[0]
    assert 6 <= len(result.seeds) < 30
    assert said[-1] == f"after {len(result.seeds)} seeds: all decided"
    assert top1.verdict == "worse"
    assert top1.sequence == top1.interval
    assert top1.sequence[1] < 0
    assert (top1.p, top1.p_holm, top1.bootstrap_interval) == (None, None, None)


@pytest.mark.long
def test_seeds_end_where_nothing_is_decided(trainer, tmp_path):
    variants = [{"name": "a"}, {"name": "b", "settings": {"training.weight_decay": 0.0}}]
    result = ablate(experiment(until_decided=True, seeds=7, variants=variants), output=tmp_path / "x")
    assert result.seeds == list(range(7))
    assert result.comparisons[0].verdict == "not decided after 7 seeds"


def test_a_budget_takes_as_many_seeds_as_fit(trainer, tmp_path):
    said = []
    ablate(experiment(seeds=1), output=tmp_path / "x")  # both runs took 10 s
    planning = Planning(budget=65.0, on_progress=said.append)
    result = ablate(experiment(seeds=8), output=tmp_path / "x", planning=planning)
    assert result.seeds == [0, 1, 2, 3]  # three more seeds of two runs
    assert said == ["4 seeds of 8 fit into 1 min, about 1 min"]


@pytest.mark.long
def test_a_budget_that_is_too_small_for_five_seeds_takes_fewer_epochs(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr("keras_sepnets.lab.ablation.measure", lambda *_: Duration(once=1.0, epoch=10.0))
    said = []
    planning = Planning(budget=150.0, on_progress=said.append)  # a seed of both arms takes 42 s
    result = ablate(experiment(seeds=8), output=tmp_path / "x", planning=planning)
    assert result.seeds == [0, 1, 2, 3, 4]
    assert {len(run.history) for arm in result.arms for run in arm.runs} == {1}
    assert said[-1].startswith("5 seeds of 1 epoch fit into 2 min")
    again = ablate(experiment(seeds=8), output=tmp_path / "x", planning=planning)
    assert {len(run.history) for arm in again.arms for run in arm.runs} == {1}
    with pytest.raises(SepnetsError, match="not even one seed"):
        ablate(experiment(), output=tmp_path / "y", planning=Planning(budget=5.0))
    assert not (tmp_path / "y").exists()


@pytest.mark.usefixtures("_warm_workers")
def test_runs_train_in_parallel_processes(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_sepnets.lab.ablation.write_reports", lambda _result, _folder: None)
    base = {
        "model.alpha": 0.0625, "model.shallow": True, "data.image_size": 32, "training.epochs": 1,
        "training.batch_size": 256, "training.accelerate": "on", "training.precise_batch_norm": 0,
        "training.intra_op_threads": 1,
    }  # fmt: skip
    tiny = make_experiment({
        "base": base, "seeds": 1,
        "variants": [{"name": "a"}, {"name": "b", "settings": {"training.weight_decay": 0.0}}],
    })  # fmt: skip
    events = []
    result = ablate(tiny, output=tmp_path / "x", running=Running(jobs=2, on_event=events.append))
    assert [arm.runs[0].seed for arm in result.arms] == [0, 0]
    assert sorted((event.kind, event.run) for event in events if event.kind != "step") == [
        ("finished", 0), ("finished", 1), ("start", 0), ("start", 1),
    ]  # fmt: skip
    assert [arm.top1 == [run.top1 for run in arm.runs] for arm in result.arms] == [True, True]
