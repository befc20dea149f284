"""The settings of a run: frozen and strict. `files.py` reads and writes them."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from keras_sepnets.base.files import whole_path
from keras_sepnets.settings.networks import DEFAULT_NETWORK as DEFAULT_NETWORK
from keras_sepnets.settings.networks import NETWORK_SETTINGS as NETWORK_SETTINGS
from keras_sepnets.settings.networks import InceptionV3Config as InceptionV3Config
from keras_sepnets.settings.networks import MobileNetConfig as MobileNetConfig
from keras_sepnets.settings.networks import MobileNetV2Config as MobileNetV2Config
from keras_sepnets.settings.networks import ModelConfig as ModelConfig
from keras_sepnets.settings.networks import PositiveFloat, Rate, Settings, none_word
from keras_sepnets.settings.networks import XceptionConfig as XceptionConfig


class AugmentationConfig(Settings):
    """How training pictures vary: amounts are drawn for each picture; the defaults change nothing."""

    smallest_crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    """smallest area of a random crop, as a share; 1: the central crop, as in evaluation"""
    crop_aspect: Annotated[float, Field(ge=1)] = 4 / 3
    """largest ratio of the sides of a random crop"""
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    """largest angle, in degrees"""
    zoom: Rate = 0.0
    """largest change of the scale, as a share"""
    shift: Rate = 0.0
    """largest shift in each direction, as a share of the size; pads with repeated edges"""
    flip: bool = False
    """true: mirror half of the pictures left to right"""
    brightness: Rate = 0.0
    """largest change, as a share of the full range"""
    contrast: Rate = 0.0
    """largest change of the distance to the picture's mean, as a share"""
    saturation: Rate = 0.0
    """largest change of the distance to grey, as a share"""
    randaugment: Annotated[int, Field(ge=0, le=4)] = 0
    """number of RandAugment operations (arXiv:1909.13719); 0: off"""
    randaugment_magnitude: Annotated[float, Field(ge=0, le=10)] = 9.0
    """magnitude of RandAugment operations, 0 to 10"""
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """probability of covering 2 to 33 % of the area with grey (arXiv:1708.04896)"""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """alpha of MixUp (arXiv:1710.09412); 0: off"""
    cutmix: Annotated[float, Field(ge=0)] = 0.0
    """alpha of CutMix (arXiv:1905.04899); 0: off; with MixUp too, each batch gets one of them"""

    @property
    def mixes(self) -> bool:
        """Whether pictures are mixed, so that labels become probabilities."""
        return self.mixup > 0 or self.cutmix > 0

    def describe(self) -> str:
        """List the changes in one line; empty if there are none."""
        changes = self.model_dump(exclude_defaults=True)
        return ", ".join(f"{name} {value:g}" if value is not True else name for name, value in changes.items())


AUGMENTATIONS = {
    "none": AugmentationConfig(),
    "light": AugmentationConfig(rotation=10, zoom=0.1, shift=0.1),  # keeps handedness: for symbols
    "standard": AugmentationConfig(smallest_crop=0.35, flip=True, brightness=0.2, contrast=0.2),
    "strong": AugmentationConfig(smallest_crop=0.2, flip=True, randaugment=2, erasing=0.25, mixup=0.2, cutmix=1.0),
}


