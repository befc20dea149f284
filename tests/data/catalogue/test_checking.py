import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from keras_sepnets.cli import main
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.catalogue.checking import check_source
from keras_sepnets.data.sources.opening import open_source, open_to_check
from keras_sepnets.settings.schema import DataConfig


@pytest.fixture
def folder(picture_folder, tmp_path):
    return shutil.copytree(picture_folder, tmp_path / "set")


def check(name):
    name = str(name) if str(name).startswith("manifest:") else f"folder:{name}"
    return check_source(open_to_check(DataConfig(dataset=name)))


def issues(folder):
    return {issue.kind: issue for issue in check(folder).issues}


def test_good_pictures_are_counted_by_class_and_role_and_have_no_issues(folder):
    result = check(folder)
    assert result.issues == ()
    assert not result.has_errors
    assert result.num_examples == {"train": 48, "validation": 6, "test": 6}
    assert result.classes == {name: {"train": 16, "validation": 2, "test": 2} for name in ("blue", "green", "red")}
    assert result.sizes == {
        "width": {"smallest": 51, "median": 60, "largest": 70},
        "height": {"smallest": 40, "median": 49, "largest": 59},
    }
    assert result.colours == {"RGB": 60}
    assert [len(pictures) for pictures in result.thumbnails.values()] == [8, 8, 8]


def test_files_that_cannot_be_read_are_all_named(folder):
    truncated = folder / "red" / "03.jpg"
    truncated.write_bytes(truncated.read_bytes()[:-400])
    (folder / "blue" / "words.png").write_text("words")
    found = issues(folder)["unreadable"]
    assert found.severity == "error"
    assert len(found.examples) == 2
    assert any("red/03.jpg is damaged" in example for example in found.examples)
    assert any("words.png is not a JPEG" in example for example in found.examples)


def test_a_whole_class_that_cannot_be_read_is_reported_with_all_else(folder):
    for file in (folder / "red").iterdir():
        file.write_text("words")
    (folder / "empty").mkdir()
    found = issues(folder)
    assert len(found["unreadable"].examples) == 20
    refusals = found["unusable"].examples
    assert 'class "empty" has no pictures' in refusals[0]
    assert 'class "red" can be read, such as' in refusals[1]
    assert "00.jpg" in refusals[1]
    assert "is not a JPEG" in refusals[1]
    assert check(folder).classes["blue"] == {"train": 16, "validation": 2, "test": 2}


def test_everything_in_a_list_is_reported_missing_files_apart(folder):
    rows = [f"red/{number:02d}.jpg,red" for number in range(30)] + [
        f"blue/{number:02d}.jpg,blue" for number in range(20)
    ]
    rows += [
        "red/00.jpg,red",
        "green/00.jpg,",
        "green/01.jpg,green,test",
        "green/02.jpg,green,never",
        "a,b,test,c",
    ]
    (folder / "list.csv").write_text("\n".join(["path,label,split", *rows]))
    found = issues(f"manifest:{folder}/list.csv")
    missing = sorted(path.rpartition("/")[2] for path in found["missing"].examples)
    assert missing == [f"{number}.jpg" for number in range(20, 30)]
    refusals = " ".join(found["unusable"].examples)
    words = ("needs a label", "'never'", "listed twice", '"green", which train', "has 4 columns")
    assert all(word in refusals for word in words)
    assert "unreadable" not in found


@pytest.mark.parametrize(
    ("moves", "sentence"),
    [
        ({"green": "train/green", "red": "train/red", "blue": "bus"}, "has train and also bus"),
        ({"green": "train_1/green", "red": "train_2/red", "blue": "train_1/blue"}, "two folders for train"),
        ({"green": "test/green", "red": "test/red", "blue": "test/blue"}, "has test and no train folder"),
        ({"green": "train/train/green", "red": "train/test/red", "blue": "train/train/blue"}, "names of splits"),
        ({"green": "cats/2020", "red": "cats/2021", "blue": "cats/2022"}, "at least two classes"),
    ],
)
def test_folders_that_are_not_understood_are_reported_with_all_else(folder, tmp_path, moves, sentence):
    (folder / "red" / "00.jpg").write_text("words")
    for name, place in moves.items():
        (tmp_path / "new" / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).rename(tmp_path / "new" / place)
    found = issues(tmp_path / "new")
    assert sentence in " ".join(found["unusable"].examples)
    assert len(found["unreadable"].examples) == 1


