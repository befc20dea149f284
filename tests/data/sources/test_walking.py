import shutil

import pytest

from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.inference.prediction import find_pictures


@pytest.fixture
def root(tmp_path, picture_folder):
    """Two classes of two pictures each."""
    for name in ("cat/1.jpg", "cat/own/2.jpg", "dog/1.jpg", "dog/2.jpg"):
        copy(picture_folder, tmp_path / "set" / name)
    return tmp_path / "set"


def copy(picture_folder, file):
    file.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(picture_folder / "red" / "00.jpg", file)


def test_hidden_files_and_litter_are_left_alone_everywhere(root, picture_folder):
    names = ("cat/.ipynb_checkpoints/1.jpg", "dog/.thumbnails/a/1.jpg", ".git/1.jpg", "__MACOSX/cat/1.jpg")
    for name in (*names, "dog/@eaDir/1.jpg", "cat/._1.jpg", "Thumbs.db"):
        copy(picture_folder, root / name)
    source = open_source(f"folder:{root}")
    assert source.index("train").keys == ["cat/1.jpg", "cat/own/2.jpg", "dog/1.jpg", "dog/2.jpg"]
    assert source.notes == ["left alone: 7 hidden files and folders, such as .git"]
    assert len(list(find_pictures([root]))) == 4


def test_links_are_followed_and_said(root, picture_folder, tmp_path):
    copy(picture_folder, tmp_path / "disk" / "deep" / "3.jpg")
    (root / "cat" / "disk").symlink_to(tmp_path / "disk")
    (root / "dog" / "4.jpg").symlink_to(tmp_path / "disk" / "deep" / "3.jpg")
    source = open_source(f"folder:{root}")
    assert "cat/disk/deep/3.jpg" in source.index("train").keys
    assert source.notes[0] == "followed: 2 links, such as cat/disk"
    assert source.notes[1].startswith(
        "1 picture in more than one class or split, because of links, such as cat/disk"
    )
    assert source.num_examples("train") == 6


def test_no_loop_of_links_is_endless(root, tmp_path):
    (root / "cat" / "up").symlink_to(root)
    (root / "cat" / "own" / "here").symlink_to(".")
    (root / "loop").symlink_to(tmp_path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "back").symlink_to(root / "dog")
    (root / "dog" / "other").symlink_to(tmp_path / "other")
    source = open_source(f"folder:{root}")
    assert source.num_examples("train") == 4
    assert "not followed: 4 links back to a folder above, such as cat/own/here" in source.notes


def test_a_picture_reached_twice_in_a_class_counts_once(root):
    (root / "cat" / "again").symlink_to(root / "cat" / "own")
    (root / "dog" / "3.jpg").symlink_to("2.jpg")
    source = open_source(f"folder:{root}")
    assert source.num_examples("train") == 4
    assert "entered once: 1 folder with several links, such as cat/again" in source.notes
    assert "taken once: 1 picture that links bring into a class twice" in source.notes


def test_a_link_that_leads_nowhere_is_named(root):
    (root / "cat" / "gone.jpg").symlink_to(root / "nowhere.jpg")
    assert open_source(f"folder:{root}", skip_bad=True).bad == {str(root / "cat" / "gone.jpg"): "does not exist"}
