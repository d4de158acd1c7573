"""A headless Chromium, told over its own protocol what to open, and asked what it saw (https://chromedevtools.github.io/devtools-protocol)."""

import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import websocket

NAMES = ("chromium", "chromium-browser", "google-chrome")
NONE = "needs Chromium or Chrome: install it (`apt-get install chromium`), or set CHROMIUM to its path"
PATIENCE = 60  # seconds for the browser to start, and for an answer
# no sandbox: as root there is none; no host but this one: what a page asks of another must fail
OPTIONS = (
    "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --disable-quic --no-first-run --no-proxy-server "
    "--disable-background-networking --disable-component-update --remote-debugging-port=0"
).split() + ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
SEEN = Path(__file__).with_name("browser_seen.js").read_text(encoding="utf-8")


def find():
    """The path of a browser, or None."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def tab():
    """A tab of a browser that ends with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [find(), *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port = _port(Path(profile) / "DevToolsActivePort")
            new = urllib.request.Request(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT")
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(new, timeout=PATIENCE) as answer:
                yield Tab(json.load(answer)["webSocketDebuggerUrl"])
        finally:
            process.terminate()
            process.wait()


def _port(path):
    for _ in range(10 * PATIENCE):
        with suppress(OSError, IndexError):
            return int(path.read_text().splitlines()[0])
        time.sleep(0.1)
    raise TimeoutError(f"the browser did not start within {PATIENCE} seconds")


class Tab:
    """Calls go out, answers and events come in."""

    def __init__(self, address):
        self.socket = websocket.create_connection(address, timeout=PATIENCE, suppress_origin=True, http_no_proxy=["127.0.0.1"])
        self.calls, self.events = 0, []
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Network.setCacheDisabled", cacheDisabled=True)  # a page changed within a second is read anew

    def call(self, method, **parameters):
        """Call a method and return its result; events on the way are kept."""
        self.calls += 1
        self.socket.send(json.dumps({"id": self.calls, "method": method, "params": parameters}))
        while (message := json.loads(self.socket.recv())).get("id") != self.calls:
            self.events.append(message)
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']['message']}")
        return message["result"]

    def open(self, address, width, scheme):
        """Open a page, `width` pixels wide, ``light`` or ``dark``; returns what is wrong with it, as sentences."""
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1 + phone, mobile=phone)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.events.clear()
        self.call("Page.navigate", url=address)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(json.loads(self.socket.recv()))
        result = self.call("Runtime.evaluate", expression=f"({SEEN})({width})", returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"]["exception"]["description"])
        return result["result"]["value"] + [text for event in self.events if (text := _problem(event, address))]


def _problem(event, address):
    """What an event says is wrong, or None."""
    about = event["params"]
    if event["method"] == "Network.requestWillBeSent":
        url = about["request"]["url"]
        own = url.startswith(("data:", address[: address.index("/", len("http://"))]))
        return None if own else f"asks another host: {url}"
    if event["method"] == "Network.loadingFailed":
        return f"request failed: {about['errorText']}"
    if event["method"] == "Network.responseReceived" and about["response"]["status"] >= 400:
        return f"answered {about['response']['status']}: {about['response']['url']}"
    if event["method"] == "Runtime.exceptionThrown":
        return f"exception: {about['exceptionDetails']['text']}"
    if event["method"] == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
        return f"console: {about['args'][0].get('value')}"
    if event["method"] == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
        return f"console: {about['entry']['text']}"
    return None