class DataConfig(Settings):
    """The data set, the picture size and the augmentation."""

    dataset: Annotated[str, Field(min_length=1)] = "digits"
    """a TFDS name, "folder:PATH" or "manifest:FILE\""""
    path_column: Annotated[str, Field(min_length=1)] | None = None
    """column of a manifest with the pictures; default: path, or the one that is clearly meant"""
    label_column: Annotated[str, Field(min_length=1)] | None = None
    """column of a manifest with the classes; default: label, or the one that is clearly meant"""
    class_names: Literal["composed", "as_written"] = "composed"
    """of picture files: in composed Unicode (NFC), or as_written, as in runs of version 0.1.0"""
    image_size: Annotated[int, Field(ge=1)] | None = None
    """height and width in px; default: the paper's, or twice that of small pictures (at least 64)"""
    crop_fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """share of the (shorter) side that evaluation sees; default: 0.875, or 1 without a crop or up to 64 px"""
    fit: Literal["crop", "pad", "stretch"] = "crop"
    """crop to the central square, pad the whole picture with grey, or stretch it to a square"""
    sixteen_bit: Literal["auto", "high_byte", "stretch"] = "auto"
    """16-bit samples: their high byte, or stretch a range; auto: stretch where the data set uses little"""
    sixteen_bit_black: float | None = None
    """the 16-bit value that stretch makes black; default: measured"""
    sixteen_bit_white: float | None = None
    """the 16-bit value that stretch makes white; default: measured"""
    max_megapixels: PositiveFloat | None = None
    """larger pictures are refused; default: 250 for JPEG, 50 for others, or what fits into 300 MB"""
    augment: Literal["none", "light", "standard", "strong"] | None = None
    """none, light, standard or strong; default: light for symbols, otherwise standard"""
    augmentation: Annotated[AugmentationConfig | None, BeforeValidator(lambda value: value or None)] = None
    """amounts that override those of the preset"""
    holdout_fraction: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """share of train to hold out for validation, and for test, if the data set has none"""
    on_bad_picture: Literal["stop", "skip"] = "stop"
    """stop at a picture file that cannot be read, or skip it"""
    overfit: Annotated[int, Field(ge=0)] = 0
    """train and test on this many pictures, to see if they can be learned by heart; 0: off"""
    folds: Annotated[int, Field(ge=0)] = 0
    """folds of a cross-validation, into which all pictures are divided; 0: off"""
    fold: Annotated[int, Field(ge=0)] | Literal["none"] = 0
    """the fold to test on, from 0; none: train on every picture, without validation and test"""

    @property
    def trains_on_all(self) -> bool:
        """Whether nothing is held out: the final network of a cross-validation."""
        return self.folds > 0 and self.fold == "none"

    @property
    def evaluated_role(self) -> Literal["train", "test"]:
        """The role on which a finished run is evaluated."""
        return "train" if self.trains_on_all else "test"


class TransferConfig(Settings):
    """The weights that a run starts from, and the stages that it freezes."""

    weights: Annotated[Annotated[str, Field(min_length=1)] | None, BeforeValidator(none_word)] = None
    """initial weights: "imagenet", a run folder or a weight file; default: random"""
    freeze: Annotated[Annotated[str, Field(min_length=1)] | None, BeforeValidator(none_word)] = None
    """last frozen stage, such as block7, entry_flow or backbone; default: nothing is frozen"""
    unfreeze_after: Annotated[int, Field(ge=0)] = 0
    """unfreeze everything after this many epochs; 0: never"""
    learning_rate_factor: PositiveFloat = 0.1
    """factor of the learning rate after unfreezing"""
    classifier: Literal["auto", "fitted", "given", "random"] = "auto"
    """start of the classifier: fitted by logistic regression, given by the weights, or random; auto: what fits"""
    batch_norm: Literal["auto", "frozen", "moving"] = "auto"
    """frozen: keep the statistics of the weights; moving: update them; auto: frozen if weights are given"""

    def with_whole_path(self) -> "TransferConfig":
        """Return these settings with an absolute path of the weights, valid wherever a run is resumed."""
        if self.weights in (None, "imagenet"):
            return self
        return self.model_copy(update={"weights": str(whole_path(str(self.weights)))})


def _on_or_off(value: Any) -> Any:
    """Read true and false, which runs of version 0.1.0 have, as on and off."""
    return ("on" if value else "off") if isinstance(value, bool) else value


