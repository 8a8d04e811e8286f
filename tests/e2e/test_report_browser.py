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


# Of WCAG 2: the contrast of two colours as Chromium spells them, from their relative luminance.
CONTRAST = """
    const channels = text => text.match(/[\\d.]+/g).map(Number).slice(0, 3);
    const luminance = text => channels(text).map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const contrast = (a, b) => {
        const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
        return (high + 0.05) / (low + 0.05);
    };
"""
COLOURS = (
    "() => {"
    + CONTRAST
    + """
    const ground = getComputedStyle(document.body).backgroundColor;
    const texts = [...document.querySelectorAll('h1, h2, h3, p, th, td, a, pre, summary, figcaption, svg text')];
    const of = each => each.matches('svg text') ? getComputedStyle(each).fill : getComputedStyle(each).color;
    const curves = [...document.querySelectorAll('svg .line, svg circle, svg g rect')].map(each => getComputedStyle(each).color);
    return {
        ground,
        brightness: luminance(ground),
        texts: texts.length,
        curves: curves.length,
        dimmest: Math.min(...texts.map(each => contrast(of(each), ground))),
        dimmestCurve: Math.min(...curves.map(colour => contrast(colour, ground))),
        onPaper: Math.min(...texts.map(each => contrast(of(each), 'rgb(255, 255, 255)'))),
    };
}"""
)


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_text_and_curves_can_be_read_in_light_and_dark(page, scheme, dark):
    page.emulate_media(media="screen", color_scheme=scheme)
    colours = page.evaluate(COLOURS)
    assert (colours["brightness"] < 0.05) == dark and (colours["brightness"] > 0.9) == (not dark), colours
    assert colours["texts"] > 50 and colours["curves"] > 20
    assert colours["dimmest"] >= 4.5, "WCAG AA for text"
    assert colours["dimmestCurve"] >= 3, "WCAG AA for graphics"


def test_print_is_dark_on_white_even_where_the_screen_is_dark(page):
    page.emulate_media(media="print", color_scheme="dark")
    colours = page.evaluate(COLOURS)
    assert colours["ground"] == "rgb(255, 255, 255)" and colours["onPaper"] >= 4.5, colours
    page.emulate_media(media="print", color_scheme="light")
    assert page.evaluate(COLOURS) == colours


def test_every_colour_and_pattern_of_a_curve_shows(page):
    """More curves than a page of this size has: each class of the style sheet, on an element of its own."""
    for scheme in ("light", "dark"):
        page.emulate_media(media="screen", color_scheme=scheme)
        looks = page.evaluate("() => {" + CONTRAST + """
            const ground = getComputedStyle(document.body).backgroundColor, looks = [];
            const svg = document.querySelector('figure svg');
            for (let pattern = 0; pattern < 6; ++pattern)
                for (let colour = 0; colour < 8; ++colour) {
                    const group = document.createElementNS(svg.namespaceURI, 'g');
                    group.setAttribute('class', `s${colour} d${pattern}`);
                    group.innerHTML = '<path class="line" d="M0 0h9"/>';
                    svg.append(group);
                    const style = getComputedStyle(group.firstChild);
                    looks.push([style.stroke, style.strokeDasharray, contrast(style.stroke, ground)]);
                    group.remove();
                }
            return looks;
        }""")
        assert len({(stroke, dashes) for stroke, dashes, _ in looks}) == 48
        assert min(contrast for _, _, contrast in looks) >= 3


def test_what_is_printed_is_longer_by_the_configuration(page):
    page.emulate_media(media="null", color_scheme="null")
    printed = len(page.pdf())
    page.evaluate("document.querySelectorAll('details').forEach(each => each.remove())")
    assert printed > len(page.pdf()) + 500
