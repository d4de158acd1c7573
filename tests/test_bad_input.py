"""Bad input from the command line: each ends with status 1 or 2 and one sentence, and nothing is lost, left or overwritten.

A case is a line of `CASES`: a name, what is done to the world, the command, the exit status, words that the sentence holds.
The world is a small dataset in a temporary folder, an empty folder of records, and a local server that plays the sources.
"""

import ast
import builtins
import errno
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zlib
from dataclasses import replace
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import pytest
import samples
from PIL import Image
from tqdm.auto import tqdm

import tumor_mri
from tumor_mri import __main__ as cli
from tumor_mri import _keras, text
from tumor_mri.audit import grouping
from tumor_mri.datasets import decoding, download, manifests, phantoms
from tumor_mri.runs import cluster, configs, environment, records
from tumor_mri.site import kaggle, notebooks
from tumor_mri.study import catalogue

NAME = manifests.BRAIN_TUMOUR_MRI.name
SECRET = "KGAT_secret-of-the-tests"
ENDLESS = 10**9  # a promise that is never kept
GLIOMA = "Training/glioma_tumor"
FIRST = f"{GLIOMA}/0.jpg"
CONFIG = configs.RunConfig("training_only", widths=(4, 4, 4, 4), epochs=1)


class World:
    """What a command finds: `images`, a good dataset; `records`, an empty folder; `answer`, what the server says."""

    def __init__(self, root, patch):
        self.root, self.patch = root, patch
        self.images, self.records, self.data = root / "images", root / "data" / "results", root / "data"
        self.answer = {"status": 200, "body": b"", "promise": None, "stall": 0, "drip": 0, "headers": {}}
        self.pauses = 0  # between the pieces of answers
        (root / "README.md").write_text("# A copy of the repository\n")
        for folder in (self.records, root / "tmp", root / "local", self.data / "cache", root / "home"):
            folder.mkdir(parents=True)
        manifest = draw_dataset(self.images)
        manifest.to_csv(self.data / "manifest.csv", index=False)
        table = self.data / "manifest.csv"
        self.register(manifest=table, manifest_sha256=manifests.table_sha256(table))
        grouping.groups_table(manifest).to_csv(self.data / "groups.csv", index=False)

    def register(self, **changes):
        """Let the project's dataset be another: of another table, or from another address."""
        dataset = replace(manifests.BRAIN_TUMOUR_MRI, **changes)
        self.patch.setattr(manifests, "BRAIN_TUMOUR_MRI", dataset)
        self.patch.setitem(manifests.DATASETS, dataset.name, dataset)

    def serve(self, url=None, largest=None, silence=None, **answer):
        """Let the server, or an address, give this answer to `download`, where no dataset is on this machine."""
        self.patch.delenv("TUMOR_MRI_DATA")
        self.answer.update(answer)
        if url:
            self.register(archive=url)
        if largest:
            self.patch.setattr(download, "LARGEST_UNPACKED", largest)
        if silence:
            self.patch.setattr(download, "SILENCE", silence)

    def use_proxy(self, address):
        """Let the environment name a proxy for every connection."""
        for name in ("http_proxy", "https_proxy"):
            self.patch.setenv(name, address)

    def by_hand(self, full, *empty):
        """Put part of the dataset where a download would put the whole of it, and splits without an image."""
        self.serve()
        shutil.copytree(self.images / full, self.data / manifests.BRAIN_TUMOUR_MRI.name / full)
        for split in empty:
            (self.data / manifests.BRAIN_TUMOUR_MRI.name / split).mkdir(exist_ok=True)

    def write(self, path, content):
        """Write a file of the dataset."""
        (self.images / path).write_bytes(content)

    def write_all(self, content):
        """Write the same into every file of the dataset."""
        for path in self.images.rglob("*.jpg"):
            path.write_bytes(content)

    def rename(self, path, name):
        (self.images / path).rename((self.images / path).with_name(name))

    def empty(self, folder):
        for path in (self.images / folder).iterdir():
            path.unlink()

    def remove(self, folder):
        self.empty(folder)
        (self.images / folder).rmdir()

    def record(self, content, config=CONFIG):
        """Put bytes where the record of a run would be."""
        (self.records / f"{config.key}.npz").write_bytes(content)

    def fail(self, module, name, number, only=""):
        """Let a function of a module fail as the system would, on paths that hold `only`."""
        whole = getattr(module, name)

        def failing(*arguments, **settings):
            if only in str(arguments[:1]):
                raise OSError(number, os.strerror(number))
            return whole(*arguments, **settings)

        self.patch.setattr(module, name, failing)

    def seen(self):
        """Every path, and the content of every file."""
        return {path: digest(path) for path in sorted(self.root.rglob("*"))}


