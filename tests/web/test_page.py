"""The page in a real browser: recordings, the microphone, phrases, and what can go wrong."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import ee_ref
from ee_ref import audio, cli
from ee_ref.loading import bundled_model
from ee_ref.stream import LONG
from tests.web.support import Quiet, require_browser, served

DEMO = bundled_model().with_name("demo.wav")
SPOKEN = Path(__file__).parent.parent / "boards" / "house.wav"
TEXT = "COMPUTER GO FORWARD NINE STOP"
PATIENCE = 60  # seconds that a test waits for the page

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("web")]


@pytest.fixture(autouse=True)
def _with_browser() -> None:
    require_browser()


class Page:
    """What a visitor sees of it."""

    def __init__(self, driver, address: str) -> None:
        self.driver = driver
        driver.get(address)
        self.wait_for(lambda: self.state != "loading")

    @property
    def state(self) -> str:
        return self.driver.execute_script("return document.documentElement.dataset.state")

    def wait_for(self, condition) -> None:
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, PATIENCE, 0.02).until(lambda _: condition())

    def find(self, name: str):
        return self.driver.find_element("id", name)

    def text(self, name: str) -> str:
        return self.find(name).text

    @property
    def words(self) -> str:
        """Those that are final, without the numbers of exits."""
        return self.driver.execute_script(
            "return [...document.querySelectorAll('#final .at')]"
            ".map((s) => s.firstChild.textContent).join(' ')")

    def hear(self, *files: Path) -> None:
        """Choose recordings, and wait for the end."""
        self.driver.execute_script("""
            window.states = [];
            new MutationObserver(() => states.push(document.documentElement.dataset.state))
              .observe(document.documentElement, { attributeFilter: ['data-state'] });""")
        self.find("file").send_keys("\n".join(map(str, files)))
        self.wait_for(lambda: self.driver.execute_script("return states.at(-1)") == "ready")

    def choose(self, depth: str) -> None:
        from selenium.webdriver.support.ui import Select

        Select(self.find("depth")).select_by_value(depth)


def in_python(model: ee_ref.Model, exit: int) -> str:
    """The final words of the demo clip."""
    stream = model.stream(exit=exit, view=LONG)
    events = stream.feed(audio.read(DEMO, model.config.sample_rate)) + stream.finish()
    return " ".join(event.text for event in events if event.final and event.text)


def test_a_recording_is_heard_as_in_python(browser, address):
    page = Page(browser(), address)
    assert page.state == "ready" and "Model english, 5 exits" in page.text("about")
    assert "kernels: simd128" in page.text("about")
    page.choose("5")
    page.hear(DEMO)
    assert page.words == in_python(ee_ref.load("english"), 5) == TEXT
    assert page.text("problem") == page.text("status") == ""
    rows = page.driver.find_elements("css selector", "#exits tr")
    audio = [float(row.find_elements("tag name", "td")[1].text.split()[0]) for row in rows]
    assert len(rows) == 6 and audio[1:5] == [0, 0, 0, 0] and audio[5] > 2
    assert re.search(r"of audio took .* of computing; the ear \d+ % of it; the first word came "
                     "after", page.text("figures"))
    assert {part.get_attribute("title") for part in page.driver.find_elements(
        "css selector", "#strip i")} == {"quiet", "exit 5"}
    # As deep as needed is not deeper.
    page.choose("usual")
    page.hear(DEMO, DEMO)
    assert page.words == f"{TEXT} {TEXT}"


def test_the_page_needs_no_network_and_no_threads(browser, address):
    """Files of its own folder alone; no headers that a plain server does not send."""
    page = Page(browser(), address)
    page.hear(DEMO)
    names = page.driver.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert {name.removeprefix(address) for name in names} >= {"ee-ref.mjs", "model.json"}
    assert all(name.startswith(address) for name in names)
    assert page.driver.execute_script("return typeof SharedArrayBuffer") == "undefined"
    assert page.driver.get_log("browser") == []


def test_the_portable_kernels_give_the_same(browser, address):
    """Those for browsers without vectors."""
    page = Page(browser(), address)
    found = page.driver.execute_async_script("""
        const done = arguments[arguments.length - 1];
        (async () => {
          const { Model, decode } = await import('./ee-ref.mjs');
          const wav = new Uint8Array(arguments[0]);
          return Promise.all(['portable', 'simd128'].map(async (name) => {
            const model = await Model.open('model.bin', { kernels: `ee-ref-${name}.wasm` });
            const stream = model.stream({ exit: 3, view: { left: 64, hop: 200, ahead: 32 } });
            const first = stream.feed(await decode(wav, model.sampleRate));
            return [model.kernels, JSON.stringify([first, stream.finish()])];
          }));
        })().then(done, (error) => done(String(error)));
        """, list(DEMO.read_bytes()))
    assert [name for name, _ in found] == ["c", "simd128"]
    assert found[0][1] == found[1][1] and "FORWARD" in found[0][1]


def test_the_microphone(browser, address):
    """A clip in its place, over and over; words come while it is on."""
    page = Page(browser(microphone=1, clip=DEMO), address)
    page.choose("2")
    page.find("speak").click()
    page.wait_for(lambda: "FORWARD" in page.words)
    assert (page.state, page.text("speak"), page.text("status")) == ("busy", "Stop", "Listening …")
    page.find("speak").click()
    page.wait_for(lambda: page.state == "ready")
    assert page.text("problem") == "" and page.text("speak") == "Speak"
    assert "GO FORWARD NINE" in page.words
    # The same again, after a recording.
    page.hear(DEMO)
    page.find("speak").click()
    page.wait_for(lambda: "FORWARD" in page.words)


@pytest.mark.parametrize("setting, message", [
    ({"microphone": 2, "clip": DEMO}, "microphone: not allowed: allow it for this page"),
    ({"microphone": 1}, "microphone: none found"),
])
def test_no_microphone(browser, address, setting, message):
    page = Page(browser(**setting), address)
    page.find("speak").click()
    page.wait_for(lambda: page.text("problem"))
    assert page.text("problem").startswith(message) and page.state == "ready"
    page.hear(DEMO)
    assert page.words == TEXT and page.text("problem") == ""


def test_phrases(browser, address, site, tmp_path):
    page = Page(browser(), address)
    assert page.text("phrases") == "house.phrases" and "light_on" in page.text("text")
    assert not page.find("only").is_selected()
    page.find("only").click()
    page.hear(SPOKEN)
    assert page.words == "TODAY TURN ALL THE GREEN LIGHTS IN THE KITCHEN TO TWENTY PERCENT"
    assert "light_plan, day = today, color = green, room = kitchen, n = 20" in page.text("final")
    # Others, and what are none.
    (tmp_path / "other.phrases").write_text("go: [computer] go forward nine stop\n")
    assert cli.main(["phrases", "compile", str(tmp_path / "other.phrases"), "-o",
                     str(tmp_path / "other.bin")]) == 0
    page.find("compiled").send_keys(str(tmp_path / "other.bin"))
    page.wait_for(lambda: page.text("phrases") == "other.bin")
    page.hear(SPOKEN)
    assert "(none of the phrases)" in page.text("final")
    page.find("compiled").send_keys(str(DEMO))
    page.wait_for(lambda: page.text("problem"))
    assert page.text("problem").startswith("phrases (ee-ref phrases compile writes them")
    assert not page.find("only").is_enabled() and page.text("phrases") == "None."
    page.hear(DEMO)
    assert page.words == TEXT and not page.find("only").is_enabled()


def test_what_is_no_audio(browser, address):
    page = Page(browser(), address)
    page.find("file").send_keys(str(Path(__file__)))
    page.wait_for(lambda: page.text("problem"))
    assert page.text("problem").startswith("recording: expected audio that this browser decodes")
    page.hear(DEMO)
    assert page.words == TEXT


class Broken(Quiet):
    """A server that goes away in the middle of the model."""

    def do_GET(self) -> None:
        if self.path != "/model.bin":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", "3000000")
        self.end_headers()
        self.wfile.write(bytes(1000000))


class Huge(Quiet):
    """One that has a model of 3 GiB."""

    def do_GET(self) -> None:
        if self.path != "/model.bin":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Length", str(3 << 30))
        self.end_headers()


def cut(folder: Path) -> None:
    (folder / "model.bin").write_bytes((folder / "model.bin").read_bytes()[:5_000_000])


def damaged(folder: Path) -> None:
    data = bytearray((folder / "model.bin").read_bytes())
    data[3_000_000] ^= 1
    (folder / "model.bin").write_bytes(data)


def without_model(folder: Path) -> None:
    (folder / "model.bin").unlink()


def without_description(folder: Path) -> None:
    (folder / "model.json").unlink()


def without_kernels(folder: Path) -> None:
    (folder / "ee-ref-simd128.wasm").write_bytes(b"not WebAssembly")


@pytest.mark.parametrize("spoil, handler, message", [
    (cut, Quiet, r"model of 4\.8 MB: the flash image ends early"),
    (damaged, Quiet, r"model of 10\.6 MB: .*checksum"),
    (without_model, Quiet, r"model: \S*/model\.bin cannot be loaded: 404"),
    (without_description, Quiet, r"model\.json: cannot be loaded: 404"),
    (without_kernels, Quiet, "kernels: not what this engine runs"),
    (None, Broken, r"model: \S*/model\.bin ended after \d\.\d MB"),
    (None, Huge, r"model: expected at most 2048\.0 MB, found 3072\.0 MB: more than this tab may"),
])
def test_a_model_that_cannot_be_used(browser, site, tmp_path, spoil, handler, message):
    """A clear message, and nothing that waits for ever."""
    folder = tmp_path / "site"
    shutil.copytree(site, folder)
    if spoil:
        spoil(folder)
    with served(folder, handler) as address:
        page = Page(browser(), address)
        assert page.state == "failed" and page.text("about") == "No model."
        assert re.match(message, page.text("problem")), page.text("problem")
        assert not page.find("speak").is_enabled()


def test_keyboard(browser, address):
    """Everything is reached by the tabulator, in order, and shows where it is."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    page = Page(browser(microphone=1, clip=DEMO), address)
    page.choose("2")
    page.driver.execute_script("document.getElementById('speak').focus()")
    reached = []
    for _ in range(6):
        reached.append(page.driver.switch_to.active_element.get_attribute("id"))
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
    assert reached == ["speak", "file", "depth", "compiled", "only", "text"]
    page.find("speak").send_keys(Keys.ENTER)
    page.wait_for(lambda: page.words)
    page.driver.switch_to.active_element.send_keys(Keys.SPACE)
    page.wait_for(lambda: page.state == "ready")
    named = page.driver.execute_script(
        "return [...document.querySelectorAll('button, input, select')].map("
        "(e) => (e.labels?.[0]?.textContent ?? e.textContent).trim())")
    assert len(named) == 5 and all(named)


