import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_sepnets import SepnetsError
from keras_sepnets.data.batches.roles import ROLES
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.columns import Columns
from keras_sepnets.data.sources.files import FileSource
from keras_sepnets.data.sources.manifest import open_manifest
from keras_sepnets.data.sources.opening import open_data, open_source
from keras_sepnets.settings.schema import DataConfig


@pytest.fixture
def root(picture_folder, tmp_path):
    shutil.copytree(picture_folder, tmp_path / "pictures")
    return tmp_path


def write(root, rows, name="list.csv"):
    (root / name).write_text("\n".join(rows) + "\n")
    return str(root / name)


def rows_of(root, split=None):
    suffix = f",{split}" if split else ""
    return [f"{file.relative_to(root)},{file.parent.name}{suffix}" for file in sorted(root.rglob("*.jpg"))]


def test_without_splits_all_is_train_and_the_rest_is_held_out(root):
    source = open_source(f"manifest:{write(root, ['path,label', *rows_of(root)])}")
    splits = Splits(source, DataConfig(image_size=16))
    assert {role: splits.num_examples(role) for role in ROLES} == {"train": 48, "validation": 6, "test": 6}
    assert source.class_names == ("blue", "green", "red")
    for picture, label in splits.examples("test").in_order().as_numpy_iterator():
        assert picture.reshape(-1, 3).mean(axis=0).argmax() == 2 - label


def test_splits_have_the_words_of_folders_and_rows_any_order(root):
    words = {"pictures/blue": "Training", "pictures/green": "train", "pictures/red": "TRAIN"}
    rows = [f"{row},{words[row.rpartition('/')[0]]}" for row in rows_of(root)]
    rows[0] = rows[0].replace("Training", "val")
    rows[25] = rows[25].replace("train", "testing")
    source = open_manifest(write(root, ["path,label,split,remark", *(f"{row},x" for row in rows[::-1])]))
    assert {split: source.num_examples(split) for split in source.splits} == {
        "train": 58, "validation": 1, "test": 1,
    }  # fmt: skip
    assert source.index("validation").keys == ["pictures/blue/00.jpg"]
    assert source.index("test").labels.tolist() == [1]
    assert source.notes == [
        "no validation picture of green, red",
        "no test picture of blue, red",
    ]


def test_spaces_around_labels_do_not_make_other_classes(root):
    rows = [row.replace(",", " , ") for row in rows_of(root)]
    assert open_manifest(write(root, ["path,label", *rows])).class_names == ("blue", "green", "red")


def test_paths_mean_what_they_mean_to_the_system(root, tmp_path):
    """`link/../x` is beside the folder that the link leads to, and a file has one name, whatever the way."""
    (root / "elsewhere" / "deep").mkdir(parents=True)
    shutil.copy(root / "pictures" / "red" / "00.jpg", root / "elsewhere" / "00.jpg")
    (root / "link").symlink_to(root / "elsewhere" / "deep")
    rows = [*rows_of(root / "pictures"), "../link/../00.jpg,red"]
    (root / "pictures" / "list.csv").write_text("\n".join(["path,label", *rows]))
    source = open_manifest(str(root / "pictures" / "list.csv"))
    assert str(root / "elsewhere" / "00.jpg").encode() in source.paths("train")
    (root / "again").symlink_to(root / "pictures")
    with pytest.raises(SepnetsError, match="listed twice, in lines 2 and 3"):
        open_manifest(write(root, ["path,label", "pictures/red/00.jpg,red", "again/red/00.jpg,red"]))


def test_a_line_of_json_may_hold_what_ends_a_line_of_text(root):
    rows = [{"path": str(file), "label": file.parent.name} for file in (root / "pictures").rglob("*.jpg")]
    rows[0]["remark"] = "one\u2028two\u0085three"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    assert open_manifest(write(root, lines, "list.jsonl")).num_examples("train") == 60


def test_names_that_no_disk_has_are_refused_in_a_sentence(root):
    line = json.dumps({"path": "\ud800.jpg", "label": "red"})
    with pytest.raises(SepnetsError, match=r"no lone surrogates; correct line 1 of .*Received: '\\\\ud800.jpg'"):
        open_manifest(write(root, [line], "list.jsonl"))
    rows = [json.dumps({"path": row.partition(",")[0], "label": "\ud800"}) for row in rows_of(root)[:3]]
    rows += [json.dumps({"path": row.partition(",")[0], "label": "b"}) for row in rows_of(root)[3:]]
    with pytest.raises(SepnetsError, match="not in UTF-8"):
        open_manifest(write(root, rows, "list.jsonl"))


