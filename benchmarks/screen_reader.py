"""What a screen reader says of the rating page and of the chat page: Orca reads them in Chromium, keys are really pressed.

    apt-get install --no-install-recommends orca at-spi2-core dbus-x11 openbox speech-dispatcher xdotool xvfb chromium
    PYTHONPATH=. python benchmarks/screen_reader.py [review] [chat] [--language zh]

Starts a display, a message bus, a window manager, a speech dispatcher whose only voice is silent, Orca and Chromium, all in a
temporary folder and gone at the end. Prints each key and what was spoken after it; Chinese words are followed by the language of the voice
that Orca asked for. The study is invented; in the chat a script answers in the model's place.
"""

from __future__ import annotations

import argparse
import asyncio
import html
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from tests.chat.conftest import Says, paging
from tests.review.server import serving
from tests.review.studies import make_study, rating

from mulmed.recipe import Decoding, Serving
from mulmed.review.access import invite
from mulmed.review.saving import places, read_item, save_rating
from mulmed.serving.engine import Piece
from mulmed.serving.model import open_model

PROGRAMS = ("orca", "Xvfb", "openbox", "dbus-run-session", "speech-dispatcher", "xdotool", "chromium")
CHROMIUM = [
    *("--no-sandbox", "--test-type", "--disable-gpu", "--no-first-run", "--password-store=basic"),
    *("--disable-background-networking", "--disable-component-update", "--force-renderer-accessibility"),
]
VOICE = 'GenericExecuteSynth "true"\n' + "".join(
    f'GenericLanguage "{code}" "{code}" "utf-8"\nAddVoice "{code}" "MALE1" "{code}"\n'
    for code in ("en", "zh")
)
# The log line by line; pages are read when the walk comes to them, not all at once when they are loaded.
ORCA = """from orca import debug, settings
debug.debugFile.reconfigure(line_buffering=True)
settings.sayAllOnLoad = False
"""
ANSWER = """## What helps

Drink warm water and rest for a few days. A cold ends by itself.

- Honey calms the cough.
- Salt water helps the throat.

See a doctor if it lasts longer than a week."""
ANSWER_ZH = "请多喝水，注意休息。\n\n如果三天后仍然发烧，请到医院就诊。"


class Scripted(Says):
    """Writes word by word, as a model does."""

    async def stream(self, prompt: Sequence[int], decoding: Decoding) -> AsyncGenerator[Piece]:  # noqa: ARG002
        asked = self.model.renderer.tokenizer.decode(prompt)
        text = ANSWER_ZH if "发烧" in asked else ANSWER * (20 if "at length" in asked else 1)
        for word in re.findall(r"\S+\s*" if text != ANSWER_ZH else r".\n*", text):
            await asyncio.sleep(0.08)
            yield Piece(word, 1)
        yield Piece("", 0, "stop")


