"""Trainings that take no time: run folders with everything that an experiment reads of a run."""

from types import SimpleNamespace

import numpy as np

from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.runs.folder import Run

EXAMPLES = 40


def pretend_plan(config, **_):
    """Return as much of a plan as an experiment looks at; networks are their settings."""
    training = config.training.model_copy(
        update={"accelerate": "off", "jit_compile": "off", "intra_op_threads": 1, "precise_batch_norm": 0}
    )
    settings = config.model.model_dump()
    if settings.get("intermediate_activation") == "linear":
        settings["intermediate_activation"] = None  # the same network
    return SimpleNamespace(
        config=config.model_copy(update={"training": training}),
        network=SimpleNamespace(get_config=lambda: {"layers": [settings]}),
        batch_size=32,
    )


class PretendedTrainer:
    """Stands in for `train`: right answers depend on the settings and the seed alone."""

    def __init__(self):
        self.trained = []
        self.failing = set()  # names of run folders, as in relu/seed-1
        self.diverging_rate = None

    def train(self, config, *, output, callbacks=(), **_):
        name = f"{output.parent.name}/{output.name}"
        if name in self.failing:
            raise FailedRunError("the disk is full")
        self.trained.append(name)
        run = Run(output)
        output.mkdir(parents=True)
        run.write_json("config.json", config.model_dump(mode="json"))
        right = self.right_answers(config)
        top1 = float(right.mean())
        run.write_json("labels.json", ["a", "b"])
        parts = {"num_examples": EXAMPLES, "from": "here", "digest": "same"}
        run.write_json("data.json", {"train": {**parts, "num_examples": 320}, "validation": parts, "test": parts})
        run.write_json(
            "cost.json", {"parameters": {"total": 1000}, "multiply_adds": int(1e6 * config.model.alpha)}
        )
        run.write_json("environment.json", {"started": "2026-11-26T00:00:00", "python": "3.12", "packages": {}})
        rows = [["epoch", "loss", "top1", "val_loss", "val_top1", "seconds"]]
        epochs = int(config.training.epochs)
        rows += [[n, 2 / n, top1 * n / epochs, 2 / n, top1 * n / epochs, 1.0] for n in range(1, epochs + 1)]
        run.write_csv("history.csv", rows)
        run.write_json("evaluation-test.json", {
            "top1": top1, "num_examples": EXAMPLES, "majority_top1": 0.5, "checkpoint": "final",
        })  # fmt: skip
        columns = ["path", "label", "predicted", "probability", "label_probability", "p(a)", "p(b)"]
        predictions = [[str(n), "a", "a" if is_right else "b", 1, 1, 1, 0] for n, is_right in enumerate(right)]
        run.write_csv("predictions-test.csv", [columns, *predictions])
        (output / "final.keras").write_bytes(b"")
        run.write_json("training.json", {"train_seconds": 10.0, "seconds": {"training": 10.0}})
        return SimpleNamespace(run=run)

    def right_answers(self, config):
        """Return which test answers are right: more for wider networks, best at a learning rate of 0.03."""
        model, training = config.model, config.training
        seeds = [training.seed_of("weights"), training.seed_of("order"), config.data.holdout_seed or 0]
        random = np.random.default_rng(seeds)
        share = 0.6 + 0.2 * min(model.alpha, 1) - 0.1 * abs(np.log10(training.learning_rate / 0.03))
        share -= 0.2 * (getattr(model, "residual", True) in (None, False))
        return random.random(EXAMPLES) < share


def pretend_trainings(patch):
    """Let experiments plan and train by pretending; return the trainer."""
    trainer = PretendedTrainer()
    patch.setattr("keras_sepnets.lab.ablation.make_plan", pretend_plan)
    patch.setattr("keras_sepnets.lab.experiment.train", trainer.train)
    patch.setattr("keras_sepnets.lab.ablation.write_reports", lambda _result, _folder: None)
    return trainer
