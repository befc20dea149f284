"""TFDS data sets of twelve pictures, built from files with registered checksums, for offline tests."""

import gzip
import hashlib
import io
import zipfile

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image
from tensorflow_datasets.core.download.checksums import UrlInfo

from keras_sepnets.data.catalogue.originals import GZIP_HEADER, GZIP_TIMES

PIXELS = np.arange(12 * 16, dtype=np.uint8).reshape(12, 4, 4, 1)
LABELS = "\n".join(str(number % 3) for number in range(12))


def pack(data):
    archive = io.BytesIO()
    with gzip.GzipFile("pictures", "wb", fileobj=archive, mtime=GZIP_TIMES[1]) as file:
        file.write(data)
    return archive.getvalue()


def zip_up(text):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(zipfile.ZipInfo("labels.txt"), text)
    return archive.getvalue()


ROOT = "https://pictures.invalid/tiny/"
FILES = {
    f"{ROOT}pictures.gz": pack(PIXELS.tobytes()),
    f"{ROOT}get?file=labels": zip_up(LABELS),
    f"{ROOT}never.asked.for": b"no configuration needs it",
}
NAMES = dict(zip(FILES, ("pictures.gz", "labels.zip", "never.asked.for"), strict=True))
PICTURES, LABELLED, _ = FILES


def without_name(archive):
    """Return the gzip file that `gzip --no-name` would have written."""
    end_of_name = archive.index(b"\0", GZIP_HEADER) + 1
    return archive[:3] + bytes(5) + archive[8:GZIP_HEADER] + archive[end_of_name:]


class TinyPictures(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in ("plain", "hasty")]  # noqa: RUF012
    url_infos = {  # noqa: RUF012
        url: UrlInfo(tfds.core.utils.Size(len(data)), hashlib.sha256(data).hexdigest(), NAMES[url])
        for url, data in FILES.items()
    }

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(4, 4, 1)),
                    "label": tfds.features.ClassLabel(names=["ant", "bee", "cat"]),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        if self.builder_config.name == "hasty":
            dl_manager.download(f"{ROOT}unregistered")
        paths = dl_manager.download_and_extract({"pictures": PICTURES, "labels": LABELLED})
        return {"train": self._generate_examples(paths)}

    def _generate_examples(self, paths):
        labels = (paths["labels"] / "labels.txt").read_text().split()
        pixels = np.frombuffer(paths["pictures"].read_bytes(), np.uint8).reshape(-1, 4, 4, 1)
        for number, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
            yield number, {"image": picture, "label": int(label)}


class TinyByHand(TinyPictures):
    BUILDER_CONFIGS = []  # noqa: RUF012
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Ask the authors for labels.txt and put it here."

    def _split_generators(self, dl_manager):
        pictures = dl_manager.download_and_extract(PICTURES)
        return {"train": self._generate_examples({"pictures": pictures, "labels": dl_manager.manual_dir})}


def photo(width, height, orientation=None):
    """Return a JPEG file with smooth colours, as bytes."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([rows % 256, columns % 256, (rows + columns) // 2 % 256], axis=-1).astype(np.uint8)
    options = {}
    if orientation:
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90, **options)
    return file.getvalue()


PHOTOS = {
    "plain": photo(90, 60),
    "large": photo(500, 300),
    "huge": photo(1500, 1201),
    "turned": photo(300, 500, orientation=6),
}


class TinyPhotos(tfds.core.GeneratorBasedBuilder):
    """JPEG records like those of a camera, with a labelled split that is neither train nor test."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "label": tfds.features.ClassLabel(num_classes=2),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in ("train", "test", "extra")}

    def _generate_examples(self, split):
        for number, content in enumerate([*PHOTOS.values()] * 3):
            yield number, {"image": io.BytesIO(content), "label": number % 2}