def digest(path):
    if path.is_dir():
        return "folder"
    if not path.is_file() or path.stat().st_size > 10**7:
        return "other"
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def draw_dataset(folder):
    """Two drawn scans a class and split, and their manifest."""
    rows = []
    for split in manifests.SPLITS:
        for class_name in manifests.BRAIN_TUMOUR_MRI.classes:
            (folder / split / class_name).mkdir(parents=True)
            for number in range(2):
                path = f"{split}/{class_name}/{number}.jpg"
                scan = phantoms.draw(class_name, 10 * (split == "Testing") + number)
                Image.fromarray(scan).convert("RGB").save(folder / path)
                content = (folder / path).read_bytes()
                rows.append((path, split, class_name, hashlib.sha256(content).hexdigest(), len(content), len(rows)))
    manifest = pd.DataFrame(rows, columns=["path", "split", "class", "sha256", "bytes", "group"])
    return manifest.assign(cheng_slice=None, patient=None, cheng_label=None)


def archive(world, *members):
    """The dataset as a .tar.gz as git hosts make them, with members added."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as packed:
        packed.add(world.images, arcname="repository-3ea9f4e")
        for member in members:
            packed.addfile(member, io.BytesIO(b"x" * member.size))
    return buffer.getvalue()


def member(name, **settings):
    made = tarfile.TarInfo(name)
    for key, value in settings.items():
        setattr(made, key, value)
    return made


def silent(*arguments, **settings):
    return tqdm(*arguments, **settings | {"disable": True})


@pytest.fixture
def world(tmp_path, monkeypatch):
    root = tmp_path / "world"
    root.mkdir()
    world = World(root, monkeypatch)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            answer, told = world.answer, self.headers.get("Authorization", "")
            body = answer["body"].replace(b"CREDENTIALS", told.encode())
            self.send_response(answer["status"] if self.path != "/moved" else 200)
            self.send_header("Content-Length", str(answer["promise"] or len(body)))
            for name, value in answer["headers"].items():
                self.send_header(name, value)
            self.end_headers()
            time.sleep(answer["stall"])
            step = 4096 if answer["drip"] else max(len(body), 1)
            for start in range(0, len(body), step):
                self.wfile.write(body[start : start + step])
                time.sleep(answer["drip"])
                world.pauses += 1

        do_POST = do_GET  # noqa: N815

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *args: None  # a client that went away
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    world.handler = Handler
    world.address = f"http://127.0.0.1:{server.server_port}"

    def no_kaggle(handle, scratch, progress):
        raise OSError("no Kaggle here")

    world.register(archive=f"{world.address}/archive.tar.gz")
    world.fetch_from_kaggle = download._fetch_from_kaggle
    for module, settings in {
        manifests: {"ROOT": root, "DATA": world.data, "LOCAL_DATA": world.data},
        download: {
            "KAGGLE_MOUNT": root / "mount",
            "SILENCE": 60,  # a busy machine is no silent server; tests of silence ask for less
            "_fetch_from_kaggle": no_kaggle,
        },
        decoding: {"_cache_folder": lambda: world.data / "cache"},
    }.items():
        for name, value in settings.items():
            monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(download, "tqdm", silent)
    monkeypatch.setattr(notebooks, "tqdm", silent)
    monkeypatch.setattr(records, "RECORDED", world.records)
    monkeypatch.setattr(records, "LOCAL", root / "local")
    monkeypatch.setattr(catalogue, "STUDIES", {"tiny": [CONFIG]})
    monkeypatch.setattr(cluster, "PATIENCE", 1)
    monkeypatch.setattr(records.tempfile, "tempdir", str(root / "tmp"))
    monkeypatch.setenv("TUMOR_MRI_DATA", str(world.images))
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN", "KAGGLEHUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(root / "home"))
    yield world
    server.shutdown()
    server.server_close()


def tls(world):
    """The address of a server whose certificate, home/own.pem, is signed by nobody but itself."""
    key, certificate = world.root / "home/key.pem", world.root / "home/own.pem"
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl, which makes a certificate")
    made = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -keyout {key} -out {certificate} -subj /CN=127.0.0.1"
    subprocess.run([*made.split(), "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), world.handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    server.handle_error = lambda *args: None
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return f"https://127.0.0.1:{server.server_port}/archive.tar.gz"


def use_kaggle(world, **environment):
    """Let kagglehub itself ask the local server, with credentials; the author's git copy is not there."""
    import kagglesdk.kaggle_env as kaggle_env

    world.serve(**environment.pop("answer", {}))
    world.patch.setattr(download, "_fetch_from_kaggle", world.fetch_from_kaggle)
    world.patch.setattr(download, "KAGGLE_SERVER", ("127.0.0.1", int(world.address.rsplit(":")[-1])))
    world.patch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, world.address)
    world.register(archive="http://127.0.0.1:9/")
    world.patch.setenv("HOME", str(world.root / "home"))
    for name, value in environment.items():
        world.patch.setenv(name, value)


def refusal(status, text="CREDENTIALS is not valid"):
    """What Kaggle's server says to wrong credentials; at its worst, with the credentials."""
    body = json.dumps({"code": status, "message": text}).encode()
    return {"status": status, "body": body, "headers": {"Content-Type": "application/json"}}


