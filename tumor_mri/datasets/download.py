"""Find the images on this machine, or download them: the whole dataset, checked, or nothing."""

import base64
import concurrent.futures
import contextlib
import gzip
import os
import shutil
import socket
import ssl
import tarfile
import tempfile
import threading
import time
import urllib.request
import zlib
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from tumor_mri.datasets import manifests

KAGGLE_MOUNT = Path(os.environ.get("TUMOR_MRI_KAGGLE_INPUT", "/kaggle/input"))  # the variable is for tests
KAGGLE_SERVER = ("www.kaggle.com", 443)
LARGEST_UNPACKED = 400_000_000  # bytes; the dataset has 93 million, and an archive of it no reason to be or hold much more
SILENCE = 6  # seconds without a byte before a step is given up; there are three steps, so that all give up within 20 seconds


def find(dataset: manifests.Dataset | None = None) -> Path | None:
    """The dataset's folder on this machine, or None: ``TUMOR_MRI_DATA``, a Kaggle mount, ``data/``, in this order.

    Args:
        dataset: None for the project's.

    Raises:
        DatasetError: if ``TUMOR_MRI_DATA`` is set and no folder there holds ``Training`` and ``Testing``.
    """
    dataset = dataset or manifests.BRAIN_TUMOUR_MRI
    named = os.environ.get("TUMOR_MRI_DATA")
    if named and _search(Path(named), 1) is None:
        raise manifests.DatasetError(
            f"TUMOR_MRI_DATA is {named}, but no folder there holds Training and Testing: correct it, or unset it"
        )
    if named and (found := _search(Path(named), 1, dataset)):
        return found
    return _search(KAGGLE_MOUNT, 4, dataset) or _search(manifests.LOCAL_DATA / dataset.name, 0, dataset)


def _search(folder, depth, dataset=None):
    """The first folder at or below `folder` that holds both splits, of `dataset` if it is given; None within `depth` levels."""
    if all((folder / split).is_dir() for split in manifests.SPLITS):
        return folder if dataset is None or _has_classes(folder, dataset) else None
    if depth == 0 or not folder.is_dir():
        return None
    below = sorted(child for child in folder.iterdir() if child.is_dir())
    return next((found for child in below if (found := _search(child, depth - 1, dataset))), None)


def _has_classes(folder, dataset):
    """Whether the splits in a folder are of a dataset: they hold one of its classes, or nothing, which `check` then says."""
    with contextlib.suppress(PermissionError):  # `check` says that too
        inside = {child.name for split in manifests.SPLITS for child in (folder / split).iterdir() if child.is_dir()}
        return not inside or bool(inside & set(dataset.classes))
    return True


def locate(dataset: manifests.Dataset | None = None) -> Path:
    """The dataset's folder, downloaded into ``data/`` if this machine has none.

    Args:
        dataset: None for the project's.

    Raises:
        DatasetError: if it is not on this machine and cannot be downloaded.
    """
    return find(dataset) or download(dataset=dataset)


def locate_or_none() -> Path | None:
    """As `locate`, but if there is no dataset, prints one sentence that says so, and returns None."""
    if os.environ.get("TUMOR_MRI_PHANTOMS"):  # `reproduce` has tried already
        print("No dataset could be had: pictures of scans are replaced by drawn phantoms.")
        return None
    try:
        folder = locate()
    except manifests.DatasetError as error:
        print(f"No dataset could be had, pictures of scans are replaced by drawn phantoms. {error}")
        return None
    print("The dataset is at hand.")
    return folder


def download(
    target: Path | str | None = None,
    manifest: pd.DataFrame | None = None,
    progress: bool = True,
    dataset: manifests.Dataset | None = None,
) -> Path:
    """Download the dataset, check every file, and move it into place: the whole of it, or nothing.

    If nothing arrives, all attempts together give up within 20 seconds; a slow download that keeps moving may take its time.

    Args:
        target: folder to make; None for one in ``data/`` of the dataset's name.
        manifest: what must be in it; None for the dataset's.
        progress: show a bar.
        dataset: None for the project's.

    Raises:
        DatasetError: with each attempt and why it failed, and what to do by hand.
    """
    dataset = dataset or manifests.BRAIN_TUMOUR_MRI
    target = manifests.LOCAL_DATA / dataset.name if target is None else Path(target)
    manifest = manifests.load_manifest(dataset) if manifest is None else manifest
    if target.exists():
        manifests.check(target, manifest)
        return target
    failures = []
    for name, fetch, address in (
        ("Kaggle", _fetch_from_kaggle, dataset.kaggle),
        ("the author's git copy", _fetch_archive, dataset.archive),
    ):
        if not address:
            continue
        with _scratch_beside(target) as scratch, _own_authority():
            try:
                fetch(address, Path(scratch), progress)
                found = _search(Path(scratch), depth=3)
                if found is None:
                    raise manifests.DatasetError("what arrived holds no Training and Testing")
                if problems := manifests.verify(found, manifest):
                    raise _OtherImages(manifests.in_short(problems))
                _move(found, target, manifest)
                return target
            except Exception as error:  # whatever a source does wrong, the next one is tried and the user told
                failures.append(f"{name}: {reason(error)}{_advice(name, error)}")
    from_kaggle = f" from https://www.kaggle.com/datasets/{dataset.kaggle}" if dataset.kaggle else ""
    raise manifests.DatasetError(
        f"the dataset could not be downloaded. Tried {'; '.join(failures) or 'nothing, as no source of it is registered'}. "
        f"Download it by hand{from_kaggle}, unpack it as data/{dataset.name}, or set TUMOR_MRI_DATA to its folder"
    )


