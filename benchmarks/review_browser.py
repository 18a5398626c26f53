"""A whole study with simulated annotators in a real browser, from any answers to results and figures.

    mulmed review create STUDY --questions Q.jsonl --predictions A=A.jsonl ... --annotator one ... --count 6
    python benchmarks/review_browser.py STUDY OUT [--shots]

Opens the study, serves it, lets every annotator rate everything by keyboard in Chromium, looks for the models' names in all that
the browsers received, locks, unblinds and writes the results. What the simulated annotators think depends on a hash of the
answer and of their name: the numbers show that the chain works and say nothing about the models. With ``--shots`` pictures of
the pages are written as well; they show the study's own texts.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Error, Page, expect, sync_playwright
from sqlalchemy import select

from mulmed.review import schema
from mulmed.review.candidates import naming_pattern
from mulmed.review.database import open_store

MULMED = [sys.executable, "-c", "from mulmed.cli import main; main()", "review"]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def review(*arguments: str) -> str:
    return subprocess.run([*MULMED, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def opinion(person: str, answer: str) -> list[int]:
    """Scores of the axes: mostly what the answer's hash says, now and then the person's own."""
    scores = []
    for axis in range(3):
        shared = hashlib.sha256(f"{axis} {answer}".encode()).digest()[0]
        own = hashlib.sha256(f"{axis} {person} {answer}".encode()).digest()[0]
        scores.append((0 if shared < 30 else 1 if shared < 100 else 2) if own < 190 else own % 3)
    return scores


def body(response: Any) -> list[str]:
    """What a browser received; nothing where the page had left before it could be read (answers to the last save)."""
    try:
        return [response.text()] if response.ok else []
    except Error:
        return []


def rate_all(page: Page, link: str, person: str) -> int:
    page.goto(link)
    page.locator("main form button").click()
    page.locator("a.primary").click()
    done = 0
    while "/rate/" in page.url:
        page.wait_for_selector("#answer:not(:empty)")
        here = page.url
        for axis, score in enumerate(opinion(person, page.locator("#answer").inner_text())):
            if (
                page.locator("fieldset.axis").nth(axis).is_visible()
            ):  # not so behind an answer that stops the rating
                page.keyboard.press(str(score))
        training = page.locator(".place .tag").count() > 0
        page.keyboard.press("Enter")
        if training:
            page.wait_for_selector("#feedback:not([hidden])")
            page.keyboard.press("Enter")
        page.wait_for_url(lambda now, here=here: now != here)
        done += 1
    return done


def picture_rating(browser: Any, url: str, study: str, out: Path) -> None:
    """The first page to rate, its first axis scored: wide and light, narrow and dark."""
    looks = {
        "rating": {"viewport": {"width": 1180, "height": 900}},
        "rating-dark-zh": {
            "viewport": {"width": 390, "height": 844},
            "color_scheme": "dark",
            "locale": "zh-CN",
        },
    }
    people = list(json.loads(review("invite", study, "--json")))
    for person, (file, look) in zip(people, looks.items(), strict=False):
        context = browser.new_context(**look)
        page = context.new_page()
        link = json.loads(review("invite", study, "--annotator", person, "--url", url, "--json"))[person]
        page.goto(link)
        page.locator("main form button").click()
        page.locator("a.primary").click()
        page.wait_for_selector("#answer:not(:empty)")
        page.keyboard.press("0")
        expect(page.locator("#status")).to_have_class("good")
        page.evaluate("scrollTo(0, 0)")
        page.screenshot(path=out / f"{file}.png")
        context.close()


def picture_administration(browser: Any, url: str, study: str, out: Path) -> None:
    """The administrator's page."""
    context = browser.new_context(viewport={"width": 1000, "height": 1080})
    page = context.new_page()
    page.goto(json.loads(review("invite", study, "--admin", "--url", url, "--json"))["administrator"])
    page.locator("main form button").click()
    expect(page.locator("table").first).to_be_visible()
    page.screenshot(path=out / "administration.png")
    context.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study")
    parser.add_argument("out", type=Path)
    parser.add_argument("--shots", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with open_store(args.study).read() as connection:
        names = naming_pattern(sorted(set(connection.execute(select(schema.sealed.c.model)).scalars())))
    review("open", args.study)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = subprocess.Popen([*MULMED, "serve", args.study, "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        received: list[str] = []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            if args.shots:
                picture_rating(browser, url, args.study, args.out)
            links = json.loads(review("invite", args.study, "--url", url, "--json"))
            for person, link in links.items():
                context = browser.new_context()
                context.on("response", lambda response: received.extend(body(response)))
                done = rate_all(context.new_page(), link, person)
                context.close()
                print(f"{person}: {done} answers, {time.monotonic() - began:.0f} s", file=sys.stderr)
            if args.shots:
                picture_administration(browser, url, args.study, args.out)
            browser.close()
        named = sum(names.search(text) is not None for text in received)
        print(f"{len(received)} responses read, {named} of them name a model")
    finally:
        server.terminate()
        server.wait()
    review("lock", args.study)
    review("unblind", args.study)
    print(review("results", args.study, "--out", str(args.out)))
    print(review("verify", args.study))


if __name__ == "__main__":
    main()
