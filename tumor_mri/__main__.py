"""The command line: ``python -m tumor_mri --help``. The Makefile calls it; where there is no make, it does the same."""

import argparse
import sys
import warnings
from pathlib import Path

if not (3, 10) <= sys.version_info[:2] <= (3, 13):  # before the imports, which would fail in other words
    sys.exit("error: this needs Python 3.10 to 3.13, which TensorFlow supports; found %d.%d" % sys.version_info[:2])  # noqa: UP031

from tumor_mri import (  # noqa: E402
    audit,
    benchmark,
    claims,
    dataset,
    evaluation,
    inspection,
    kaggle,
    pages,
    prediction,
    preprocessing,
    records,
    study,
    tables,
)


def main(arguments=None) -> int:
    """Run one command; returns the exit status: 0, 1 where it failed (with one sentence), 2 for wrong arguments."""
    options = _parser().parse_args(arguments)
    try:
        return options.command(options) or 0
    except (
        audit.AuditError,
        kaggle.KaggleError,
        pages.PageError,
        prediction.PredictionError,
        dataset.DatasetError,
        records.RecordError,
        evaluation.EvaluationError,
        study.StudyError,
        ImportError,
        OSError,
        ValueError,
        FloatingPointError,
    ) as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what is recorded stays, and the same command goes on from there", file=sys.stderr)
        return 130