class TrainingConfig(Settings):
    """How the network is trained."""

    epochs: Annotated[int, Field(ge=0)] | Literal["auto"] = 12
    """passes over the training pictures; 0: only fit the classifier; auto: as many as fit into --max-time"""
    min_steps: Annotated[int, Field(ge=0)] = 0
    """optimizer steps at least: more epochs for small data sets, unless --epochs is given"""
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = 32
    """pictures per step; auto: as many as fit into memory, by measurement"""
    optimizer: Literal["adamw", "rmsprop", "sgd"] = "adamw"
    """adamw, rmsprop or sgd"""
    learning_rate: PositiveFloat = 0.02
    """peak learning rate, reached after the warm-up"""
    base_batch_size: Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(none_word)] = None
    """scale learning_rate by batch_size / base_batch_size; default: no scaling"""
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"
    """cosine (to 0), exponential (by decay_rate every decay_epochs) or constant"""
    warmup_epochs: Annotated[float, Field(ge=0)] = 1.0
    """epochs in which the learning rate rises from 0 to its peak"""
    decay_rate: Annotated[float, Field(gt=0, le=1)] = 0.94
    """factor of the exponential schedule"""
    decay_epochs: PositiveFloat = 2.0
    """epochs between two decays of the exponential schedule"""
    momentum: Rate = 0.9
    """momentum of sgd and rmsprop"""
    rmsprop_decay: Rate = 0.9
    """decay of rmsprop's mean of squared gradients"""
    rmsprop_epsilon: PositiveFloat = 1e-3
    """added to rmsprop's mean of squared gradients, under the root"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.004
    """decoupled weight decay; like l2, not on depthwise kernels, batch norm, biases"""
    l2: Annotated[float, Field(ge=0)] = 0.0
    """l2 penalty, added to the gradients: the papers' weight decay"""
    clip_norm: Annotated[float, Field(ge=0)] = 0.0
    """largest global norm of the gradients; 0: no clipping"""
    label_smoothing: Rate = 0.0
    """share of each label that is spread over all classes"""
    ema_momentum: Rate | Literal["auto"] = 0.0
    """momentum of averaged weights, which are saved; auto: by the number of steps; 0: off"""
    precise_batch_norm: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """training batches that give batch norm its statistics before an evaluation; 0: moving averages"""
    keep: Literal["auto", "best", "final"] = "auto"
    """network that is tested and used: of the best epoch on validation, or of the last one"""
    class_weights: Literal["none", "balanced"] = "none"
    """none, or balanced: every class has the same total weight in the loss"""
    precision: Literal["auto", "float32", "bfloat16", "mixed_float16", "mixed_bfloat16"] = "float32"
    """bfloat16: except in depthwise convolutions; auto: the faster, by measurement; saved as float32"""
    accelerate: Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_or_off)] = "auto"
    """on: fused operations, equal up to rounding; off; auto: the faster, by measurement"""
    jit_compile: Literal["auto", "on", "off"] = "auto"
    """XLA; auto: the faster on GPUs, by measurement; off on CPUs, where XLA is ten times slower"""
    intra_op_threads: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    """threads per operation on CPUs; 0: one per core; auto: 1 if faster, by measurement"""
    patience: Annotated[int, Field(ge=0)] = 0
    """stop after this many epochs without improvement; 0: off"""
    stop_after: Annotated[float, Field(ge=0, le=1)] = 1.0
    """share of the epochs after which training stops, on the learning rate schedule of all of them"""
    deterministic: bool = False
    """true: bit-identical results on GPUs too, at some cost in speed"""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """seed of the initial weights, the order and the augmentation"""

    @property
    def dtype_policy(self) -> str:
        """Keras' dtype policy of the trained network; bfloat16 affects only convolutions."""
        return self.precision if self.precision.startswith("mixed") else "float32"


class RunConfig(Settings):
    """Everything that determines the outcome of a run."""

    model: ModelConfig = MobileNetConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()
    transfer: TransferConfig = TransferConfig()


SECTIONS: dict[str, type[Settings]] = {
    "data": DataConfig,
    "training": TrainingConfig,
    "transfer": TransferConfig,
}
