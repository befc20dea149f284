"""Optimizer, schedule and loss."""

import numpy as np
import pytest
import tensorflow as tf
from keras.optimizers import SGD, AdamW, RMSprop

from keras_sepnets import build_mobilenet
from keras_sepnets.base.errors import FailedRunError
from keras_sepnets.settings.schema import TrainingConfig
from keras_sepnets.training.averaging import averaged_weights
from keras_sepnets.training.loop import Position, run_epochs
from keras_sepnets.training.optimization import (
    choose_momentum,
    compile_model,
    decayed_variables,
    make_schedule,
    scaled_learning_rate,
)


@pytest.mark.parametrize("steps", [1, 10, 100, 600, 3000, 10**6])
def test_bn_momentum_forgets_its_start_in_a_tenth_of_the_steps_but_averages_some_batches(steps):
    momentum = choose_momentum(steps, of="batch norm")
    left = momentum ** (steps / 10)
    if steps <= 100:
        assert momentum == 0.9
        assert left >= 0.05
    elif momentum < 0.99:
        assert momentum > 0.9
        assert left == pytest.approx(0.05, rel=0.02)
    else:
        assert momentum == 0.99
        assert left <= 0.05


def small_model():
    return build_mobilenet(alpha=0.0625, input_shape=(32, 32, 3), classes=3)


def test_weight_decay_leaves_depthwise_kernels_norms_and_biases_alone():
    model = small_model()
    compile_model(model, TrainingConfig(learning_rate=0.1, weight_decay=0.5, warmup_epochs=0.0), steps_per_epoch=5)
    before = [variable.numpy() for variable in model.trainable_variables]
    gradients = [np.zeros(variable.shape, np.float32) for variable in model.trainable_variables]
    model.optimizer.apply(gradients, model.trainable_variables)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        decays = variable.name == "kernel" and "depthwise" not in variable.path
        expected = old * (1 - 0.1 * 0.5) if decays else old
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5)


def test_decayed_variables_are_counted_by_hand():
    assert len(decayed_variables(small_model())) == 1 + 13 + 1


@pytest.mark.parametrize(("name", "kind"), [("adamw", "AdamW"), ("rmsprop", "RMSprop"), ("sgd", "SGD")])
def test_optimizer_is_chosen_by_name(name, kind):
    model = small_model()
    compile_model(model, TrainingConfig(optimizer=name), steps_per_epoch=5)
    assert type(model.optimizer).__name__ == kind


@pytest.mark.parametrize(("name", "kind"), [("adamw", AdamW), ("rmsprop", RMSprop), ("sgd", SGD)])
def test_an_optimizer_has_the_variables_of_keras_own(name, kind):
    """In the same order, as checkpoints know them."""
    model = small_model()
    compile_model(model, TrainingConfig(optimizer=name, l2=0.1, ema_momentum=0.9), steps_per_epoch=5)
    momentum = {} if kind is AdamW else {"momentum": 0.9}
    stock = kind(model.optimizer._learning_rate, use_ema=True, **momentum)
    stock.build(model.trainable_variables)
    ours, theirs = ([variable.path.split("/", 1)[1] for variable in o.variables] for o in (model.optimizer, stock))
    assert ours == theirs


def test_learning_rate_warms_up_and_falls_to_zero():
    model = small_model()
    compile_model(model, TrainingConfig(learning_rate=0.5, epochs=10, warmup_epochs=1.0), steps_per_epoch=10)
    schedule = model.optimizer._learning_rate
    assert float(schedule(0)) == 0
    assert float(schedule(5)) == pytest.approx(0.25)
    assert float(schedule(10)) == pytest.approx(0.5)
    assert float(schedule(55)) == pytest.approx(0.25)
    assert float(schedule(100)) == pytest.approx(0, abs=1e-7)


def test_a_step_with_a_nan_loss_updates_nothing():
    model = small_model()
    compile_model(model, TrainingConfig(learning_rate=0.1, warmup_epochs=0.0), steps_per_epoch=5)
    before = [variable.numpy() for variable in [*model.trainable_variables, *model.optimizer.variables]]
    pictures = np.full((2, 32, 32, 3), np.nan, np.float32)
    batches = tf.data.Dataset.from_tensors((pictures, np.array([0, 1], np.int32))).repeat()
    with pytest.raises(FailedRunError, match="NaN or infinite in epoch 3, step 2; nothing was updated"):
        run_epochs(
            model, Position(2, 1), batches, batches.take(1), epochs=3, steps_per_epoch=5, callbacks=[],
            on_step=lambda: None, on_pause=lambda: None,
        )  # fmt: skip
    after = [variable.numpy() for variable in [*model.trainable_variables, *model.optimizer.variables]]
    assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))


