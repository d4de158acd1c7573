"""Prediction with a published network, here an untrained one: its files, any image, and what it says."""

import json
import re
import time

import numpy as np
import pytest
from PIL import Image

from tumor_mri import __main__, stats
from tumor_mri.datasets import download, manifests
from tumor_mri.evaluation import benchmark, calibration
from tumor_mri.models import networks, preprocessing, published
from tumor_mri.runs import records
from tumor_mri.site import documents
from tumor_mri.study import publishing


@pytest.fixture(scope="module")
def some(manifest):
    return manifest.groupby("class").head(6)


@pytest.fixture(scope="module")
def folder(some, tmp_path_factory):
    """What `publish` writes, of a network with random weights and random scans."""
    place = tmp_path_factory.mktemp("published")
    scans = np.random.default_rng(0).integers(0, 256, (len(some), 96, 96), dtype=np.uint8)
    model = networks.build_residual()
    model.save(place / "trained.keras")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preprocessing, "load_prepared", lambda manifest: scans)
        publishing.write(place / "files", place / "trained.keras", {"temperature": 2.0, "abstain_below": 0.5}, some)
    return place / "files"


@pytest.fixture(scope="module")
def network(folder):
    return published.load(folder)


@pytest.fixture
def scan():
    rows, columns = np.mgrid[:180, :200]
    return (
        np.where(((rows - 90) / 70) ** 2 + ((columns - 100) / 60) ** 2 < 1, 160, 5).astype(np.uint8) + rows.astype(np.uint8) // 4
    )


def test_the_weights_are_small_enough_to_be_in_a_repository(folder):
    for somewhere in (folder, published.FOLDER):
        assert (somewhere / published.MODEL).stat().st_size <= 5_000_000


def test_the_published_files_are_whole_and_come_from_the_records(manifest):
    said = published.about()  # held against their digests
    assert said["record"] == publishing.CONFIG.key
    temperature, threshold = calibration.calibrate(publishing.grouped_runs(), manifest)
    assert (said["temperature"], said["abstain_below"]) == pytest.approx((temperature, threshold))


@pytest.mark.parametrize("sums", [b"", b"\n", b"\xff\xfe", b"no digest"])
def test_files_without_their_digests_are_not_used(folder, sums, tmp_path):
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / published.SUMS).write_bytes(sums)
    with pytest.raises(published.PredictionError, match="is not the file that was published"):
        published.load(tmp_path)


@pytest.mark.parametrize("name", [published.MODEL, published.FEATURES, published.ABOUT])
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
    odds = found[list(manifests.NAMES)].to_numpy(dtype=float)
    assert np.allclose(odds.sum(axis=1), 1) and np.allclose(odds.max(axis=1), found["confidence"].astype(float))
    assert list(found["answer"]) == [manifests.NAMES[index] for index in odds.argmax(axis=1)]
    assert list(found["abstains"]) == list(found["confidence"] < network.abstain_below)
    apart = found.set_index("file")
    one, other = (apart.loc[str(tmp_path / name), "confidence"] for name in ("grey.png", "deep.png"))
    assert one == pytest.approx(other, abs=0.02)  # sixteen bits say the same


def test_transparency_is_black_and_a_turned_photograph_is_turned_back(scan, tmp_path):
    clear = np.dstack([scan, scan, scan, np.where(scan > 100, 255, 0)]).astype(np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    assert np.array_equal(preprocessing.read(tmp_path / "clear.png") > 0, scan > 100)
    turned = Image.fromarray(scan)
    exif = turned.getexif()
    exif[274] = 6  # a quarter turn
    turned.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(preprocessing.read(tmp_path / "turned.png"), np.rot90(scan, -1))


def test_grey_levels_beyond_all_numbers_are_the_brightest(tmp_path):
    levels = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))
    levels[0, :2] = np.inf, np.nan
    Image.fromarray(levels).save(tmp_path / "levels.tif")
    grey = preprocessing.read(tmp_path / "levels.tif")
    assert list(grey[0, :2]) == [255, 0] and np.array_equal(grey[1], np.rint(255 * levels[1]))


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
    assert "half.png is no image that can be read" in found["half.png"]
    assert found["notes.txt"].endswith("notes.txt is no image that can be read: its content is none that Pillow knows")
    assert "void.tif is no image that can be read: none of its grey levels is a number" in found["void.tif"]
    assert "odd.dds is no image that can be read" in found["odd.dds"]
    assert ".hidden" not in found


def test_nothing_to_predict_is_one_sentence(tmp_path):
    with pytest.raises(published.PredictionError, match="does not exist"):
        published.files_in(tmp_path / "nowhere")
    with pytest.raises(published.PredictionError, match="holds no files"):
        published.files_in(tmp_path)