class _OtherImages(manifests.DatasetError):
    """What a source gave is a dataset, but not the manifest's."""


def _move(found, target, manifest):
    """Move a whole dataset into its place, where another process may have put one meanwhile.

    Raises:
        OSError: if it cannot be moved, and there is no whole dataset in its place.
    """
    try:
        os.replace(found, target)
    except OSError:
        if not target.is_dir() or manifests.verify(target, manifest):
            raise


def _advice(name, error):
    """What to do about an error of a source, in brackets; empty if nothing is known."""
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in _chain(error)):
        return " (if your network has its own certificate authority, set SSL_CERT_FILE or REQUESTS_CA_BUNDLE to its certificate)"
    cache = os.environ.get("KAGGLEHUB_CACHE")
    if name == "Kaggle" and cache and isinstance(error, _OtherImages):
        return f" (what kagglehub has kept may be damaged: empty KAGGLEHUB_CACHE, {cache}, and try again)"
    return ""


def _chain(error):
    """An error, and those it was raised from, outermost first; urllib3 keeps its own in `reason` or among the arguments."""
    seen = []
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and one not in seen:
            seen.append(one)
            waiting += [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
    return seen


@contextlib.contextmanager
def _own_authority():
    """Let a certificate authority that is named for Python (SSL_CERT_FILE) hold for the library requests too, and only here."""
    if "SSL_CERT_FILE" not in os.environ or "REQUESTS_CA_BUNDLE" in os.environ:
        yield
        return
    os.environ["REQUESTS_CA_BUNDLE"] = os.environ["SSL_CERT_FILE"]
    try:
        yield
    finally:
        os.environ.pop("REQUESTS_CA_BUNDLE", None)


def _scratch_beside(target):
    """A temporary folder on the disk of `target`, so that what is whole is moved, not copied.

    Raises:
        DatasetError: if none can be made.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=target.parent, prefix=".download-", ignore_cleanup_errors=True)
    except OSError as error:
        raise manifests.DatasetError(
            f"the dataset cannot be written into {target.parent}: {error.strerror or error}. Make room for 200 MB there, or set "
            "TUMOR_MRI_DATA to the folder of a dataset that is elsewhere"
        ) from error


def reason(error: BaseException) -> str:
    """An error in one line of at most 200 characters, without credentials."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        return (
            f"it refuses the credentials or wants some (HTTP {status}): renew or remove ~/.kaggle, KAGGLE_KEY, KAGGLE_API_TOKEN"
        )
    text = _in_words(error)
    for secret in _secrets():
        text = text.replace(secret, "…")
    return text[:200]


def _in_words(error):
    """An error's text on one line; of a failed connection, which requests reports as a chain of nested texts, the cause alone."""
    chain = _chain(error)
    if any(type(one).__module__.startswith("requests") for one in chain):
        nested = [one for one in chain if isinstance(one, OSError) and one.strerror]  # the system's own words
        if nested:
            return nested[-1].strerror if not isinstance(nested[-1], ssl.SSLError) else str(nested[-1])
        if any("Timeout" in type(one).__name__ for one in chain):
            return f"nothing arrived for {SILENCE} seconds"
        if any(type(one).__name__ == "ProxyError" for one in chain):
            return f"the proxy cannot be used: {chain[-1]}"
    return " ".join(str(error).split()) or type(error).__name__


def _secrets() -> list:
    """What must not be shown of the user's credentials: keys and tokens, whole, by line, and as sent; longest first."""
    try:
        from kagglehub.config import get_kaggle_credentials

        found = get_kaggle_credentials()
    except Exception:  # no kagglehub, or credentials that cannot be read: then nobody else has read them either
        return []
    if found is None:
        return []
    parts = {part for text in (found.key, getattr(found, "api_key", None)) if text for part in (text, *text.split())}
    if found.key:
        parts.add(base64.b64encode(f"{found.username}:{found.key}".encode()).decode())
    return sorted(parts, key=len, reverse=True)


