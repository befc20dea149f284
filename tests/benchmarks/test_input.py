import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from keras_sepnets import SepnetsError
from keras_sepnets.benchmarks.input import InputBenchmark, benchmark_input, generated_folder
from keras_sepnets.cli import main
from keras_sepnets.data.pictures.decoding import read_picture
from keras_sepnets.data.pictures.rules import PixelRules


def test_a_generated_folder_has_its_pictures_and_is_gone_afterwards():
    with generated_folder(120) as dataset:
        root = Path(dataset.removeprefix("folder:"))
        files = sorted(root.glob("class-*/*.jpg"))
        assert len(files) == 120
        assert read_picture(files[0], PixelRules(1000)).shape == (375, 500, 3)
        assert 80_000 < sum(file.stat().st_size for file in files) / 120 < 120_000
    assert not root.exists()


def test_every_side_takes_its_turn(picture_folder):
    result = benchmark_input(
        f"folder:{picture_folder}", image_size=16, against_naive=True, rounds=2, seconds=0.1, read_all=True
    )
    assert set(result.images_per_second) == {"streamed", "cached", "naive", "naive, sequential"}
    assert all(len(speeds) == 2 and min(speeds) > 0 for speeds in result.images_per_second.values())
    assert result.first_batch_seconds > 0
    assert result.memory_growth_bytes >= 0


def test_ratios_are_of_the_same_round():
    result = InputBenchmark(
        source="x",
        num_examples=1,
        image_size=16,
        augmentation="none",
        first_batch_seconds=0.1,
        images_per_second={"streamed": [4.0, 9.0, 2.0], "naive": [2.0, 3.0, 2.0]},
        memory_growth_bytes=None,
    )
    assert result.ratio("streamed", "naive") == (2.0, 1.0, 3.0)
    assert result.to_json()["ratios"] == {"streamed / naive": {"median": 2.0, "low": 1.0, "high": 3.0}}


def test_records_have_no_files_for_a_naive_pipeline():
    with pytest.raises(SepnetsError, match="name a folder:PATH or manifest:FILE"):
        benchmark_input("digits", image_size=16, against_naive=True)


def test_the_command_prints_a_table_or_json(picture_folder):
    arguments = ["benchmark", "input", f"folder:{picture_folder}", "--image-size", "16", "--rounds", "1"]
    arguments += ["--seconds", "0.1", "--against", "naive"]
    table = CliRunner().invoke(main, arguments).stdout
    assert "first batch after" in table
    assert "x naive, sequential" in table
    printed = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).stdout)
    assert printed["num_examples"] == 48
    assert set(printed["ratios"]) == {
        f"{side} / {naive}" for side in ("streamed", "cached") for naive in ("naive", "naive, sequential")
    }