class Desk:
    """A display with a screen reader on it."""

    def __init__(self, folder: Path, display: str, language: str) -> None:
        self.folder, self.language = folder, language
        self.log, self.read = folder / "orca.log", 0
        self.asked: set[str] = set()
        (folder / "run").mkdir(mode=0o700)
        keep = {k: v for k, v in os.environ.items() if k in ("PATH", "DBUS_SESSION_BUS_ADDRESS")}
        run = {"DISPLAY": display, "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder / "run")}
        self.environment = keep | run | {"LANG": "C.UTF-8", "XDG_DATA_DIRS": "/usr/local/share:/usr/share"}
        speech = folder / ".config" / "speech-dispatcher"
        for file, text in {
            folder / ".asoundrc": "pcm.!default { type null }\n",
            folder / ".local/share/orca/orca-customizations.py": ORCA,
            speech / "speechd.conf": 'AddModule "silent" "sd_generic" "silent.conf"\n'
            'DefaultModule silent\nAudioOutputMethod "alsa"\n',
            speech / "modules" / "silent.conf": VOICE,
        }.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        self.running: list[subprocess.Popen[bytes]] = []
        self.start("Xvfb", display, "-screen", "0", "1200x900x24", "-nolisten", "tcp")
        time.sleep(1)
        self.start("openbox")
        self.start("speech-dispatcher", "-s", "-C", str(speech), "-t", "0")
        time.sleep(1)
        self.start("orca", "--disable", "braille", "--debug-file", str(self.log))
        for _ in range(100):
            time.sleep(0.2)
            if self.log.exists() and self.spoken():
                return
        raise SystemExit("Orca does not speak; see its log")

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{command[0]}.out").open("wb") as out:
            process = subprocess.Popen(command, env=self.environment, stdout=out, stderr=out)
        self.running.append(process)
        return process

    def open(self, url: str) -> None:
        profile = tempfile.mkdtemp(dir=self.folder)
        more = [f"--accept-lang={self.language}", f"--user-data-dir={profile}", f"--app={url}"]
        self.start("chromium", *CHROMIUM, *more)
        self.tell(f"the page {re.sub('[^/]{20,}', '…', url.split('/', 3)[3]) or '/'}", quiet=4, most=40)

    def spoken(self) -> list[str]:
        """What was given to the voice since the last time."""
        with self.log.open("rb") as file:
            file.seek(self.read)
            whole = file.read().rpartition(b"\n")[0]
        said = []
        for line in whole.decode("utf-8", "replace").splitlines():
            if found := re.search(r"voice requested with language='([a-z]+)'", line):
                self.asked.add(found[1])
            if found := re.search(r"SPEECH DISPATCHER: Speaking '<speak>(.*)</speak>' ?$", line):
                text = " ".join(html.unescape(re.sub("<[^>]*>", "", found[1])).split())
                voice = "zh" if re.search("[\u4e00-\u9fff]", text) else ""
                said.append(text + (f"  [{voice if voice in self.asked else 'not asked'}]" if voice else ""))
        if said:
            self.read += len(whole)
        return said

    def tell(self, what: str, quiet: float = 1.2, most: float = 20) -> None:
        """Prints what is spoken from now until nothing was for ``quiet`` seconds."""
        print(f"> {what}")
        self.asked.clear()
        end, last = time.monotonic() + most, time.monotonic()
        while time.monotonic() < min(end, last + quiet):
            time.sleep(0.1)
            for said in self.spoken():
                print(f"      {said}", flush=True)
                last = time.monotonic()

    def press(self, *keys: str, quiet: float = 1.2) -> None:
        for key in keys:
            subprocess.run(
                ["xdotool", "key", "--delay", "30", *key.split()], env=self.environment, check=True
            )
            self.tell(key, quiet)

    def write(self, text: str) -> None:
        """Types what a keyboard has; keys being spoken is not told."""
        subprocess.run(["xdotool", "type", "--delay", "40", text], env=self.environment, check=True)
        time.sleep(1)
        self.spoken()
        print(f"> (types) {text}")

    def close(self) -> None:
        for process in reversed(self.running):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


STICKY = "Insert+a Insert+a"


def review(desk: Desk) -> None:
    store = make_study(str(desk.folder / "study.db"), questions=3, people=("Ada", "Bo"))
    with serving(store.where) as server:
        desk.open(f"{server.url}/invitation/{invite(store, 1)}")
        desk.press("shift+Tab", "Return", *["Tab"] * 5, "Return")
        print("--- reading, in browse mode")
        desk.press("ctrl+Home", *["Down"] * 16)
        print("--- scoring in browse mode: digits, then Space")
        desk.press("2", "1", "0", "ctrl+Home", *["Tab"] * 6, "space")
        print("--- scoring in focus mode that stays")
        desk.press(STICKY, "Return", "Return", "1", "0", "2", "question", "Escape", "Return")
        second = places(store, 1)[1].id
        print("--- changed elsewhere meanwhile")
        item = read_item(store, 1, second)
        assert item is not None
        save_rating(store, 1, second, rating(2, done=False), item["version"], "elsewhere")
        desk.press(STICKY, "0", "Tab", "Return")
        print("--- skipped")
        desk.press("1", "2", "shift+Tab", "Return", "Down", "Return")


def chat(desk: Desk) -> None:
    model = open_model("smollm2-135m", lambda text: print(text, file=sys.stderr))
    with paging(model, Scripted(model), desk.folder / "use.db", Serving(region="CN")) as page:
        desk.open(page.url + "/")
        desk.press("ctrl+Home", *["Down"] * 6, *["Tab"] * 4, "Right", "Left", "Tab", "Tab")
        desk.write("I am John Smith and have crushing chest pain right now")
        desk.press("Return", quiet=5)
        print("--- the answer, read again; what was masked; feedback")
        desk.press("Tab", *["shift+H"] * 3, *["Down"] * 12, "Tab", "Tab", "Tab", "space")
        desk.press("Down", "Down", "Down", "Tab", "Tab", "space", "Tab", "Return")
        desk.write("Tell me at length what a cold is")
        desk.press("Return", "Return", "Escape")
        print("--- in the other language")
        desk.press("Tab", "Tab", "ctrl+Home", "Tab", "Tab", "Return", "ctrl+Home", *["Down"] * 6)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", default=["review", "chat"], metavar="review|chat")
    parser.add_argument("--language", default="en", choices=["en", "zh"])
    parser.add_argument("--display", default=":77")
    args = parser.parse_args()
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        raise SystemExit(f"Not installed: {', '.join(missing)}")
    if "MULMED_DESK" not in os.environ:  # once more, on a message bus of its own
        command = ["dbus-run-session", "--", sys.executable, *sys.argv]
        raise SystemExit(subprocess.run(command, env=os.environ | {"MULMED_DESK": "1"}).returncode)
    walks: dict[str, Any] = {"review": review, "chat": chat}
    for name in args.pages:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            desk = Desk(Path(folder), args.display, args.language)
            try:
                walks[name](desk)
            finally:
                desk.close()


if __name__ == "__main__":
    main()
