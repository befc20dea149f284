"""The page in headless Chromium, by real clicks: needs playwright (the extra `browser`) and Chromium."""

import shutil
import time

import numpy as np
import pytest
from PIL import Image

from keras_sepnets import predict
from keras_sepnets.data.batches.splits import Splits
from keras_sepnets.data.sources.opening import open_source
from keras_sepnets.deploy.html.export import export_html

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install -e '.[browser]'"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "digits.html"
    export_html(finished.run, file)
    return file


@pytest.fixture
def page(exported):
    """The page in a browser; the test fails if it logs anything or asks for another address."""
    seen = []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *CAMERA])
        opened = browser.new_page()
        opened.on("console", lambda message: seen.append(message.text))
        opened.on("pageerror", lambda error: seen.append(str(error)))
        opened.on("request", lambda request: seen.append(request.url))
        opened.goto(exported.as_uri())
        opened.wait_for_selector("body[data-ready]")
        yield opened
        browser.close()
    assert [text for text in seen if not text.startswith(("blob:", "data:"))] == [exported.as_uri()]


def choose(page, files):
    """Click on "Choose pictures", choose some, and wait until all are classified."""
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Choose pictures", exact=True).click()
    before = page.locator("#strip button").count()
    chooser.value.set_files([str(file) for file in files])
    wait_for(lambda: page.locator("#strip button").count() == before + len(files))
    wait_for(lambda: page.get_by_text("waiting", exact=True).count() == 0)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def write_pictures(finished, folder):
    """Write the test pictures of a run as PNG files, at the size that the network sees."""
    examples = Splits(open_source("digits"), finished.run.config.data).examples("test")
    for place, (picture, _) in enumerate(examples.in_order().as_numpy_iterator()):
        Image.fromarray(picture).save(folder / f"{place:03d}.png")
    return sorted(folder.iterdir())


def test_the_whole_test_split_in_a_browser_is_classified_as_by_predict(finished, page, tmp_path):
    files = write_pictures(finished, tmp_path)
    choose(page, files)
    answers = page.locator("#strip button span:last-child").all_inner_texts()
    expected = predict(finished.run, files, top=1)
    different = [
        (answer, prediction)
        for answer, prediction in zip(answers, expected, strict=True)
        if answer.split(" ", 1)[1] != prediction.labels[0]
    ]
    assert len(different) <= 2
    assert all(prediction.probabilities[0] < 0.55 for _, prediction in different)  # only where two are near


def test_clicks_choose_a_class_a_threshold_and_an_earlier_picture(finished, page, tmp_path):
    files = write_pictures(finished, tmp_path)[:3]
    choose(page, files)
    first = page.locator("#strip button").first
    first.click()
    wait_for(lambda: first.get_attribute("aria-current") == "true")
    (label,) = predict(finished.run, files[0], top=1)[0].labels
    page.locator("#threshold").fill("0")
    assert page.locator("#verdict").inner_text() == label
    page.locator("#threshold").fill("95")
    assert page.locator("#threshold-value").inner_text() == "95%"
    assert "test pictures" in page.locator("#threshold-meaning").inner_text()
    page.get_by_text("Show all 10 classes").click()
    assert page.locator("#classes li").count() == 10
    shares = [float(text.rstrip("%")) for text in page.locator("#classes .share").all_inner_texts()]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(100, abs=1)


def test_the_map_can_be_switched_on_with_the_keyboard(finished, page, tmp_path):
    choose(page, write_pictures(finished, tmp_path)[:1])
    drawn = """() => {
      const overlay = document.querySelector("#overlay");
      const { data } = overlay.getContext("2d").getImageData(0, 0, overlay.width, overlay.height);
      return data.some((value) => value);
    }"""
    assert not page.evaluate(drawn)
    page.locator("#map").focus()
    page.keyboard.press("Space")
    assert page.evaluate(drawn)
    page.locator("#classes button").nth(1).click()
    assert page.locator("#classes button").nth(1).get_attribute("aria-pressed") == "true"
    page.locator("#map").focus()
    page.keyboard.press("Space")
    assert not page.evaluate(drawn)


def test_a_file_that_is_no_picture_is_named(page, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    choose(page, [tmp_path / "notes.png"])
    assert "notes.png cannot be read" in page.locator("#fault").inner_text()


def test_the_camera_is_classified_until_it_is_stopped(page):
    page.get_by_text("Use the camera").click()
    wait_for(lambda: page.locator("#view").is_visible())
    assert "computed in" in page.locator("#detail").inner_text()
    page.get_by_text("Stop the camera").click()
    assert page.get_by_text("Use the camera").is_visible()


def test_the_page_fits_narrow_and_wide_screens(page):
    for width in (320, 390, 1200):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("form", ["large.jpg", "turned.jpg", "clear.png"])
def test_pictures_are_decoded_as_by_predict(finished, page, tmp_path, form):
    waves = np.add.outer(np.arange(320) ** 1.5, 9 * np.arange(480))[..., None] * [1, 1.2, 0.8]
    picture = Image.fromarray((127 + 120 * np.sin(waves / 700)).astype(np.uint8))
    if form == "clear.png":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        picture.save(tmp_path / form)
    else:
        exif = Image.Exif()
        exif[0x0112] = 6 if form == "turned.jpg" else 1
        picture.save(tmp_path / form, quality=90, exif=exif)
    choose(page, [tmp_path / form])
    page.get_by_text("Show all 10 classes").click()
    names = page.locator("#classes .name").all_inner_texts()
    shares = [float(text.rstrip("%")) / 100 for text in page.locator("#classes .share").all_inner_texts()]
    (prediction,) = predict(finished.run, tmp_path / form, top=10)
    expected = dict(zip(prediction.labels, prediction.probabilities, strict=True))
    assert dict(zip(names, shares, strict=True)) == pytest.approx(expected, abs=0.02)