def _sentence(error):
    """The text of an error on one line; a system's own, such as a full disk, as file and reason."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m tumor_mri",
        description="Brain-tumour MRI classification, reproduced and examined. Material for learning, not a diagnostic device.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name, function, text):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=function)
        return command

    add("download", _download, "get the dataset, unless it is here already, and check every file")
    verify = add("verify", _verify, "name every missing, extra, renamed, truncated or altered file of the dataset")
    verify.add_argument("folder", nargs="?", type=Path, help="the folder that holds Training and Testing (default: look for it)")
    add("decode", _decode, "decode all images once, into the cache")
    audit_ = add(
        "audit", _audit, "look for copies, patients on both sides of a split, label conflicts and shortcuts in a dataset"
    )
    audit_.add_argument("folder", nargs="?", type=Path, help="any folder of class folders (default: the project's dataset)")
    audit_.add_argument("--output", type=Path, default=dataset.ROOT / "build" / "audit", help="default: build/audit")
    train = add("train", _train, "train the runs that a study still lacks, and list them with their key figures")
    train.add_argument("--study", required=True, choices=study.STUDIES, help="which study")
    train.add_argument("--record", action="store_true", help="into data/results, beside the committed records, not build/runs")
    train.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, tcp://host:8786 (default: this machine)")
    train.add_argument("--workers", type=_positive, help="runs side by side on this machine (default: one a core, or a GPU)")
    add("runs", _runs, "list the recorded runs with their key figures")
    claims_ = add("claims", _claims, "hold the report's claims C1 to C9 against the recorded runs")
    claims_.add_argument("--write", action="store_true", help="and write them into the table of README.md")
    add("benchmark", _benchmark, "compute the baselines of BENCHMARK.md anew, and write its tables and those of MODEL_CARD.md")
    predict = add("predict", _predict, "what the published network says about scans; no diagnosis")
    predict.add_argument("path", type=Path, metavar="FILE_OR_FOLDER", help="an image file, or a folder of them")
    predict.add_argument("--json", action="store_true", help="everything, as JSON, not a table")
    add("publish", _publish, "train the published network on all of Training, and write its weights and its record")
    add("inspect", _inspect, "train the report's network and ours anew, and record what both make of good and spoiled scans")
    reproduce = add("reproduce", _reproduce, "execute all notebooks and write them as web pages")
    reproduce.add_argument("--output", type=Path, default=dataset.ROOT / "build" / "report", help="default: build/report")
    site = add("site", _site, "write all notebooks as they are stored, without running them, as a website")
    site.add_argument("--output", type=Path, default=dataset.ROOT / "build" / "site", help="default: build/site")
    notebooks = add("notebooks", _notebooks, "execute the notebooks in place, so that they are stored with new outputs")
    notebooks.add_argument("paths", nargs="*", type=Path, help="some notebooks only (default: all)")
    kaggle_ = add("kaggle", _kaggle, "write what Kaggle takes: a folder for each notebook, and a dataset with the package")
    kaggle_.add_argument("--user", help="whose Kaggle account (default: that of the credentials here, if any)")
    kaggle_.add_argument("--push", action="store_true", help="and push it there with Kaggle's own client")
    kaggle_.add_argument("--output", type=Path, default=dataset.ROOT / "build" / "kaggle", help="default: build/kaggle")
    return parser


def _download(options):
    folder = dataset.locate()
    dataset.check(folder, dataset.load_manifest())
    print(f"The dataset is in {folder}, every file as it should be")


def _here():
    folder = dataset.find()
    if folder is None:
        raise dataset.DatasetError("there is no dataset on this machine: run `python -m tumor_mri download`")
    return folder


def _verify(options):
    folder = options.folder or _here()
    manifest = dataset.load_manifest()
    problems = dataset.verify(folder, manifest)
    for problem in problems:
        print(problem)
    print(f"{len(manifest):,} images expected, {len(problems)} problems found")
    if problems:
        raise dataset.DatasetError(f"{len(problems)} files in {folder} differ from the manifest, the first is {problems[0]}")


def _decode(options):
    print(f"{len(dataset.load_images()):,} images decoded")


def _positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def _audit(options):
    folder = options.folder or _here()
    found = audit.audit_folder(folder) if options.folder else audit.audit_dataset(folder, dataset.load_manifest())
    print(found)
    options.output.mkdir(parents=True, exist_ok=True)
    for name in ("facts", "near_copies", "unreadable"):
        getattr(found, name).to_csv(options.output / f"{name}.csv", index=False)
    if len(found.near_copies):
        _gallery(found, folder, options.output / "gallery.png")
    print(f"The tables and the gallery are in {options.output}")


def _gallery(found, folder, path):
    import matplotlib

    matplotlib.use("agg")  # draws into a file: no window, and no screen needed
    from tumor_mri import figures

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # agg warns that it shows nothing
        figures.near_copy_pairs(found.near_copies, folder).savefig(path)


def _benchmark(options):
    manifest = dataset.load_manifest()
    benchmark.write_data(dataset.load_images(manifest), preprocessing.load(manifest), manifest)
    scores = benchmark.table(manifest)
    benchmark.write_page(scores)
    prediction.write_card(scores, manifest)
    print(benchmark.as_markdown(scores))


def _train(options):
    _print_table(study.train(options.study, options.record, options.scheduler, options.workers))


def _runs(options):
    for name, folder in (("data/results", study.RECORDED), ("build/runs", study.LOCAL)):
        runs = records.load_all(folder)
        print(f"{name}: {len(runs)} runs")
        if runs:
            _print_table(runs)


def _print_table(runs):
    manifest = dataset.load_manifest()
    for run in runs:
        evaluation.check(run, manifest)
    print(evaluation.key_figures(runs, manifest).to_string(index=False, float_format="{:.3f}".format))


def _claims(options):
    verdicts = claims.verdicts(study.recorded("sweep-widths"), dataset.load_manifest())
    for verdict in verdicts:
        print(verdict)
    if options.write:
        tables.write(dataset.ROOT / "README.md", "claims", tables.as_markdown(claims.claims_table(verdicts)))


def _predict(options):
    print("Material for learning, not a diagnostic device.", file=sys.stderr)
    files = prediction.files_in(options.path)
    found = prediction.predict(files, prediction.load(), progress=len(files) > 64)
    if options.json:
        print(found.to_json(orient="records", indent=2, force_ascii=False))
    else:
        print(prediction.as_text(found))
    if found["problem"].astype(bool).all():
        raise prediction.PredictionError(f"none of {len(found)} files can be read as an image: {found['problem'].iloc[0]}")


def _publish(options):
    print(f"The published network is in {prediction.publish()}")


def _inspect(options):
    inspection.record()
    print(f"What both networks make of good and spoiled scans is in {inspection.FOLDER}")


def _reproduce(options):
    print(f"Open {pages.reproduce(options.output)}")


def _site(options):
    print(f"Open {pages.site(options.output)}")


def _notebooks(options):
    pages.refresh(options.paths)


def _kaggle(options):
    client = kaggle.connect() if options.push else None
    user = options.user or kaggle.user_name(client)
    if not user:
        print(f"No Kaggle account is known, {kaggle.PLACEHOLDER!r} stands in for it: name yours with --user")
    folders = kaggle.build(options.output, user or kaggle.PLACEHOLDER)
    print(f"{len(folders) - 1} notebooks and the dataset {folders[0].name} are in {options.output}")
    if client:
        kaggle.push(folders, client)


if __name__ == "__main__":
    sys.exit(main())
