"""The report of an experiment in a real Chromium. Part of `make test-heavy`."""
import shutil
import subprocess

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="`make test-heavy` installs what this needs")
CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium (tools/setup.sh heavy)")


@pytest.fixture(scope="module")
def report(rerankd, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "shown.yaml").write_text(
        "name: shown\nmodel: {name: tiny}\nexperiment: {batch_sizes: [4], concurrency_levels: [1, 2], benchmark_requests: 20}\n"
    )
    subprocess.run([rerankd, "experiment", "run", folder / "shown.yaml", "--out", folder, "--quiet"], check=True, timeout=120)
    return folder / "shown_results.html"


@pytest.fixture(scope="module")
def page(report):
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1300, "height": 900})
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("console", lambda message: page.faults.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: None if request.url == report.as_uri() else page.faults.append(request.url))
        page.goto(report.as_uri())
        yield page
        browser.close()


def configuration_is_visible(page, media):
    page.emulate_media(media=media)
    return page.evaluate("document.querySelector('details pre').checkVisibility()")


def test_the_configuration_is_folded_on_the_screen_and_open_in_print(page):
    assert not configuration_is_visible(page, "screen")
    assert configuration_is_visible(page, "print")
    assert page.evaluate("document.querySelector('details pre').getBoundingClientRect().height") > 100


def test_a_page_needs_nothing_else_and_has_its_charts(page):
    assert page.faults == []
    assert page.locator("figure svg").count() >= 5


def test_what_is_printed_is_longer_by_the_configuration(page):
    page.emulate_media(media=None)
    printed = len(page.pdf())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.remove())")
    assert printed > len(page.pdf()) + 500
