"""The page for one's own scan: the published network in the browser. No server, and nothing leaves the page.

The runtime is onnxruntime-web, which ``npm pack`` fetches once into ``build/npm``; its SHA-256 is known. All that the page needs
lies beside it as scripts: from the file system a browser loads scripts, but fetches nothing.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from tumor_mri import text
from tumor_mri.datasets import image_files, manifests, phantoms
from tumor_mri.models import published

NAME, VERSION = "onnxruntime-web", "1.30.0"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"  # of the package's archive
CODE, WASM = "package/dist/ort.wasm.bundle.min.mjs", "package/dist/ort-wasm-simd-threaded.wasm"
KEPT = manifests.ROOT / "build" / "npm"
TITLE = "Ask the network about a scan"
DESCRIPTION = "The published network says what it sees on a scan, how sure it is, where it looks, and what the scan resembles."


class RuntimeMissing(text.ProjectError):
    """The browser's runtime is not to be had; the message says why."""


def runtime() -> dict[str, bytes]:
    """The two files of the runtime, by their names in its package.

    Raises:
        RuntimeMissing: see `packed`.
    """
    return packed(NAME, VERSION, SHA256, (CODE, WASM))


def packed(package: str, version: str, sha256: str, files: Iterable[str]) -> dict[str, bytes]:
    """Some files of a package of npm, by their names; it is fetched once, and kept in ``build/npm``.

    Raises:
        RuntimeMissing: if npm is missing, cannot fetch the package, or fetched another one.
    """
    archive = KEPT / f"{package}-{version}.tgz"
    if not archive.is_file():
        if shutil.which("npm") is None:
            raise RuntimeMissing(f"npm is needed once, to fetch {package}: install Node.js")
        KEPT.mkdir(parents=True, exist_ok=True)
        command = ["npm", "pack", f"{package}@{version}", "--silent", "--pack-destination", str(KEPT)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode or not archive.is_file():
            raise RuntimeMissing(f"npm could not fetch {package} {version}: {' '.join(done.stderr.split())[:200]}")
    content = archive.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        archive.unlink()
        raise RuntimeMissing(f"{package} {version} is not the package that was published")
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        return {name: opened.extractfile(name).read() for name in files}


def write(output: Path, files: dict[str, bytes]) -> dict:
    """Write the scripts of the page below ``output/scan``, and return what its template needs besides the usual.

    Args:
        output: the folder of the website.
        files: what `runtime` returns.
    """
    from tumor_mri.site import website

    folder = output / "scan"
    folder.mkdir(parents=True, exist_ok=True)
    facts = published.about()
    with np.load(published.FOLDER / published.FEATURES, allow_pickle=False) as stored:
        features, paths = stored["features"].astype(np.float16), [str(path) for path in stored["paths"]]
    dataset = published.DATASET
    network = {
        "model": _as_text((published.FOLDER / published.ONNX).read_bytes()),
        "features": _as_text(features.tobytes()),
        "paths": paths,
        "labels": list(dataset.labels),
        "classes": dict(zip(dataset.classes, dataset.labels, strict=True)),
        "side": published.size()[0],
        "temperature": facts["temperature"],
        "abstainBelow": facts["abstain_below"],
        "seen": published.SEEN,
        "familiar": facts["familiar_above"],
        "likenessBelow": facts["likeness_below"],
        "neighbours": published.NEIGHBOURS,
        "colourful": published.COLOURFUL,
        "smallest": image_files.SMALLEST,
        "most": image_files.MOST_PIXELS,
    }
    code = files[CODE].decode("utf-8")
    scripts = {
        "runtime.js": f"const RUNTIME = {json.dumps({'code': code, 'wasm': _as_text(files[WASM])})};\n",
        "network.js": f"const NETWORK = {json.dumps(network)};\n",
    }
    for name, script in scripts.items():
        text.write_whole(folder / name, script)
    version = hashlib.sha256("".join(scripts.values()).encode()).hexdigest()[:12]
    offline = (website.TEMPLATES / "scan/offline.js").read_text(encoding="utf-8").replace("{{ version }}", version)
    text.write_whole(output / "scan-offline.js", offline)
    return {
        "megabytes": round(sum(map(len, scripts.values())) / 1e6),
        "seen": published.SEEN,
        "smallest": image_files.SMALLEST,
        "samples": [{"label": label, "picture": _drawing(name)} for name, label in network["classes"].items()],
        "runtime_version": VERSION,
        "prepare_code": (website.TEMPLATES / "scan/prepare.js").read_text(encoding="utf-8"),
        "page_code": (website.TEMPLATES / "scan/page.js").read_text(encoding="utf-8"),
    }


def _as_text(content):
    """Bytes as a text that the page unpacks: gzip, then base64; the same bytes each time."""
    return base64.b64encode(gzip.compress(content, mtime=0)).decode()


def _drawing(name):
    """A drawn head as a data address."""
    file = io.BytesIO()
    Image.fromarray(phantoms.draw(name, seed=1)).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