def _unless_silent(work, *folders):
    """Do `work` in a thread, and give it up if it does not end and nothing in `folders` grows for `SILENCE` seconds.

    Sockets have timeouts of their own, but not all that libraries open, nor the look-up of names, nor a server that sends a
    byte now and then. A thread that is given up ends with the process.

    Raises:
        DatasetError: if it is given up; else whatever `work` raises.
    """
    outcome = concurrent.futures.Future()

    def do():
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=do, daemon=True).start()
    seen, since = None, time.monotonic()
    while not concurrent.futures.wait([outcome], timeout=SILENCE / 20).done:
        arrived = sum(_size(path) for folder in folders for path in Path(folder).rglob("*"))
        if arrived != seen:
            seen, since = arrived, time.monotonic()
        elif time.monotonic() - since > SILENCE:
            raise manifests.DatasetError(f"nothing arrived for {SILENCE} seconds")
    return outcome.result()


def _size(path):
    """Bytes of a file, 0 if it has been moved away since it was listed."""
    try:
        return manifests.size_of(path)
    except OSError:
        return 0


def _fetch_from_kaggle(handle, scratch, progress):
    """With kagglehub, which shows its own bar; anonymous unless there are credentials."""
    # without a network kagglehub tries again for minutes, so a connection is tried first; behind a proxy there is none to try
    if not _has_proxy(KAGGLE_SERVER[0]):
        _unless_silent(lambda: socket.create_connection(KAGGLE_SERVER, timeout=SILENCE).close())
    import kagglehub
    import kagglehub.clients

    kagglehub.clients.CHUNK_SIZE = 1 << 14  # bytes written at a time: a slow download is seen to move
    cache = Path(os.environ.setdefault("KAGGLEHUB_CACHE", str(scratch / "kagglehub")))
    try:
        cached = _unless_silent(lambda: Path(kagglehub.dataset_download(handle)), scratch, cache / "datasets" / handle)
    finally:
        if cache.is_relative_to(scratch):
            del os.environ["KAGGLEHUB_CACHE"]
    if not cached.is_relative_to(scratch):
        shutil.copytree(cached, scratch / "copy")


def _has_proxy(host):
    """Whether the environment, HTTPS_PROXY and NO_PROXY, or the system sends secure connections with a host through a proxy."""
    return "https" in urllib.request.getproxies() and not urllib.request.proxy_bypass(host)


def _fetch_archive(address, scratch, progress):
    """The author's git copy at a pinned commit, as a .tar.gz, downloaded by pooch and unpacked into `scratch`.

    No digest of the archive is known: git hosts may compress the same files in another way some day. Its files have digests.

    Raises:
        DatasetError: if it is cut off, or larger than any archive of the dataset.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # else it writes the digest that it suggests to be known
    bar = _Bar(progress)
    as_it_is = {"Accept-Encoding": "identity"}  # the sizes are then those of the file
    downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 12, timeout=SILENCE, headers=as_it_is)
    try:
        archive = _unless_silent(
            lambda: pooch.retrieve(address, None, fname="archive.tar.gz", path=scratch, downloader=downloader), scratch
        )
    except requests.HTTPError as error:
        raise manifests.DatasetError(f"the server answers HTTP {error.response.status_code}") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise manifests.DatasetError(f"the download stopped before the end of its {bar.total:,} bytes") from error
    finally:
        bar.close()
    _unpack(archive, scratch / "unpacked")
    os.unlink(archive)


class _Bar:
    """The progress bar that pooch moves. It also ends a download that is larger than any archive of the dataset."""

    def __init__(self, shown):
        self._bar = tqdm(unit="B", unit_scale=True, desc="download", disable=not shown)
        self._total = self._arrived = 0

    @property
    def total(self):
        """Bytes that the server has announced, 0 if it has not."""
        return self._total

    @total.setter
    def total(self, size):
        self._total = size
        self._bar.total = size or None
        self._check(size)

    def update(self, size):
        self._arrived += size
        self._check(self._arrived)
        self._bar.update(size)

    def reset(self):
        self._arrived = 0
        self._bar.reset(self._total or None)

    def close(self):
        self._bar.close()

    def _check(self, size):
        if size > LARGEST_UNPACKED:
            raise manifests.DatasetError(f"the download is larger than {LARGEST_UNPACKED:,} bytes")


def _unpack(archive, folder):
    """Unpack plain files below `folder` only. pooch's own unpacking limits no size, and before Python 3.12 follows links.

    Raises:
        DatasetError: for a damaged archive, one that unpacks too large, or a member that is a link or would leave the folder.
    """
    total = 0
    try:
        with tarfile.open(archive, "r:gz") as packed:
            for member in packed:
                inside = (folder / member.name).resolve().is_relative_to(folder.resolve())
                if not inside or not (member.isfile() or member.isdir()):
                    raise manifests.DatasetError(f"the archive holds {member.name!r}, which is a link or would leave its folder")
                total += member.size
                if total > LARGEST_UNPACKED:
                    raise manifests.DatasetError(f"the archive unpacks to more than {LARGEST_UNPACKED:,} bytes")
                packed.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise manifests.DatasetError(f"what arrived is no whole archive: {error}") from error