@pytest.mark.parametrize("suffix", ["jsonl", "ndjson"])
def test_json_lines_with_numbers_as_labels_and_absolute_paths(root, suffix):
    lines = [json.dumps({"path": str(file), "label": int(file.stem) % 2}) for file in root.rglob("*.jpg")]
    source = open_manifest(write(root, ["", *lines, ""], f"list.{suffix}"))
    assert source.class_names == ("0", "1")
    assert source.num_examples("train") == 60


def test_a_byte_order_mark_and_quotes_are_understood(root):
    (root / "pictures" / "red" / "00.jpg").rename(root / "pictures" / "red" / 'a, "b".jpg')
    rows = [*rows_of(root / "pictures" / "blue"), '"red/a, ""b"".jpg",red']
    rows = [row if row.startswith('"') else f"blue/{row}" for row in rows]
    (root / "pictures" / "list.csv").write_bytes(b"\xef\xbb\xbf" + "\n".join(["path,label", *rows]).encode())
    assert open_manifest(str(root / "pictures" / "list.csv")).num_examples("train") == 21


IDS = "red_1 red_2 blue_1 blue_2"
VARIANTS = {
    "id without suffix": ("id,label", "{0},{1}"),
    "filename": ("filename,label", "train/{0}.jpg,{1}"),
    "Hugging Face": ("file_name,label", "train/{0}.jpg,{1}"),
    "image and class": ("image,class", "train/{0}.jpg,{1}"),
    "capitals": ("Path,Label", "train/{0}.jpg,{1}"),
    "any name of the label": ("filepath,emotion", "train/{0}.jpg,{1}"),
    "a column of pictures": ("photo of the eye,grade", "train/{0}.jpg,{1}"),
    "a column of pictures beside a name": ("pic,name,species", "train/{0}.jpg,Rex,{1}"),
    "others beside": ("image_id,age,dx", "{0},50,{1}"),
    "names before numbers": ("class id,filepaths,labels", "7,train/{0}.jpg,{1}"),
    "spaces": (" path , label ", "train/{0}.jpg , {1}"),
    "quotes after spaces": ("path, label", '"train/{0}.jpg", "{1}"'),
    "semicolons": ("path;label", "train/{0}.jpg;{1}"),
    "Excel": ("sep=;\npath;label", "train/{0}.jpg;{1}"),
    "tabs": ("path\tlabel", "train/{0}.jpg\t{1}"),
    "Windows": ("path,label", "train\\{0}.jpg,{1}"),
    "another machine": ("path,label", "/home/ann/set/train/{0}.jpg,{1}"),
    "another Windows machine": ("path,label", "C:\\set\\train\\{0}.jpg,{1}"),
    "below a folder of the list": ("path,label", "set/train/{0}.jpg,{1}"),
    "other case": ("path,label", "train/{0}.JPG,{1}"),
    "no header": ("", "train/{0}.jpg,{1}"),
    "index of pandas": (",path,label", "5,train/{0}.jpg,{1}"),
    "empty rows": ("path,label\n,\n", "train/{0}.jpg,{1}\n,"),
}


def write_variant(tmp_path, header, row, picture_folder, encoding="utf-8", end="\n"):
    for name in IDS.split():
        (tmp_path / "train").mkdir(exist_ok=True)
        shutil.copy(picture_folder / "red" / "00.jpg", tmp_path / "train" / f"{name}.jpg")
    lines = [header, *(row.format(name, name[:-2]) for name in IDS.split())]
    text = "".join(f"{line}\n" for line in lines if line).replace("\n", end)
    (tmp_path / "train.csv").write_bytes(text.encode(encoding))
    return str(tmp_path / "train.csv")


@pytest.mark.parametrize("variant", VARIANTS)
def test_lists_are_read_as_people_have_them_and_what_was_understood_is_said(tmp_path, picture_folder, variant):
    source = open_manifest(write_variant(tmp_path, *VARIANTS[variant], picture_folder))
    assert source.class_names == ("blue", "red")
    assert sorted(source.paths("train")) == sorted(str(f).encode() for f in (tmp_path / "train").iterdir())
    is_plain = (
        VARIANTS[variant][0].strip().startswith((" path", "path, label", "path , label", ",path", "path,label\n"))
    )
    assert bool(source.notes) != is_plain