def test_a_phone_and_the_dark(browser, address):
    page = Page(browser(), address)
    driver = page.driver
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": 320, "height": 640, "deviceScaleFactor": 2, "mobile": True})
    page.hear(DEMO)
    # In any notation; a canvas makes numbers of them.
    script = """
        const draw = document.createElement('canvas').getContext('2d');
        return [['body', 'backgroundColor'], ['body', 'color'], ['#final .at', 'color'],
                ['#about', 'color'], ['th', 'color'], ['#strip .at', 'backgroundColor']
        ].map(([what, property]) => {
          draw.fillStyle = getComputedStyle(document.querySelector(what))[property];
          draw.fillRect(0, 0, 1, 1);
          return [...draw.getImageData(0, 0, 1, 1).data];
        });"""
    seen = []
    for scheme in ("light", "dark"):
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {
            "features": [{"name": "prefers-color-scheme", "value": scheme}]})
        paper, *inks = (luminance(found) for found in driver.execute_script(script))
        seen.append(paper > inks[0])
        for ink in inks:
            light, dark = sorted((paper, ink), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, scheme
        assert driver.execute_script("return document.documentElement.scrollWidth") == 320
    assert seen == [True, False]


def luminance(colour: list[int]) -> float:
    """Relative luminance (WCAG 2) of red, green and blue in 0..255."""
    parts = [part / 255 for part in colour[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_a_small_model(browser, tmp_path):
    folder = tmp_path / "site"
    ee_ref.web.write(folder, ee_ref.load("commands"), exits=4)
    with served(folder) as address:
        page = Page(browser(), address)
        page.hear(DEMO)
        assert page.words == in_python(ee_ref.load("commands"), 4)
        assert "Model commands, 4 exits" in page.text("about")
        assert json.loads((folder / "model.json").read_text())["policy"] == {"exit": 4}
        assert page.find("depth").get_attribute("value") == "4"
        assert page.text("phrases") == "None."