@pytest.mark.long
def test_the_average_of_the_weights_is_evaluated_and_the_weights_come_back_to_the_bit():
    model = small_model()
    compile_model(model, TrainingConfig(learning_rate=0.1, warmup_epochs=0, ema_momentum=0.9), steps_per_epoch=5)
    random = np.random.default_rng(0)
    averages = None
    for _ in range(4):
        model.train_on_batch(random.random((8, 32, 32, 3)) * 255, random.integers(0, 3, 8))
        now = [variable.numpy() for variable in model.trainable_variables]
        averages = now if averages is None else [0.9 * a + 0.1 * w for a, w in zip(averages, now, strict=True)]
    with averaged_weights(model):
        for variable, average in zip(model.trainable_variables, averages, strict=True):
            np.testing.assert_allclose(variable.numpy(), average, rtol=1e-4, atol=1e-6)
    after = [variable.numpy() for variable in model.trainable_variables]
    assert all(np.array_equal(one, other) for one, other in zip(now, after, strict=True))


def test_the_average_of_weights_forgets_its_start_too_but_is_longer():
    assert choose_momentum(1000, of="weights") == pytest.approx(0.05**0.01, abs=1e-6)
    assert choose_momentum(10**9, of="weights") == 0.9999


def test_the_exponential_schedule_falls_in_steps():
    config = TrainingConfig(
        learning_rate=0.045, epochs=8, schedule="exponential", decay_rate=0.94, decay_epochs=2.0, warmup_epochs=0.0
    )
    schedule = make_schedule(config, 10, 8)
    expected = [0.045 * 0.94 ** (step // 20) for step in range(80)]
    np.testing.assert_allclose([float(schedule(step)) for step in range(80)], expected, rtol=1e-5)
    warmed = make_schedule(config.model_copy(update={"warmup_epochs": 2.0}), 10, 8)
    assert float(warmed(10)) == pytest.approx(0.0225)
    assert float(warmed(20)) == pytest.approx(0.045)
    assert float(warmed(40)) == pytest.approx(0.045 * 0.94)


def test_the_constant_schedule_is_constant_and_factors_apply():
    config = TrainingConfig(learning_rate=0.2, epochs=3, schedule="constant", warmup_epochs=0.0)
    assert {float(make_schedule(config, 5, 3, 0.5)(step)) for step in range(20)} == {np.float32(0.1)}


def test_the_learning_rate_is_in_proportion_to_the_batch_where_it_says_for_which():
    config = TrainingConfig(learning_rate=0.045, batch_size=24)
    assert scaled_learning_rate(config) == 0.045
    assert scaled_learning_rate(config.model_copy(update={"base_batch_size": 96})) == pytest.approx(0.045 / 4)


def test_l2_is_the_gradient_of_the_squared_weights_and_spares_depthwise_kernels():
    model = small_model()
    config = TrainingConfig(
        optimizer="sgd",
        momentum=0.0,
        learning_rate=0.1,
        weight_decay=0.0,
        l2=0.5,
        warmup_epochs=0.0,
        schedule="constant",
    )
    compile_model(model, config, steps_per_epoch=5)
    before = [variable.numpy() for variable in model.trainable_variables]
    gradients = [np.full(variable.shape, 2.0, np.float32) for variable in model.trainable_variables]
    model.optimizer.apply(gradients, model.trainable_variables)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        decays = variable.name == "kernel" and "depthwise" not in variable.path
        expected = old - 0.1 * (2.0 + (0.5 * old if decays else 0.0))
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5, atol=1e-7)


def test_gradients_are_clipped_to_a_norm_of_all_together():
    model = small_model()
    config = TrainingConfig(
        optimizer="sgd", momentum=0.0, learning_rate=1.0, weight_decay=0.0, clip_norm=0.5, warmup_epochs=0.0,
        schedule="constant",
    )  # fmt: skip
    compile_model(model, config, steps_per_epoch=5)
    before = [variable.numpy() for variable in model.trainable_variables]
    model.optimizer.apply([np.ones(variable.shape, np.float32) for variable in model.trainable_variables])
    moved = [old - variable.numpy() for variable, old in zip(model.trainable_variables, before, strict=True)]
    assert np.sqrt(sum(float((change**2).sum()) for change in moved)) == pytest.approx(0.5, rel=1e-3)


def test_settings_of_rmsprop_and_momentum_arrive():
    model = small_model()
    config = TrainingConfig(optimizer="rmsprop", momentum=0.8, rmsprop_decay=0.7, rmsprop_epsilon=0.5)
    compile_model(model, config, steps_per_epoch=5)
    optimizer = model.optimizer
    assert (optimizer.momentum, optimizer.rho, optimizer.epsilon) == (0.8, 0.7, 0.5)
    compile_model(model, config.model_copy(update={"optimizer": "sgd"}), steps_per_epoch=5)
    assert model.optimizer.momentum == 0.8