def test_a_list_whose_labels_are_not_clear_is_checked_without_them(folder):
    rows = [f"red/{number:02d}.jpg,{number},{number % 3}" for number in range(18, 22)]
    (folder / "list.csv").write_text("\n".join(["path,a,b", *rows]))
    found = issues(f"manifest:{folder}/list.csv")
    assert {"unusable", "missing"} <= found.keys()
    assert 'may have the label in "a" or "b"' in found["unusable"].examples[0]
    assert len(found["unusable"].examples) == 1
    assert [path.rpartition("/")[2] for path in found["missing"].examples] == ["20.jpg", "21.jpg"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("folder:nowhere", "does not exist"),
        ("folder:empty", "at least two class folders"),
        ("manifest:nowhere.csv", "cannot be read"),
        ("manifest:words.csv", "lists no pictures"),
        ("manifest:two.csv", 'may have the path in "left" or "right"'),
    ],
)
def test_where_nothing_can_be_opened_the_report_says_why(tmp_path, monkeypatch, name, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.csv").write_text("path,label\n")
    (tmp_path / "two.csv").write_text("left,right,label\n1.jpg,2.jpg,a\n")
    printed = run("check", name, "--json")
    assert (printed.exit_code, printed.stderr) == (2, "")
    (issue,) = json.loads(printed.stdout)["issues"]
    assert (issue["kind"], issue["severity"], issue["count"]) == ("unusable", "error", 1)
    assert sentence in issue["examples"][0]
    shown = run("check", name)
    assert (shown.exit_code, shown.stderr) == (2, "")
    assert shown.stdout.startswith("0 pictures\nerror: unusable (1): training would be refused\n    ")
    assert run("check", "cifr10").stderr.startswith("Error: ")


def test_a_single_class_is_reported_and_its_pictures_are_checked(folder):
    shutil.rmtree(folder / "red")
    shutil.rmtree(folder / "blue")
    (folder / "green" / "00.jpg").write_text("words")
    found = issues(folder)
    assert "at least two classes" in found["unusable"].examples[0]
    assert len(found["unreadable"].examples) == 1


def test_small_pictures_are_no_fault_where_all_are_small(tmp_path):
    random = np.random.default_rng(0)
    for number in range(40):
        (tmp_path / str(number % 2)).mkdir(exist_ok=True)
        pixels = random.integers(0, 256, (28, 28, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / str(number % 2) / f"{number}.png")
    assert issues(tmp_path) == {}


def test_the_same_picture_in_train_and_test_is_an_error(folder, tmp_path):
    for split in ("train", "test"):
        shutil.copytree(folder, tmp_path / "split" / split)
    for file in (tmp_path / "split" / "test").rglob("*.jpg"):
        pixels = np.asarray(Image.open(file))
        Image.fromarray(255 - pixels).save(file)
    shutil.copy(tmp_path / "split" / "train" / "red" / "00.jpg", tmp_path / "split" / "test" / "red" / "other.jpg")
    found = issues(tmp_path / "split")
    assert found["leakage"].severity == "error"
    assert len(found["leakage"].examples) == 1
    assert "red/other.jpg (test)" in found["leakage"].examples[0]


def test_leakage_into_held_out_pictures_is_found_too(folder):
    for number in range(10):  # of 11 copies, at least one has another role
        shutil.copy(folder / "red" / "00.jpg", folder / "red" / f"copy{number}.jpg")
    assert issues(folder)["leakage"].severity == "error"


def test_copies_within_a_role_are_a_warning(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "split" / "train")
    shutil.copytree(folder, tmp_path / "split" / "test")
    for file in (tmp_path / "split" / "test").rglob("*.jpg"):
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file)
    shutil.copy(tmp_path / "split" / "test" / "red" / "00.jpg", tmp_path / "split" / "test" / "red" / "copy.jpg")
    found = issues(tmp_path / "split")
    assert list(found) == ["duplicates"]
    assert found["duplicates"].severity == "warning"


def test_one_picture_under_two_classes_is_an_error(folder):
    shutil.copy(folder / "red" / "00.jpg", folder / "blue" / "copy.jpg")
    found = issues(folder)["conflicting labels"]
    assert found.severity == "error"
    assert "copy.jpg (blue)" in found.examples[0]
    assert "00.jpg (red)" in found.examples[0]


def test_odd_pictures_are_warned_of(folder):
    Image.new("RGB", (20, 40)).save(folder / "red" / "tiny.png")
    Image.new("RGB", (400, 50)).save(folder / "red" / "long.png")
    Image.new("L", (64, 64)).save(folder / "red" / "grey.png")
    Image.new("RGBA", (64, 65)).save(folder / "red" / "clear.png")
    Image.new("RGB", (64, 66)).save(folder / "red" / "png.jpg", format="PNG")
    found = issues(folder)
    assert not any(issue.severity == "error" for issue in found.values())
    for kind, name in (("tiny", "tiny"), ("odd shape", "long"), ("wrong name", "png")):
        assert len(found[kind].examples) == 1
        assert name in found[kind].examples[0]
    assert len(found["mixed colours"].examples) == 2
    assert check(folder).colours == {"RGB": 63, "grey": 1, "transparent": 1}


def deep_folder(root, low, high):
    """Write grey 16-bit pictures of two classes, whose values are noise from `low` to `high`."""
    random = np.random.default_rng(0)
    for name in ("normal", "nodule"):
        (root / name).mkdir(parents=True)
        for number in range(20):
            values = random.integers(low, high, (48, 48)).astype(np.uint16)
            Image.fromarray(values).save(root / name / f"{number}.png")
    return root


@pytest.mark.parametrize(("low", "high"), [(60, 200), (300, 4096), (40_000, 41_000)])
def test_16_bit_pictures_of_a_small_range_are_seen_in_full(tmp_path, low, high):
    assert "nearly constant" not in issues(deep_folder(tmp_path / "set", low, high))


def test_pictures_that_are_of_one_colour_as_the_network_sees_them_are_found(folder):
    centre = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    for name, picture in {
        "transparent": Image.fromarray(np.dstack([centre, np.zeros((100, 100), np.uint8)])),
        "mask": Image.fromarray(centre[..., 0] % 3),
        "frame": Image.fromarray(np.pad(np.full((88, 88, 3), 90, np.uint8), ((6, 6), (6, 6), (0, 0)))),
        "red": Image.new("RGB", (64, 64), (250, 10, 10)),
        "dark": Image.fromarray(centre[..., 0].astype(np.uint16) * 4),  # among 16-bit pictures that are bright
        "bright": Image.fromarray(centre[..., 0].astype(np.uint16) * 257),
    }.items():
        picture.save(folder / "red" / f"{name}.png")
    found = issues(folder)["nearly constant"]
    assert found.severity == "warning"
    names = {example.rpartition("/")[2] for example in found.examples}
    assert names == {"transparent.png", "mask.png", "frame.png", "red.png", "dark.png"}


def test_a_class_that_carries_nothing_is_an_error(folder):
    for file in sorted((folder / "red").iterdir())[:11]:
        Image.new("RGB", (64, 64)).save(file)
    assert issues(folder)["nearly constant"].severity == "error"


@pytest.mark.parametrize(
    ("width", "height", "hidden"),
    [(64, 64, None), (80, 60, None), (90, 60, None), (96, 54, "44%"), (40, 110, "64%")],
)
def test_a_crop_that_hides_more_than_a_third_of_typical_pictures_is_warned_of(tmp_path, width, height, hidden):
    random = np.random.default_rng(0)
    for name in ("early", "late"):
        (tmp_path / name).mkdir()
        for number in range(12):
            pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    found = issues(tmp_path)
    assert ("crop" in found) == bool(hidden)
    splits = Splits(open_source(f"folder:{tmp_path}"), DataConfig(image_size=16))
    assert [f"hides {hidden}" in note for note in splits.notes] == ([True] if hidden else [])
    if hidden:
        assert f"hides {hidden}" in found["crop"].message
        assert len(found["crop"].examples) == 24
        whole = Splits(open_source(f"folder:{tmp_path}"), DataConfig(image_size=16, fit="pad"))
        assert whole.notes == []
        padded = check_source(
            open_to_check(data := DataConfig(dataset=f"folder:{tmp_path}", fit="pad")), config=data
        )
        assert "crop" not in {issue.kind for issue in padded.issues}


def test_classes_of_very_different_size_are_warned_of(folder):
    for number in range(4, 20):
        (folder / "red" / f"{number:02d}.jpg").unlink()
    for number in range(40):
        Image.new("RGB", (40, 40), (number, 200, 0)).save(folder / "green" / f"more{number}.png")
    assert '"green"' in issues(folder)["imbalance"].message
    assert '"red"' in issues(folder)["imbalance"].message


def test_a_set_too_small_to_be_split_is_reported(folder):
    for file in list(folder.rglob("*.jpg"))[2:]:
        file.unlink()
    for name in ("red", "blue", "green"):
        Image.new("RGB", (40, 40), name).save(folder / name / "only.png")
    assert "too small" in issues(folder)


def test_records_of_tfds_are_checked_too():
    result = check_source(open_source("digits"))
    assert result.num_examples == {"train": 1293, "validation": 144, "test": 360}
    assert result.colours == {"grey": 1797}
    assert result.sizes["width"] == {"smallest": 8, "median": 8, "largest": 8}
    assert not result.has_errors


def run(*arguments):
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


def test_the_command_draws_a_sheet_and_ends_with_0(folder, tmp_path):
    (folder / "red").rename(folder / "[red] $x^$")
    result = run("check", f"folder:{folder}", "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0, result.output
    assert "[red] $x^$" in result.output
    assert "no faults found" in result.output
    assert Image.open(tmp_path / "sheet.png").width > 500


def test_the_command_ends_with_2_where_there_are_errors_and_names_the_files_safely(folder):
    bad = folder / "red" / "[bold]\x1b[31m\n.jpg"
    bad.write_text("x")
    result = run("check", f"folder:{folder}")
    assert result.exit_code == 2
    assert "[bold]\\x1b[31m\\n.jpg is not a JPEG" in result.output
    printed = json.loads(run("check", f"folder:{folder}", "--json").stdout)
    assert printed["issues"][0]["kind"] == "unreadable"
    assert printed["issues"][0]["count"] == 1


def test_settings_name_the_columns_of_a_list(folder):
    rows = [f"{path.relative_to(folder)},{path.stem},{path.parent.name}" for path in sorted(folder.rglob("*.jpg"))]
    (folder / "list.csv").write_text("\n".join(["path,a,b", *rows]))
    result = run("check", f"manifest:{folder}/list.csv")
    assert (result.exit_code, result.stderr) == (2, "")
    assert "data.label_column=NAME" in result.stdout
    assert "60 pictures" in result.stdout
    named = run("check", f"manifest:{folder}/list.csv", "--set", "data.label_column=b")
    assert named.exit_code == 0, named.output
    assert 'note: understood: the label from the column "b"' in named.output


def test_show_draws_what_a_run_would_see(folder, tmp_path):
    file = tmp_path / "seen.png"
    result = run("show", f"folder:{folder}", "--augment", "strong", "--image-size", 32, "--output", file, "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert printed["augmentation"]["cutmix"] == 1.0
    assert printed["crop_fraction"] == 0.875
    assert Image.open(file).width > 500


def test_show_names_a_mistake(folder, tmp_path):
    assert run("show", f"folder:{folder}", "--augment", "wild", "--output", tmp_path / "a.png").exit_code == 2
    assert run("show", f"folder:{folder}", "--output", tmp_path / "no" / "a.png").exit_code == 2
    assert run("show", "folder:nowhere", "--output", tmp_path / "a.png").exit_code == 2