@pytest.mark.parametrize("end", ["\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
def test_lists_of_other_systems_are_read(tmp_path, picture_folder, encoding, end):
    source = open_manifest(
        write_variant(tmp_path, "path,label", "train/{0}.jpg,{1} \u00e9", picture_folder, encoding, end)
    )
    assert source.class_names == ("blue \u00e9", "red \u00e9")
    assert bool(source.notes) == (encoding != "utf-8-sig")


def test_columns_can_be_named(tmp_path, picture_folder):
    file = write_variant(tmp_path, "id,file,shape,colour", "9,train/{0}.jpg,{0},{1}", picture_folder)
    with pytest.raises(SepnetsError, match=r'data\.label_column=NAME.*"id", "file", "shape", "colour"'):
        open_manifest(file)
    assert open_manifest(file, columns=Columns(label="colour")).class_names == ("blue", "red")
    assert len(open_manifest(file, columns=Columns(path="file", label="Shape")).class_names) == 4
    with pytest.raises(SepnetsError, match='no column "size"'):
        open_manifest(file, columns=Columns(label="size"))
    config = DataConfig(dataset=f"manifest:{file}", label_column="colour")
    assert open_data(config).class_names == ("blue", "red")
    with pytest.raises(SepnetsError, match="columns of a manifest"):
        open_data(DataConfig(dataset=f"folder:{tmp_path}", label_column="colour"))


def test_splits_are_understood_in_every_column_that_has_only_splits(tmp_path, picture_folder):
    words = dict(zip(IDS.split(), ("Train", "VAL", "training", "TEST"), strict=True))
    file = Path(write_variant(tmp_path, "path,label,subset", "train/{0}.jpg,{1},{0}", picture_folder))
    rows = file.read_text().splitlines()
    file.write_text(
        "\n".join([rows[0], *(row.rpartition(",")[0] + f",{words[row.rpartition(',')[2]]}" for row in rows[1:])])
    )
    assert open_manifest(str(file)).splits == ("train", "validation", "test")


@pytest.mark.parametrize(("column", "split"), [("is_valid", "validation"), ("IsTest", "test")])
def test_a_column_of_yes_and_no_is_a_split(tmp_path, picture_folder, column, split):
    """As in fastai's lists of pictures."""
    flags = dict(zip(IDS.split(), ("False", "True", "", "true"), strict=True))
    file = Path(write_variant(tmp_path, f"path,label,{column}", "train/{0}.jpg,{1},{0}", picture_folder))
    head, *rows = file.read_text().splitlines()
    flagged = [f"{row.rpartition(',')[0]},{flags[row.rpartition(',')[2]]}" for row in rows]
    file.write_text("\n".join([head, *flagged]))
    source = open_manifest(str(file))
    assert source.splits == ("train", split)
    assert f'understood: the split from the column "{column}" ({split} or train)' in source.notes
    lines = [
        {"path": f"train/{name}.jpg", "label": "a" if k < 2 else "b", column: k % 2 == 1}
        for k, name in enumerate(flags)
    ]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert open_manifest(str(tmp_path / "list.jsonl")).num_examples(split) == 2


def test_pictures_of_the_same_name_in_two_folders_are_not_guessed(tmp_path, picture_folder):
    file = write_variant(tmp_path, "id,label", "{0},{1}", picture_folder)
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    assert all(b"/train/" in path for path in open_manifest(file).paths("train"))  # it is train.csv
    with pytest.raises(SepnetsError, match="may be .*; write its folder into the list"):
        open_manifest(shutil.copy(file, tmp_path / "labels.csv"))


def test_each_picture_may_lie_in_one_of_several_folders(tmp_path, picture_folder):
    file = write_variant(tmp_path, "image_id,dx", "{0},{1}", picture_folder)
    (tmp_path / "part_2").mkdir()
    for name in ("red_1", "blue_2"):
        (tmp_path / "train" / f"{name}.jpg").rename(tmp_path / "part_2" / f"{name}.jpg")
    assert open_manifest(file).num_examples("train") == 4


def test_names_of_files_may_be_in_another_form_of_unicode(tmp_path, picture_folder):
    file = write_variant(tmp_path, "path,label", "train/\u00e9{0}.jpg,{1}", picture_folder)
    for path in (tmp_path / "train").iterdir():
        path.rename(path.with_name(f"e\u0301{path.name}"))
    assert open_manifest(file).num_examples("train") == 4


def test_several_labels_of_one_picture_are_said(tmp_path, picture_folder):
    file = write_variant(tmp_path, "path,label", '"train/{0}.jpg","{1}|all"', picture_folder)
    assert "several labels" in open_manifest(file).notes[0]


def test_what_never_ends_is_no_manifest(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", "/dev/zero", tmp_path):
        with pytest.raises(SepnetsError, match="cannot be read: .*(not a regular file|directory)"):
            open_manifest(str(path))


GOOD = ["pictures/red/00.jpg,red", "pictures/blue/00.jpg,blue"]


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([], "it is empty"),
        (["path,label"], "lists no pictures"),
        (["words,label", "one,red", "two,blue"], 'no column path.*Its columns are "words", "label"'),
        (
            ["path,label", *GOOD, "pictures/red/01.jpg,red,blue"],
            "it has 3 columns, the first line 2.*line 4 of",
        ),
        (["path,label", *GOOD, "pictures/red/99.jpg,red"], "Line 4 .* does not exist: .*red/99.jpg"),
        (["path,label", *GOOD, GOOD[0]], "listed twice, in lines 2 and 4"),
        (["path,label", *GOOD, "pictures/red/../red/00.jpg,red"], "listed twice, in lines 2 and 4"),
        (["path,label", *GOOD, ",red"], "needs a path; correct line 4"),
        (["path,label", *GOOD, "pictures/red/01.jpg"], "needs a label; correct line 4"),
        (["path,label,split", *(f"{row},pred" for row in GOOD)], "correct line 2 .*Received: 'pred'"),
        (["path,label,split", f"{GOOD[0]},train", f"{GOOD[1]},test"], "at least two classes"),
        (["path,label,split", *(f"{row},test" for row in GOOD)], "no training pictures"),
        (["path,label", GOOD[0], "list.csv,words"], "list.csv.* is not a JPEG"),
    ],
)
def test_mistakes_are_named_with_their_line(root, rows, sentence):
    with pytest.raises(SepnetsError, match=sentence):
        open_manifest(write(root, rows))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"path": "a.jpg"', "line 1 is not JSON"),
        (b"[1, 2]", "line 1 is not a JSON object"),
        (b"\xff\xfe\x00", "cannot be read: .*utf-16"),
        (b"[" * 100_000, "line 1 is not JSON"),
    ],
)
def test_what_is_not_json_lines_is_named(tmp_path, content, sentence):
    (tmp_path / "list.jsonl").write_bytes(content)
    with pytest.raises(SepnetsError, match=sentence):
        open_manifest(str(tmp_path / "list.jsonl"))


def test_a_manifest_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SepnetsError, match=r"cannot be read: .*No such file.*nowhere\.csv"):
        open_source(f"manifest:{tmp_path}/nowhere.csv")


def test_missing_files_are_left_out_where_that_is_asked(root):
    rows = [*rows_of(root), "pictures/red/99.jpg,red"]
    source = open_manifest(write(root, ["path,label", *rows]), skip_bad=True)
    assert list(source.bad.values()) == ["does not exist"]


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=6).map(
            lambda rows: "path,label,split\n" + "\n".join(rows)
        ),
        st.lists(
            st.dictionaries(
                st.sampled_from(["path", "label", "split"]), st.none() | st.integers() | st.text(max_size=9)
            ),
            max_size=4,
        ).map(lambda rows: "\n".join(map(json.dumps, rows))),
    ),
    st.sampled_from(["list.csv", "list.jsonl"]),
)
def test_any_text_is_a_source_or_one_sentence(tmp_path_factory, text, name):
    file = tmp_path_factory.mktemp("fuzz") / name
    file.write_text(text, errors="surrogatepass", encoding="utf-8")
    try:
        assert isinstance(open_manifest(str(file)), FileSource)
    except SepnetsError as error:
        assert str(error).isprintable()