def keep_for_kagglehub(world):
    """Let kagglehub have a copy of the dataset already, with one byte less, in a cache of the user's."""
    import kagglehub

    use_kaggle(world, KAGGLEHUB_CACHE=str(world.root / "kept"))
    shutil.copytree(world.images, world.root / "kept/images")
    (world.root / "kept/images" / FIRST).write_bytes((world.images / FIRST).read_bytes()[:-1])
    world.patch.setattr(kagglehub, "dataset_download", lambda handle: str(world.root / "kept/images"))


def kaggle_json(world, text):
    (world.root / "home" / "kaggle.json").write_text(text)
    use_kaggle(world)


def altered(change):
    """The bytes of a record whose text was changed, and its digest made to fit: whole, but not of this version."""
    with np.load(io.BytesIO(records.encode(samples.empty_run(CONFIG)))) as stored:
        arrays = {name: stored[name] for name in stored.files}
    about = json.loads(arrays.pop("about").tobytes())
    del about["digest"]
    change(about)
    about["digest"] = records._digest(about, arrays)
    return packed(about=np.frombuffer(json.dumps(about).encode(), dtype=np.uint8), **arrays)


def packed(**arrays):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


@cache
def enormous():
    """A picture of 40,000 by 40,000 pixels in a few hundred kilobytes: a PNG file, written by hand, as that is quick."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    side = 40_000
    header, packer = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0), zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1000 * (1 + side // 8))) for _ in range(side // 1000)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def sparse(world, path, size=10**12):
    """A file that is a terabyte long and holds nothing."""
    with (world.images / path).open("wb") as file:
        file.truncate(size)


def version(world, package, number):
    """Let Keras or TensorFlow be of another version."""
    module = __import__(package)
    world.patch.setattr(module, "__version__", number)
    world.patch.delitem(sys.modules, "tumor_mri._keras", raising=False)


def python(number):
    return f"import runpy, sys; sys.version_info = {number}; runpy.run_module('tumor_mri', run_name='__main__')"


def cut(world):
    return archive(world)[:-200]


def whole():
    return records.encode(samples.empty_run(CONFIG))


CHECKED = ("download", "verify", "decode", "audit")  # the commands that look at the dataset
GET = "download"
TRAIN = "train --study tiny --record"
HALF = [("HOME", "/absent"), ("KAGGLE_KEY", SECRET)]  # of the credentials
PUSH = "kaggle --push --output {root}/tmp"
READ = ("runs", TRAIN)  # the commands that read records

CASES = [
    # archives
    ("cut archive", lambda w: w.serve(body=cut(w)), GET, 1, "no whole archive"),
    ("bits flipped", lambda w: w.serve(body=archive(w)[:500] + b"\xff" * 99 + archive(w)[599:]), GET, 1, "holds|archive|altered"),
    ("leaves its folder", lambda w: w.serve(body=archive(w, member("../evil", size=4))), GET, 1, "would leave"),
    ("leaves it deeper", lambda w: w.serve(body=archive(w, member("a/../../evil", size=4))), GET, 1, "would leave"),
    ("absolute path", lambda w: w.serve(body=archive(w, member("/tmp/evil", size=4))), GET, 1, "would leave"),
    ("soft link", lambda w: w.serve(body=archive(w, member("x", type=tarfile.SYMTYPE, linkname="/etc"))), GET, 1, "is a link"),
    ("hard link", lambda w: w.serve(body=archive(w, member("x", type=tarfile.LNKTYPE, linkname="y"))), GET, 1, "is a link"),
    ("device", lambda w: w.serve(body=archive(w, member("x", type=tarfile.CHRTYPE))), GET, 1, "is a link or"),
    ("unpacks too large", lambda w: w.serve(body=archive(w, member("x", size=10**6)), largest=10**5), GET, 1, "unpacks to more"),
    ("extra member", lambda w: w.serve(body=archive(w, member("repository-3ea9f4e/Testing/.x", size=4))), GET, 1, "extra"),
    ("wrong checksum", lambda w: (w.write(FIRST, b"other"), w.serve(body=archive(w))), GET, 1, "truncated"),
    ("nothing in it", lambda w: (w.remove("Testing/no_tumor"), w.serve(body=archive(w))), GET, 1, "missing"),
    ("half by hand", lambda w: w.by_hand("Training"), GET, 1, f"Testing.*correct .*{NAME}, or remove it and run"),
    ("empty by hand", lambda w: w.by_hand("Training", "Testing"), CHECKED, 1, "orrect .*, or remove it and run"),
    ("corrupt kagglehub cache", lambda w: keep_for_kagglehub(w), GET, 1, "empty KAGGLEHUB_CACHE, {root}/kept, and try again"),
    # download
    ("no network", lambda w: w.serve(url="http://127.0.0.1:9/"), GET, 1, "refused"),
    ("no such host", lambda w: w.serve(url="http://a.invalid/"), GET, 1, "by hand"),
    ("server stalls", lambda w: w.serve(body=b"late", stall=3, silence=1), GET, 1, "timed out|nothing arrived"),
    ("server cuts off", lambda w: w.serve(body=archive(w), promise=10**6), GET, 1, "stopped before the end"),
    ("larger than any", lambda w: w.serve(body=archive(w), largest=99), GET, 1, "larger"),
    ("endless redirect", lambda w: w.serve(status=302, headers={"Location": w.address}), GET, 1, "30 redirects"),
    ("redirect to a file", lambda w: w.serve(status=302, headers={"Location": "file:///etc/passwd"}), GET, 1, "No .* adapters"),
    ("no such proxy", lambda w: (w.serve(), w.use_proxy("http://127.0.0.1:9")), GET, 1, "copy: Connection refused"),
    ("unknown certificate", lambda w: w.serve(url=tls(w)), GET, 1, "SSL_CERT_FILE or REQUESTS_CA_BUNDLE"),
    *((str(code), lambda w, code=code: w.serve(status=code), GET, 1, str(code)) for code in (401, 403, 404, 429, 500, 503)),
    ("web page", lambda w: w.serve(body=b"<html>Sign in</html>"), GET, 1, "no whole archive"),
    ("nothing", lambda w: w.serve(), GET, 1, "no whole archive"),
    # credentials
    ("wrong key", lambda w: use_kaggle(w, KAGGLE_USERNAME="me", KAGGLE_KEY=SECRET, answer=refusal(401)), GET, 1, "HTTP 401"),
    ("expired token", lambda w: use_kaggle(w, KAGGLE_API_TOKEN=SECRET, answer=refusal(403)), GET, 1, "renew or remove"),
    ("told back", lambda w: use_kaggle(w, KAGGLE_API_TOKEN=SECRET, answer=refusal(400)), GET, 1, "Tried Kaggle"),
    ("key told back", lambda w: use_kaggle(w, KAGGLE_USERNAME="me", KAGGLE_KEY=SECRET, answer=refusal(500)), GET, 1, "Kaggle"),
    ("token of two lines", lambda w: use_kaggle(w, KAGGLE_API_TOKEN=f"{SECRET}\nmore"), GET, 1, "Tried Kaggle"),
    ("empty credentials", lambda w: use_kaggle(w, KAGGLE_USERNAME="", KAGGLE_KEY="", answer=refusal(401)), GET, 1, "401"),
    ("empty kaggle.json", lambda w: kaggle_json(w, ""), GET, 1, "Invalid Kaggle credentials file"),
    ("kaggle.json without key", lambda w: kaggle_json(w, '{"username": "me"}'), GET, 1, "missing 'key'"),
    # the dataset's folder
    ("no class folder", lambda w: w.remove(GLIOMA), CHECKED, 1, f"missing: {FIRST}"),
    ("misspelt class folder", lambda w: w.rename(GLIOMA, "glioma_tumour"), CHECKED, 1, "renamed.*was Training/glioma_tumor"),
    ("empty class folder", lambda w: w.empty(GLIOMA), CHECKED, 1, f"{GLIOMA} .an empty folder"),
    ("fifth class", lambda w: (w.images / "Training/fifth").mkdir(), CHECKED, 1, "an empty folder"),
    ("no Testing", lambda w: w.rename("Testing", "Test"), CHECKED, 1, "no folder there holds"),
    ("extra file", lambda w: w.write(f"{GLIOMA}/more.jpg", b"more"), CHECKED, 1, "extra.*more.jpg"),
    ("hidden file", lambda w: w.write("Training/.DS_Store", b""), CHECKED, 1, "extra.*DS_Store"),
    ("renamed file", lambda w: w.rename(FIRST, "z.jpg"), CHECKED, 1, "renamed.*z.jpg"),
    ("truncated file", lambda w: w.write(FIRST, (w.images / FIRST).read_bytes()[:-9]), CHECKED, 1, f"truncated: {FIRST}"),
    ("empty file", lambda w: w.write(FIRST, b""), CHECKED, 1, f"truncated: {FIRST}"),
    ("no image, same size", lambda w: w.write(FIRST, bytes((w.images / FIRST).stat().st_size)), CHECKED, 1, f"altered: {FIRST}"),
    ("enormous picture", lambda w: w.write(FIRST, enormous()), CHECKED, 1, f"altered: {FIRST}"),
    ("enormous file", lambda w: sparse(w, FIRST), CHECKED, 1, f"altered: {FIRST}"),
    ("enormous extra file", lambda w: sparse(w, f"{GLIOMA}/more.jpg"), CHECKED, 1, "extra.*more.jpg"),
    ("link to above", lambda w: (w.images / GLIOMA / "up").symlink_to(".."), CHECKED, 1, "up is a link to a f"),
    ("locked folder", lambda w: w.fail(os, "scandir", errno.EACCES, GLIOMA), "verify", 1, "cannot be opened: Permission denied"),
    ("all locked", lambda w: w.fail(os, "scandir", errno.EACCES, "tumor"), "audit {root}/images", 1, "8 cannot be read"),
    ("link to nothing", lambda w: (w.images / f"{GLIOMA}/more.jpg").symlink_to("nothing"), CHECKED, 1, "extra.*more.jpg"),
    ("a pipe", lambda w: os.mkfifo(w.images / f"{GLIOMA}/more.jpg"), CHECKED, 1, "extra.*more.jpg"),
    ("TUMOR_MRI_DATA absent", lambda w: w.patch.setenv("TUMOR_MRI_DATA", "/absent"), CHECKED, 1, "TUMOR_MRI_DATA is /absent"),
    ("TUMOR_MRI_DATA a file", lambda w: w.patch.setenv("TUMOR_MRI_DATA", __file__), CHECKED, 1, "TUMOR_MRI_DATA is"),
    ("TUMOR_MRI_DATA too long", lambda w: w.patch.setenv("TUMOR_MRI_DATA", "x" * 5000), CHECKED, 1, "too long"),
    ("no such folder", lambda w: None, ("verify /absent", "audit /absent"), 1, "there is no folder /absent"),
    ("other folder", lambda w: None, ("verify {root}/home", "audit {root}/home"), 1, "missing: |no image"),
    ("all cut", lambda w: w.write_all(b"\xff\xd8"), "audit {root}/images", 1, "can be read"),
    ("all enormous", lambda w: w.write_all(enormous()), "audit {root}/images", 1, "far more than the 100,000,000 pixels"),
    ("predict nothing", lambda w: None, "predict {root}/absent", 1, "absent does not exist"),
    ("predict a pipe", lambda w: os.mkfifo(w.root / "pipe"), "predict {root}/pipe", 1, "pipe is not a plain file"),
    ("predict a device", lambda w: None, ("predict /dev/zero", "predict /dev/null"), 1, "/dev/.* is not a plain file"),
    # disk and folders
    ("disk full, archive", lambda w: (w.serve(), w.fail(builtins, "open", errno.ENOSPC, ".download-")), GET, 1, "No space"),
    ("disk full, unpacking", lambda w: (w.serve(body=archive(w)), w.fail(tarfile, "copyfileobj", errno.ENOSPC)), GET, 1, "space"),
    ("read-only data", lambda w: (w.serve(), w.fail(download.tempfile, "mkdtemp", errno.EROFS)), GET, 1, "Read-only.*TUMOR"),
    ("unreadable folder", lambda w: w.fail(Path, "read_bytes", errno.EACCES, GLIOMA), "verify", 1, "Permission denied"),
    ("disk full, records", lambda w: w.fail(os, "fsync", errno.ENOSPC), TRAIN, 1, "cannot be written.*No space"),
    ("read-only records", lambda w: w.fail(records.tempfile, "TemporaryFile", errno.EROFS), TRAIN, 1, "Read-only"),
    ("output is a file", lambda w: None, "audit --output {root}/data/manifest.csv", 1, "manifest.csv: File exists"),
    ("output is a file", lambda w: None, "reproduce --output {root}/data/manifest.csv", 1, "manifest.csv: File exists"),
    ("output is a file", lambda w: None, "site --output {root}/data/manifest.csv", 1, "manifest.csv: File exists"),
    ("disk full, audit", lambda w: w.fail(pd.DataFrame, "to_csv", errno.ENOSPC), "audit --output {root}/tmp", 1, "No space"),
    # records
    ("no record", lambda w: w.record(b"not a record"), READ, 1, "damaged, or no record"),
    ("empty record", lambda w: w.record(b""), READ, 1, "damaged, or no record"),
    ("cut record", lambda w: w.record(whole()[:-40]), READ, 1, "damaged"),
    ("flipped record", lambda w: w.record(whole()[:90] + b"\xff" + whole()[91:]), READ, 1, "damaged"),
    ("pickle", lambda w: w.record(packed(about=np.array([{}], dtype=object))), READ, 1, "allow_pickle=False"),
    ("foreign archive", lambda w: w.record(packed(x=np.zeros(3))), READ, 1, "no record"),
    ("record too large", lambda w: w.record(packed(about=np.zeros(51 * 10**6, np.uint8))), READ, 1, "unpacks to more"),
    ("later format", lambda w: w.record(altered(lambda about: about.update(format=2))), READ, 1, "update the project"),
    ("later setting", lambda w: w.record(altered(lambda about: about["config"].update(new=1))), READ, 1, "not know"),
    ("lost setting", lambda w: w.record(altered(lambda about: about.pop("history"))), READ, 1, "not know"),
    ("other protocol", lambda w: w.record(altered(lambda a: a["config"].update(protocol="z"))), READ, 1, "unknown protocol"),
    ("another run's", lambda w: w.record(records.encode(samples.empty_run(replace(CONFIG, seed=9)))), READ, 1, "of another run"),
    ("other dataset", lambda w: w.record(whole()), "runs", 1, "not the images of its protocol"),
    ("record is a folder", lambda w: (w.records / "x.npz").mkdir(), "runs", 1, "Is a directory"),
    # arguments
    ("no command", lambda w: None, "", 2, "COMMAND"),
    ("unknown command", lambda w: None, "fly", 2, "fly"),
    ("unknown option", lambda w: None, "runs --fast", 2, "--fast"),
    ("no study", lambda w: None, "train", 2, "--study"),
    ("unknown study", lambda w: None, "train --study z", 2, "tiny"),
    ("no workers", lambda w: None, ("train --study tiny --workers 0", "train --study tiny --workers -3"), 2, "at least 1"),
    ("workers in words", lambda w: None, "train --study tiny --workers two", 2, "two"),
    ("no scheduler", lambda w: None, "train --study tiny --scheduler tcp://127.0.0.1:9", 1, "no scheduler answers"),
    ("no address", lambda w: None, "train --study tiny --scheduler tcp://127.0.0.1:port", 1, "port|scheduler"),
    ("no such notebook", lambda w: None, "notebooks {root}/absent.ipynb", 1, "No such file"),
    ("no notebook", lambda w: None, "notebooks {root}/data/manifest.csv", 1, "is not a notebook"),
    ("not a notebook", lambda w: (w.root / "a.ipynb").write_text("{}"), "notebooks {root}/a.ipynb", 1, "is not a notebook"),
    # Kaggle
    ("no credentials", lambda w: w.patch.setenv(*HALF[0]), PUSH, 1, "there are none: set KAGGLE_API_TOKEN"),
    ("half of them", lambda w: [w.patch.setenv(*pair) for pair in HALF], PUSH, 1, "there are none: KAGGLE_USERNAME is not set"),
    ("read-only output", lambda w: w.fail(Path, "mkdir", errno.EROFS), "kaggle --output {root}/tmp/kaggle", 1, "Read-only"),
    ("output is a file", lambda w: None, "kaggle --output {root}/data/manifest.csv", 1, "manifest.csv: File exists"),
    ("no checkout", lambda w: w.patch.setattr(kaggle, "SOURCE", w.root), "kaggle --output {root}/tmp", 1, "copy of the"),
    # versions
    ("old TensorFlow", lambda w: version(w, "tensorflow", "2.18.1"), "decode", 1, "tensorflow from 2.19 to below 2.22.*2.18.1"),
    ("late TensorFlow", lambda w: version(w, "tensorflow", "2.22.0-rc1"), "decode", 1, "found 2.22.0-rc1"),
    ("old Keras", lambda w: version(w, "keras", "2.15.0"), "decode", 1, "keras from 3.10 to below 4, found 2.15.0"),
    # processes of their own
    ("old Python", lambda w: None, f"python -c {shlex.quote(python((3, 9, 0)))}", 1, "Python 3.10 to 3.13.*found 3.9"),
    ("late Python", lambda w: None, f"python -c {shlex.quote(python((3, 14, 0)))}", 1, "Python 3.10 to 3.13.*found 3.14"),
    ("strict lane", lambda w: w.patch.setenv("TUMOR_MRI_DATA", "/absent"), "python tests/strict_lane.py", 1, "TUMOR_MRI_DATA is"),
    ("train lane", lambda w: w.patch.setenv("TUMOR_MRI_DATA", "/absent"), "python tests/train_lane.py", 1, "TUMOR_MRI_DATA is"),
]  # fmt: skip

FLAT = [
    pytest.param(prepare, command, status, words, id=f"{name}, {command.split()[0] if command else 'nothing'}")
    for name, prepare, commands, status, words in CASES
    for command in ([commands] if isinstance(commands, str) else commands)
]


def call(command, root, capfd):
    """Exit status, and what was said on standard output and error."""
    words = shlex.split(command.format(root=root) if "runpy" not in command else command)
    if words[:1] == ["python"]:
        here = Path(__file__).resolve().parent.parent
        environment = os.environ | {"PYTHONPATH": str(here)}
        done = subprocess.run([sys.executable, *words[1:]], cwd=here, env=environment, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr
    try:
        status = cli.main(words)
    except SystemExit as ended:
        status = ended.code
    return status, *capfd.readouterr()


@pytest.mark.parametrize(("prepare", "command", "status", "words"), FLAT)
def test_bad_input_is_one_sentence_and_harms_nothing(world, capfd, prepare, command, status, words):
    prepare(world)
    before = world.seen()
    capfd.readouterr()
    found, out, error = call(command, world.root, capfd)
    assert found == status, error
    *usage, sentence = error.splitlines()
    assert "error: " in sentence and re.search(words.replace("{root}", str(world.root)), sentence), error
    assert status == 2 or not usage, error
    assert "Traceback" not in out + error
    assert SECRET not in out + error and "KGAT" not in out + error
    assert world.seen() == before
    assert not Path("/tmp/evil").exists()


SETTINGS = [
    ({"protocol": "random"}, "unknown protocol 'random': choose one of"),
    ({"fold": 1}, "training_only has only fold 0"),
    ({"protocol": "grouped", "fold": 5}, "folds 0 to 4"),
    ({"widths": (0, 4, 4, 4)}, "integers of at least 1"),
    ({"widths": (4, 4, 4)}, "four integers"),
    ({"widths": (4, 4, 4, 1.5)}, "four integers"),
    ({"seed": -1}, "a seed is 0 or more, got -1"),
    ({"epochs": 0}, "at least 1"),
    ({"train_images": 0}, "at least 1"),
    ({"precision": "float16"}, "got 'float16'"),
]


@pytest.mark.parametrize(("settings", "words"), SETTINGS, ids=str)
def test_bad_settings_are_refused_before_anything_is_trained(settings, words):
    with pytest.raises(ValueError, match=words):
        replace(CONFIG, **settings)


def test_a_good_archive_arrives_whole_even_by_a_redirect(world, capfd):
    world.serve(body=archive(world), status=302, headers={"Location": f"{world.address}/moved"})
    assert cli.main(["download"]) == 0, capfd.readouterr()
    target = world.data / manifests.BRAIN_TUMOUR_MRI.name
    assert manifests.verify(target, manifests.load_manifest()) == []
    assert not list(world.data.glob(".download-*"))


def test_two_downloads_at_once_both_succeed(world):
    target = world.data / manifests.BRAIN_TUMOUR_MRI.name
    world.serve()

    def fetch(address, scratch, progress):
        shutil.copytree(world.images, scratch / "ours")
        shutil.copytree(world.images, target)  # by another process, meanwhile

    world.patch.setattr(download, "_fetch_archive", fetch)
    assert download.download(progress=False) == target
    assert manifests.verify(target, manifests.load_manifest()) == []
    assert not list(world.data.glob(".download-*"))


def test_part_of_a_dataset_that_appears_during_the_download_is_not_used(world):
    world.serve()

    def fetch(address, scratch, progress):
        shutil.copytree(world.images, scratch / "ours")
        shutil.copytree(world.images / "Training", world.data / manifests.BRAIN_TUMOUR_MRI.name / "Training")

    world.patch.setattr(download, "_fetch_archive", fetch)
    with pytest.raises(manifests.DatasetError, match="not empty"):
        download.download(progress=False)


@pytest.mark.parametrize(("exceptions", "asked"), [("", True), ("*", False)])
def test_behind_a_proxy_kaggle_is_asked_without_a_connection_of_our_own(world, exceptions, asked):
    import kagglehub

    world.serve()
    world.use_proxy("http://127.0.0.1:9")
    world.patch.setenv("no_proxy", exceptions)
    world.patch.setattr(download, "_fetch_from_kaggle", world.fetch_from_kaggle)
    world.fail(socket, "create_connection", errno.ENETUNREACH)
    world.patch.setattr(kagglehub, "dataset_download", lambda handle: str(world.images))
    if asked:
        assert download.download(progress=False) == world.data / manifests.BRAIN_TUMOUR_MRI.name
    else:
        with pytest.raises(manifests.DatasetError, match="Kaggle: .*unreachable"):
            download.download(progress=False)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
def test_an_own_certificate_authority_is_trusted_by_either_variable(world, variable):
    world.serve(body=archive(world), url=tls(world))
    world.patch.setenv(variable, str(world.root / "home/own.pem"))
    before = dict(os.environ)
    download.download(progress=False)
    assert dict(os.environ) == before


def test_a_full_disk_stops_no_reading(world, capfd):
    world.fail(np, "save", errno.ENOSPC, str(world.data))  # but there is room in the temporary folder
    assert cli.main(["decode"]) == 0
    assert capfd.readouterr().err == ""
    (folder,) = (world.root / "tmp").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len(list(folder.iterdir())) == 2 and not list((world.data / "cache").iterdir())
    world.fail(decoding, "decode", errno.EIO)  # is not called again
    assert cli.main(["decode"]) == 0, capfd.readouterr()


def test_without_room_anywhere_the_images_are_decoded_and_one_line_says_so(world, capfd):
    before = world.seen()
    world.fail(np, "save", errno.ENOSPC)
    assert cli.main(["decode"]) == 0
    (line,) = capfd.readouterr().err.splitlines()
    assert line.count("No space left") == 2 and "Make room" in line
    assert [path for path in world.seen() if path not in before] == [world.root / f"tmp/tumor_mri-{os.getuid()}"]


def test_class_folders_that_are_links_are_decoded_too(world):
    manifest = manifests.load_manifest()
    images = decoding.decode(world.images, manifest)
    (world.images / GLIOMA).rename(world.root / "elsewhere")
    (world.images / GLIOMA).symlink_to(world.root / "elsewhere")
    assert manifests.verify(world.images, manifest) == []
    assert np.array_equal(decoding.decode(world.images, manifest), images)


def test_a_slow_download_that_moves_may_finish(world):
    body, silence = archive(world), 2
    drip = 2 * silence / (len(body) / 4096)
    world.serve(body=body, drip=drip, silence=silence)
    download.download(progress=False)
    assert world.pauses * drip > 1.5 * silence  # all of it took longer than one silence may


def test_sources_that_say_nothing_are_given_up_together(world, capfd):
    import kagglehub

    never, asked = threading.Event(), []

    def say_nothing(name):
        return lambda *arguments, **settings: asked.append(name) or never.wait(600)

    world.serve(stall=600, silence=1)
    world.patch.setattr(download, "_fetch_from_kaggle", world.fetch_from_kaggle)
    world.patch.setattr(kagglehub, "dataset_download", say_nothing("kagglehub"))
    world.patch.setattr(socket, "create_connection", say_nothing("connection"))
    world.patch.setattr(pooch.HTTPDownloader, "__call__", say_nothing("archive"))
    assert cli.main(["download"]) == 1
    assert capfd.readouterr().err.count("nothing arrived for") == 2  # were they waited for, they would say something else
    assert asked == ["connection", "archive"]  # each once: none is tried again
    world.patch.setattr(socket, "create_connection", lambda *arguments, **settings: socket.socket())
    assert cli.main(["download"]) == 1
    assert capfd.readouterr().err.count("nothing arrived for") == 2
    assert asked[2:] == ["kagglehub", "archive"]
    assert "KAGGLEHUB_CACHE" not in os.environ
    never.set()


def test_three_silences_are_less_than_twenty_seconds():
    assert 3 * download.SILENCE < 20


def test_a_wrong_folder_stops_pytest_with_a_sentence(world):
    world.patch.setenv("TUMOR_MRI_DATA", "/absent")
    here = Path(__file__).resolve().parent
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(here / "test_protocols.py")]
    done = subprocess.run(command, cwd=here.parent, capture_output=True, text=True)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "TUMOR_MRI_DATA is /absent" in done.stderr and "Traceback" not in done.stdout + done.stderr


def test_a_notebook_survives_a_full_disk(world):
    path = world.root / "home" / "01_a.ipynb"
    path.write_text("kept")
    world.fail(os, "replace", errno.ENOSPC)
    with pytest.raises(OSError, match="No space.*01_a.ipynb"):
        text.write_whole(path, "new")
    assert [(file.name, file.read_text()) for file in path.parent.iterdir()] == [("01_a.ipynb", "kept")]


def test_credentials_are_in_no_record(world, manifest):
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        world.patch.setenv(name, SECRET)
    assert SECRET not in json.dumps(environment.describe(manifest))


def test_supported_versions_are_those_of_the_requirements():

    lines = (Path(__file__).parent.parent / "requirements.txt").read_text().splitlines()
    wanted = [line.split("#")[0].strip() for line in lines]
    for package, (lowest, below) in _keras.SUPPORTED.items():
        assert f"{package}>={lowest},<{below}" in wanted


PICKLERS = {"pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"}
LOADERS = {"load_model", "read_pickle", "to_pickle", "enable_unsafe_deserialization"}


def source_of(path):
    """Python code, of a notebook that of its cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    lines = [line for cell in cells for line in "".join(cell["source"]).splitlines()]
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def unsafe(node):
    """Why a piece of code could execute what it reads, or None."""
    if isinstance(node, ast.Import) and PICKLERS & {name.name.split(".")[0] for name in node.names}:
        return "imports a pickler"
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PICKLERS:
        return "imports a pickler"
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    settings = {keyword.arg: getattr(keyword.value, "value", None) for keyword in node.keywords}
    if node.func.attr == "load" and getattr(node.func.value, "id", "") in ("np", "numpy"):
        return None if settings.get("allow_pickle") is False else "reads with NumPy, and does not refuse pickles"
    if node.func.attr in LOADERS and settings.get("safe_mode") is not True:
        return f"calls {node.func.attr}, not in safe mode"
    return None


def code_in(package):
    """The files of a package, those of its rooms included."""
    return sorted(package.rglob("*.py"))


PACKAGE = Path(tumor_mri.__file__).parent
CODE = code_in(PACKAGE) + notebooks.notebook_paths()


def unsafe_in(path):
    return [why for node in ast.walk(ast.parse(source_of(path))) if (why := unsafe(node))]


def test_the_code_of_every_room_is_looked_at(tmp_path):
    rooms = {path.relative_to(PACKAGE).parts[0] for path in CODE if path.is_relative_to(PACKAGE)}
    assert rooms >= {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()}
    assert len({path.parent for path in CODE}) > 8
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "wrong.py").write_text("import pickle\n")
    assert [unsafe_in(path) for path in code_in(tmp_path)] == [["imports a pickler"]]


@pytest.mark.parametrize("path", CODE, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_nothing_that_is_read_is_executed(path):
    assert unsafe_in(path) == []


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from joblib import load", "np.load(x)", "np.load(x, allow_pickle=True)", "keras.models.load_model(x)"],
)
def test_what_would_execute_is_seen(code):
    assert any(unsafe(node) for node in ast.walk(ast.parse(code)))