def test_a_training_scan_is_nearest_to_itself(network, some):
    """Features of a scan that is among them: the network of `load` and the one that wrote them are the same."""
    scans = np.random.default_rng(0).integers(0, 256, (len(some), 96, 96), dtype=np.uint8)
    answers = list(published._answers(scans[:5], network))
    assert [answer["nearest"] for answer in answers] == list(some["path"][:5])
    assert all(answer["similarity"] == pytest.approx(1, abs=1e-3) for answer in answers)


def test_the_command_line_prints_a_table_or_json(folder, scan, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(published, "load", lambda read=published.load: read(folder))
    Image.fromarray(scan).save(tmp_path / "scan.png")
    (tmp_path / "notes.txt").write_text("no image")
    assert __main__.main(["predict", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "scan.png" in printed.out and "notes.txt is no image" in printed.out and "not a diagnostic device" in printed.err
    assert __main__.main(["predict", "--json", str(tmp_path / "scan.png")]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert set(row) == {"file", "problem", "answer", "abstains", "confidence", *manifests.NAMES, *published.NEAREST}
    assert __main__.main(["predict", str(tmp_path / "notes.txt")]) == 1
    assert "none of 1 files can be read as an image" in capsys.readouterr().err


def test_the_temperature_undoes_false_confidence():
    generator = np.random.default_rng(0)
    honest = generator.dirichlet([0.6] * 4, 4000)
    truth = np.array([generator.choice(4, p=odds) for odds in honest])
    for factor in (0.5, 1.0, 2.0):
        assert stats.fit_temperature(stats.soften(honest, factor), truth) == pytest.approx(1 / factor, rel=0.1)


def test_abstaining_costs_answers_and_saves_errors():
    confidence, right = np.array([0.9, 0.8, 0.8, 0.6, 0.5]), np.array([1, 1, 0, 1, 0])
    table = stats.abstention(confidence, right)
    assert list(table["threshold"]) == [0.5, 0.6, 0.8, 0.9]
    assert list(table["answered"]) == pytest.approx([1, 0.8, 0.6, 0.2])
    assert list(table["accuracy"]) == pytest.approx([3 / 5, 3 / 4, 2 / 3, 1])
    assert stats.choose_threshold(confidence, right, 0.7) == 0.6
    assert stats.choose_threshold(confidence, np.zeros(5), 0.7) == 1.0


def test_answered_counts_what_is_sure_and_right():
    odds = np.array([[0.9, 0.1, 0, 0], [0.2, 0.8, 0, 0], [0.4, 0.3, 0.3, 0], [0.1, 0.1, 0.1, 0.7]])
    truth = np.array([0, 1, 0, 0])
    found = calibration.answered(odds, truth, 1.0, 0.75)
    assert [found[name] for name in ("scans", "accuracy", "answered", "accuracy_answered")] == [4, 0.75, 0.5, 1.0]
    assert found["ece"] == pytest.approx(found["ece_calibrated"])
    assert calibration.answered(odds, truth, 1.0, np.array([0.95, 0.75, 0.75, 0.6]))["answered"] == 0.5  # a threshold a scan
    softer = calibration.answered(odds, truth, 5.0, 0.75)
    assert softer["answered"] == 0 and np.isnan(softer["accuracy_answered"]) and softer["accuracy"] == 0.75


def test_the_card_holds_the_figures_of_the_records(manifest, monkeypatch, tmp_path):
    committed = documents.CARD.read_text(encoding="utf-8")
    (tmp_path / "card.md").write_text(committed, encoding="utf-8")
    monkeypatch.setattr(documents, "CARD", tmp_path / "card.md")
    scores = benchmark.table(manifest)
    documents.write_card(scores, manifest)
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == committed, "run `make benchmark`"
    (tmp_path / "card.md").write_text(re.sub(r"\d\d\.\d", "42.0", committed), encoding="utf-8")
    documents.write_card(scores, manifest)
    assert (tmp_path / "card.md").read_text(encoding="utf-8") == committed


def test_the_published_files_are_the_residual_network_and_all_of_training():
    network = published.load()
    assert len(network.paths) == 2870 and network.model.count_params() == networks.build_residual().count_params()


@pytest.mark.needs_dataset
def test_the_published_network_says_what_its_record_says(manifest):
    """In float32 and from the files, where the record was made in bfloat16; and a hundred scans take seconds."""
    run = records.find(publishing.CONFIG, [records.RECORDED])
    network, folder = published.load(), download.locate()
    some = np.linspace(0, len(run.test_paths) - 1, 100).astype(int)
    started = time.process_time()
    found = published.predict([folder / run.test_paths[number] for number in some], network)
    assert time.process_time() - started < 10  # seconds of processor, so that a quiet machine takes less by the clock
    odds = found[list(manifests.NAMES)].to_numpy(dtype=float)
    recorded = stats.soften(run.test_probabilities[some], network.temperature)
    assert (odds.argmax(axis=1) == recorded.argmax(axis=1)).mean() >= 0.97
    assert np.abs(odds - recorded).mean() < 0.02
