"""Prediction with a published network, here an untrained one: its files, any image, and what it says."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tumor_mri import __main__
from tumor_mri.datasets import manifests
from tumor_mri.models import preprocessing, published
from tumor_mri.runs import training
from tumor_mri.study import publishing


@pytest.fixture(scope="module")
def some(manifest):
    return manifest.groupby("class").head(6)


@pytest.fixture(scope="module")
def folder(some, tmp_path_factory):
    """What `publish` writes, of a network with random weights and random scans."""
    place = tmp_path_factory.mktemp("published")
    scans = np.random.default_rng(0).integers(0, 256, (len(some), *published.size()), dtype=np.uint8)
    # seeded: of some random weights, the answers to two nearly equal pictures differ by more than the tests allow
    model = training.build_alone(lambda: training.build_network(publishing.CONFIG, published.size()), "float32", seed=1)
    model.save(place / "trained.keras")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preprocessing, "load_prepared", lambda manifest, **settings: scans)
        patch.setattr(
            publishing, "familiar_above", lambda features, groups: -1.0
        )  # its features of noise say nothing about heads
        about = {"temperature": 2.0, "abstain_below": 0.5, "likeness_below": -1.0, "record": "none"}
        publishing.write(place / "files", place / "trained.keras", about, some)
    return place / "files"


@pytest.fixture(scope="module")
def network(folder):
    return published.load(folder)


def test_the_weights_are_small_enough_to_be_in_a_repository(folder):
    for somewhere in (folder, published.FOLDER):
        assert (somewhere / published.MODEL).stat().st_size <= 10_000_000


@pytest.mark.parametrize("sums", [b"", b"\n", b"\xff\xfe", b"no digest"])
def test_files_without_their_digests_are_not_used(folder, sums, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / published.SUMS).write_bytes(sums)
    with pytest.raises(published.PredictionError, match="is not the file that was published"):
        published.load(tmp_path)


@pytest.mark.parametrize("name", [published.MODEL, published.ONNX, published.FEATURES, published.ABOUT])
def test_a_file_that_was_changed_is_not_used(folder, name, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    with pytest.raises(published.PredictionError, match=f"{name} .* is not the file that was published"):
        published.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(published.PredictionError, match="there is no published network"):
        published.load(tmp_path)


KINDS = {
    "grey.png": lambda scan: Image.fromarray(scan),
    "colour.jpg": lambda scan: Image.fromarray(scan).convert("RGB"),
    "palette.gif": lambda scan: Image.fromarray(scan).convert("P"),
    "deep.png": lambda scan: Image.fromarray(scan.astype(np.uint16) * 16),
    "float.tif": lambda scan: Image.fromarray(scan.astype(np.float32) / 255),
    "clear.webp": lambda scan: Image.fromarray(np.dstack([scan, scan, scan, np.full_like(scan, 255)])),
    "black and white.bmp": lambda scan: Image.fromarray(scan).convert("1"),
}


def test_any_common_image_gives_an_answer(network, scan, tmp_path):
    for name, make in KINDS.items():
        make(scan).save(tmp_path / name)
    found = published.predict(published.files_in(tmp_path), network)
    assert list(found["file"]) == sorted(str(tmp_path / name) for name in KINDS) and not found["problem"].any()
    odds = found[list(manifests.BRAIN_TUMOUR_MRI.labels)].to_numpy(dtype=float)
    assert np.allclose(odds.sum(axis=1), 1) and np.allclose(odds.max(axis=1), found["confidence"].astype(float))
    assert list(found["answer"]) == [manifests.BRAIN_TUMOUR_MRI.labels[index] for index in odds.argmax(axis=1)]
    assert list(found["abstains"]) == list(found["confidence"] < network.abstain_below)
    closest = found.sort_values("likeness")["likeness"]
    picky = replace(network, likeness_below=float(closest.iloc[-1]), abstain_below=0.0)  # only the most familiar is answered
    again = published.predict(published.files_in(tmp_path), picky)
    assert list(again["abstains"]) == list(again["likeness"] < closest.iloc[-1]) and again["abstains"].sum() >= 1
    assert (found["likeness"] <= found["similarity"] + 1e-6).all()
    apart = found.set_index("file")
    one, other = (apart.loc[str(tmp_path / name), "confidence"] for name in ("grey.png", "deep.png"))
    assert one == pytest.approx(other, abs=0.02)  # sixteen bits say the same


def test_what_is_no_scan_is_one_clear_sentence_and_the_others_are_answered(network, scan, tmp_path):
    Image.fromarray(scan).save(tmp_path / "scan.png")
    Image.fromarray(scan[:10, :10]).save(tmp_path / "tiny.png")
    whole = (tmp_path / "scan.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "notes.txt").write_text("no image")
    Image.fromarray(np.full((64, 64), np.nan, dtype=np.float32)).save(tmp_path / "void.tif")
    Image.fromarray(scan[:64, :64]).convert("RGB").save(tmp_path / "odd.dds")
    odd = bytearray((tmp_path / "odd.dds").read_bytes())
    odd[80:84] = (0x3C0000).to_bytes(4, "little")  # pixel format flags that do not exist, which Pillow calls not implemented
    (tmp_path / "odd.dds").write_bytes(odd)
    (tmp_path / ".hidden").write_text("nothing to see")
    found = published.predict(published.files_in(tmp_path), network).set_index("file")["problem"]
    found.index = [name.split("/")[-1] for name in found.index]
    assert found["scan.png"] == ""
    assert "10 x 10 pixels: too few" in found["tiny.png"]
    assert "half.png cannot be read as an image: it is cut off" in found["half.png"]
    assert found["notes.txt"].endswith("cannot be read as an image: it is empty, or in a format that Pillow does not know")
    assert "void.tif has no grey level that is a number" in found["void.tif"]
    assert "odd.dds cannot be read as an image" in found["odd.dds"]
    assert ".hidden" not in found


def test_nothing_to_predict_is_one_sentence(tmp_path):
    with pytest.raises(published.PredictionError, match="does not exist"):
        published.files_in(tmp_path / "nowhere")
    with pytest.raises(published.PredictionError, match="holds no files"):
        published.files_in(tmp_path)


def test_a_training_scan_is_nearest_to_itself(network, some):
    """Features of a scan that is among them: the network of `load` and the one that wrote them are the same."""
    scans = np.random.default_rng(0).integers(0, 256, (len(some), *published.size()), dtype=np.uint8)
    answers = [answer for answer, _ in published._answers(scans[:5], network)]
    assert [answer["nearest"] for answer in answers] == list(some["path"][:5])
    assert all(answer["similarity"] == pytest.approx(1, abs=1e-3) for answer in answers)


def test_the_command_line_prints_a_table_or_json(folder, scan, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(published, "load", lambda read=published.load: read(folder))
    Image.fromarray(scan).save(tmp_path / "scan.png")
    (tmp_path / "notes.txt").write_text("no image")
    assert __main__.main(["predict", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert (
        "scan.png" in printed.out
        and "notes.txt cannot be read as an image" in printed.out
        and "not a diagnostic device" in printed.err
    )
    assert __main__.main(["predict", "--json", str(tmp_path / "scan.png")]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert set(row) == {
        "file",
        "page",
        "problem",
        "answer",
        "abstains",
        "confidence",
        *manifests.BRAIN_TUMOUR_MRI.classes,
        *published.NEAREST,
    }
    assert __main__.main(["predict", str(tmp_path / "notes.txt")]) == 1
    assert "none of 1 files can be read as an image" in capsys.readouterr().err


@pytest.mark.parametrize(
    "content, words",
    [
        ("[]", "does not describe a network"),
        ("", "does not describe a network"),
        ('{"temperature": 0, "abstain_below": 0.5, "record": "a", "familiar_above": 0}', "needs a temperature above 0"),
        ('{"temperature": "warm", "abstain_below": 0.5, "record": "a"}', "does not describe a network"),
        ('{"temperature": 1, "abstain_below": 5, "record": "a", "familiar_above": 0}', "abstain_below from 0 to 1"),
        (
            '{"temperature": 1, "abstain_below": 0.5, "record": "a", "familiar_above": 2}',
            "familiar_above and likeness_below from",
        ),
        ('{"temperature": 1, "abstain_below": 0.5}', "does not describe a network: 'record'"),
    ],
)
def test_facts_that_make_no_sense_are_refused_though_their_digest_fits(folder, content, words, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / published.ABOUT).write_text(content)
    names = (published.MODEL, published.ONNX, published.FEATURES, published.ABOUT)
    lines = [f"{hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (tmp_path / published.SUMS).write_text("".join(lines))
    with pytest.raises(published.PredictionError, match=words):
        published.load(tmp_path)
