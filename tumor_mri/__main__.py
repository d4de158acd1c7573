"""The command line: ``tumor-mri --help`` or ``python -m tumor_mri --help``.

The Makefile calls it; without make, it does the same. Each command imports what it needs when it runs, so that ``--help`` and
mistyped arguments answer at once.
"""

import argparse
import os
import sys
from pathlib import Path

import tumor_mri

if not (3, 10) <= sys.version_info[:2] <= (3, 13):  # before any import that would fail in other words
    sys.exit("error: this needs Python 3.10 to 3.13, which TensorFlow supports; found %d.%d" % sys.version_info[:2])  # noqa: UP031


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the words after the program's name; None for those of the process.

    Returns:
        The exit status: 0; 1 if the command failed, with one sentence; 130 if it was stopped. Wrong arguments exit with 2.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a file name that the terminal cannot show must not cost the answers
            stream.reconfigure(errors="backslashreplace")
    try:
        options = _parser().parse_args(arguments)
        return options.command(options) or 0
    except SystemExit:  # argparse has said what is wrong
        raise
    except KeyboardInterrupt:
        print("stopped; finished runs and downloads are kept, anything else starts again", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `tumor-mri runs | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _expected_errors() as error:
        if options.traceback:
            raise
        from tumor_mri import text

        print(f"error: {text.one_line(error)}", file=sys.stderr)
        return 1


def _expected_errors():
    """What becomes one sentence: the project's own errors, and what a system, a library or bad input raises."""
    from tumor_mri import text

    return (text.ProjectError, ImportError, OSError, ValueError, FloatingPointError)


def _parser():
    parser = argparse.ArgumentParser(
        prog="tumor-mri",
        description="Brain-tumour MRI classification, reproduced and examined. Material for learning, not a diagnostic device.",
    )
    parser.add_argument("--version", action="version", version=f"tumor-mri {tumor_mri.__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error was raised")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name, function, text):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(command=function)
        return command

    add("download", _download, "get the dataset, unless it is here already, and check every file")
    verify = add("verify", _verify, "name every missing, extra, renamed, truncated or altered file of the dataset")
    verify.add_argument("folder", nargs="?", type=Path, help="the folder that holds Training and Testing (default: look for it)")
    add("decode", _decode, "decode all images once, into the cache")
    audit = add("audit", _audit, "look for copies, patients on both sides of a split, label conflicts and shortcuts in a dataset")
    audit.add_argument("folder", nargs="?", type=Path, help="any folder of class folders (default: the project's dataset)")
    audit.add_argument("--output", type=Path, help="default: build/audit")
    audit.add_argument(
        "--against", type=Path, metavar="OTHER", help="tell which images of the folder are in another one too (matches.csv)"
    )
    audit.add_argument(
        "--patients", metavar="CSV_OR_REGEX", help="columns path and patient, or an expression whose first group is the patient"
    )
    audit.add_argument(
        "--threshold",
        type=_correlation,
        default=0.99,
        help="correlation of whole near-duplicates (default: 0.99)",
    )
    audit.add_argument(
        "--fail-on",
        action="append",
        default=[],
        choices=("leak", "conflict", "unreadable"),
        help="end with status 1 if there is such a problem; may be given several times",
    )
    manifest = add("manifest", _manifest, "list the images, with groups and folds that keep patients and copies together")
    manifest.add_argument("folder", nargs="?", type=Path, help="any folder of class folders (default: the project's dataset)")
    manifest.add_argument(
        "--patients", metavar="CSV_OR_REGEX", help="columns path and patient, or an expression whose first group is the patient"
    )
    manifest.add_argument("--output", type=Path, help="default: build/manifest")
    manifest.add_argument(
        "--groups",
        type=int,
        metavar="VERSION",
        help="1: near-duplicates of whole images (default for the project's dataset); 2: aligned copies too (default for others)",
    )
    manifest.add_argument("--check", action="store_true", help="compare with the project's committed tables, and write nothing")
    train = add("train", _train, "train the runs that a study still lacks, and list them with their key figures")
    train.add_argument("--study", required=True, type=_study, metavar="STUDY", help="a named table of runs; `runs` lists them")
    train.add_argument("--record", action="store_true", help="into data/results, beside the committed records, not build/runs")
    train.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, tcp://host:8786 (default: this machine)")
    train.add_argument(
        "--workers", type=_positive, help="runs side by side on this machine (default: one per core, or one on a GPU)"
    )
    add("runs", _runs, "list the studies, and the recorded runs with their key figures")
    claims = add("claims", _claims, "compare the report's claims C1 to C9b with the recorded runs")
    claims.add_argument("--write", action="store_true", help="and write the verdicts into the table of README.md")
    add("benchmark", _benchmark, "recompute the baselines of BENCHMARK.md, and write its tables and those of MODEL_CARD.md")
    score = add("score", _score, "score predictions from any tool, beside the published rows; BENCHMARK.md says how")
    score.add_argument("predictions", type=Path, metavar="CSV", help="columns path, fold, a probability for each class folder")
    score.add_argument("--name", help="of the network, in the table (default: the file's)")
    score.add_argument("--protocol", help="of all rows, if there is no such column: grouped, training_only or testing_folder")
    score.add_argument("--output", type=Path, help="default: build/scores")
    folds = add("folds", _folds, "print which images train and which validate under a protocol, as CSV")
    folds.add_argument("--protocol", default="grouped", help="grouped (default), training_only, testing_folder or another one")
    predict = add("predict", _predict, "what the published network says about scans; no diagnosis")
    predict.add_argument("path", type=Path, metavar="FILE_OR_FOLDER", help="an image file, or a folder of them")
    predict.add_argument("--json", action="store_true", help="everything, as JSON, not a table")
    predict.add_argument("--heat", type=Path, metavar="FOLDER", help="write each scan beside its heat map (Grad-CAM) there")
    which = predict.add_mutually_exclusive_group()
    which.add_argument(
        "--slice", type=_positive, metavar="N", help="which image of a file, from 1 (default: the first page, the middle slice)"
    )
    which.add_argument("--all-pages", action="store_true", help="every page or slice of each file")
    add("publish", _publish, "train the published network on all of Training, and write its weights and its record")
    add("inspect", _inspect, "train the report's network and ours again, and record their answers to clean and corrupted scans")
    reproduce = add("reproduce", _reproduce, "execute all notebooks and write them as web pages")
    reproduce.add_argument("--output", type=Path, help="default: build/report")
    site = add("site", _site, "write all notebooks as they are stored, without running them, as a website")
    site.add_argument("--output", type=Path, help="default: build/site")
    slides = add("slides", _slides, "write slides of the notebooks' figures, as one page of HTML")
    slides.add_argument("--output", type=Path, help="the folder to write (default: build/slides)")
    notebooks = add("notebooks", _notebooks, "execute the notebooks in place, so that they are stored with new outputs")
    notebooks.add_argument("paths", nargs="*", type=Path, help="some notebooks only (default: all)")
    kaggle = add("kaggle", _kaggle, "write what Kaggle takes: a folder for each notebook, and a dataset with the package")
    kaggle.add_argument("--user", help="whose Kaggle account (default: that of the credentials here, if any)")
    kaggle.add_argument("--push", action="store_true", help="and push it there with Kaggle's own client")
    kaggle.add_argument("--output", type=Path, help="default: build/kaggle")
    return parser


def _positive(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number of at least 1 is needed, got {text!r}")
    return int(text)


def _correlation(text):
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.5 <= value < 1:
        raise argparse.ArgumentTypeError(f"a number from 0.5 to below 1 is needed, got {text!r}")
    return value


def _study(name):
    from tumor_mri.study import catalogue

    if name not in catalogue.STUDIES:
        raise argparse.ArgumentTypeError(f"unknown study {name!r}: choose one of {', '.join(catalogue.STUDIES)}")
    return name


def _below_build(output, name):
    """The folder asked for, or the one of that name below ``build``."""
    from tumor_mri.datasets import manifests

    return output or manifests.ROOT / "build" / name


def _download(options):
    from tumor_mri.datasets import download, manifests

    folder = download.locate()
    manifests.check(folder, manifests.load_manifest())
    print(f"The dataset is in {folder}, every file as it should be")


def _here():
    from tumor_mri.datasets import download, manifests

    folder = download.find()
    if folder is None:
        raise manifests.DatasetError("there is no dataset on this machine: run `tumor-mri download`")
    return folder


def _verify(options):
    from tumor_mri.audit import grouping
    from tumor_mri.datasets import manifests

    folder, manifest = options.folder or _here(), manifests.load_manifest()
    grouping.check_groups(manifest)
    problems = manifests.verify(folder, manifest)
    for problem in problems[: manifests.PROBLEMS_SHOWN]:
        print(problem)
    if len(problems) > manifests.PROBLEMS_SHOWN:
        print(f"… and {len(problems) - manifests.PROBLEMS_SHOWN:,} more")
    print(f"{len(manifest):,} images expected, {len(problems):,} problems found")
    if problems:
        raise manifests.DatasetError(
            f"{len(problems):,} files in {folder} differ from the manifest, the first is {problems[0]}. Complete or correct the "
            "folder, or remove it and run `tumor-mri download`"
        )


def _decode(options):
    from tumor_mri.datasets import decoding

    print(f"{len(decoding.load_images()):,} images decoded")


def _audit(options):
    from tumor_mri import text
    from tumor_mri.audit import any_folder, grouping, scans, this_dataset
    from tumor_mri.datasets import manifests
    from tumor_mri.site import audit_report

    output, folder = _below_build(options.output, "audit"), options.folder or _here()
    if options.against:
        if options.patients or set(options.fail_on) - {"leak"}:
            raise ValueError(
                "--against looks for copies between two folders: of the other options it takes --threshold, --output and "
                "--fail-on leak"
            )
        return _compare(folder, options.against, output, options.threshold, bool(options.fail_on))
    patients = grouping.load_patients(options.patients) if options.patients else None
    with text.writable(output):
        if options.folder:
            found = any_folder.audit_folder(folder, patients, options.threshold)
        elif patients is not None or options.threshold != any_folder.THRESHOLD:
            raise ValueError("--patients and --threshold need a folder: the project's dataset has its own")
        else:
            found = this_dataset.audit_dataset(folder, manifests.load_manifest())
        tables = (found.facts, found.images, found.near_copies, found.groups, found.leaks, found.drift, found.unreadable)
        files = {
            output / name: table.to_csv(index=False, lineterminator="\n")
            for name, table in zip(scans.OUTPUTS, tables, strict=True)
        }
        files[output / scans.JSON] = audit_report.as_json(found, folder)
        files[output / scans.REPORT] = audit_report.build(found, folder)
        if len(found.near_copies):
            files[output / scans.GALLERY] = _gallery(found, folder)
        text.write_together(files)
    if not len(found.near_copies):
        (output / scans.GALLERY).unlink(missing_ok=True)  # an earlier audit's
    print(f"{found}\n\n{found.summary()}\nTables and pictures are in {output}; open {output / scans.REPORT} first")
    problems = {name: count for name, count in found.problems().items() if count and name in options.fail_on}
    if problems:
        print(f"failed on {', '.join(f'{name} ({count:,})' for name, count in problems.items())}", file=sys.stderr)
    return int(bool(problems))


def _compare(folder, other, output, threshold, fails):
    from tumor_mri import text
    from tumor_mri.audit import any_folder

    with text.writable(output):
        pairs, facts = any_folder.compare_folders(folder, other, threshold)
        text.write_whole(output / "matches.csv", pairs.to_csv(index=False, lineterminator="\n"))
    print(any_folder.facts_as_text(facts))
    print(f"The pairs are in {output / 'matches.csv'}")
    if fails and len(pairs):
        print(f"failed on leak ({pairs['path'].nunique():,} images of {folder} are in {other} too)", file=sys.stderr)
    return int(fails and len(pairs) > 0)


def _manifest(options):
    from tumor_mri import text
    from tumor_mri.audit import grouping

    if options.check:
        return _check_manifest(options)
    output = _below_build(options.output, "manifest")
    patients = grouping.load_patients(options.patients) if options.patients else None
    known = None if options.folder else grouping.load_known()
    version = options.groups or (grouping.NEWEST if options.folder else grouping.VERSION)
    output.mkdir(parents=True, exist_ok=True)
    with text.whole(output / "manifest.csv", output / "groups.csv") as (manifest, groups):  # refused at once if it takes none
        made = grouping.build_manifest(options.folder or _here(), known, patients, version)
        made.to_csv(manifest, index=False, lineterminator="\n")
        grouping.groups_table(made, version).to_csv(groups, index=False, lineterminator="\n")
    folds, fewer = grouping.fold_count(made)
    print(f"{len(made):,} images, {made['group'].nunique():,} groups, {folds} folds{f' ({fewer})' * bool(fewer)}")
    print(f"manifest.csv and groups.csv are in {output}")


def _check_manifest(options):
    from tumor_mri.audit import grouping
    from tumor_mri.datasets import manifests

    if options.patients or options.output or options.groups:
        raise ValueError(
            "--check compares the project's own tables, and writes nothing: leave out --patients, --groups and --output"
        )
    found = grouping.check_committed(grouping.build_manifest(options.folder or _here(), grouping.load_known()))
    for sentence in found[: manifests.PROBLEMS_SHOWN]:
        print(sentence)
    if found:
        raise manifests.DatasetError(f"the committed tables are not what these images give: {grouping.told(found)}")
    print("data/manifest.csv and data/groups.csv are what the images and the known slices give")


def _gallery(found, folder):
    """The pairs of near-copies as a picture, the bytes of a PNG file."""
    import io
    import warnings

    import matplotlib

    matplotlib.use("agg")  # draws into a file: no window, and no screen needed
    from tumor_mri import figures

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # agg warns that it shows nothing
        picture = io.BytesIO()
        figures.near_copy_pairs(found.near_copies, folder).savefig(picture, format="png")
    return picture.getvalue()


def _benchmark(options):
    from tumor_mri.datasets import decoding, manifests
    from tumor_mri.evaluation import benchmark
    from tumor_mri.models import preprocessing
    from tumor_mri.site import croissant, documents

    manifest = manifests.load_manifest()
    benchmark.write_data(decoding.load_images(manifest), preprocessing.load_prepared(manifest), manifest)
    scores = benchmark.table(manifest)
    documents.write_page(scores, manifest)
    documents.write_answers(scores)
    documents.write_card(scores, manifest)
    croissant.write()
    print(benchmark.as_markdown(scores))


def _score(options):
    import re

    import pandas as pd

    from tumor_mri import text
    from tumor_mri.datasets import manifests
    from tumor_mri.evaluation import benchmark, submissions

    output = _below_build(options.output, "scores")
    manifest = manifests.load_manifest()
    name = options.name or re.sub(r"[^A-Za-z0-9_.]", "_", options.predictions.stem)
    found = submissions.read(options.predictions, name, manifest, options.protocol)
    with text.writable(output):
        mine = benchmark.score(found, manifest)
        published = benchmark.table(manifest)
        beside = pd.concat([published[published["protocol"].isin(mine["protocol"])], mine], ignore_index=True)
        path = output / f"{name}.csv"
        text.write_whole(path, mine.to_csv(index=False, lineterminator="\n"))
        text.write_whole(path.with_suffix(".md"), benchmark.as_markdown(beside) + "\n")
    for row in mine.to_dict("records"):
        print(f"{row.pop('network')}, {row.pop('protocol')}:")
        for column, value in row.items():
            if not pd.isna(value):
                print(f"  {column.replace('_', ' '):<20} {value:.4g}")
    print(f"Beside the published rows: {path.with_suffix('.md')}. With all digits: {path}")
    print("Nothing shows how the network was trained: see BENCHMARK.md")


def _folds(options):
    from tumor_mri.datasets import manifests
    from tumor_mri.evaluation import submissions

    print(submissions.folds_table(options.protocol, manifests.load_manifest()).to_csv(index=False, lineterminator="\n"), end="")


def _train(options):
    from tumor_mri.study import catalogue

    _print_table(catalogue.train(options.study, options.record, options.scheduler, options.workers))


def _runs(options):
    from tumor_mri.runs import records
    from tumor_mri.study import catalogue

    for name, wanted in catalogue.STUDIES.items():
        print(f"study {name}: {len(wanted)} runs")
    for name, folder in (("data/results", records.RECORDED), ("build/runs", records.LOCAL)):
        runs = records.load_all(folder)
        print(f"{name}: {len(runs)} runs")
        if runs:
            _print_table(runs)


def _print_table(runs):
    from tumor_mri.datasets import manifests
    from tumor_mri.evaluation import scoring

    manifest = manifests.load_manifest()
    for run in runs:
        scoring.check(run, manifest)
    print(scoring.key_figures(runs, manifest).to_string(index=False, float_format="{:.3f}".format))


def _claims(options):
    from tumor_mri.datasets import manifests
    from tumor_mri.site import documents
    from tumor_mri.study import catalogue, claims

    verdicts = claims.verdicts(catalogue.recorded("sweep-widths"), manifests.load_manifest())
    for verdict in verdicts:
        print(verdict)
    if options.write:
        documents.write_claims(verdicts)


def _predict(options):
    from tumor_mri import text
    from tumor_mri.datasets import manifests
    from tumor_mri.models import published

    files = published.files_in(options.path)
    print("Material for learning, not a diagnostic device.", file=sys.stderr)
    number = options.slice - 1 if options.slice else None
    if options.heat:
        if options.heat.exists() and not options.heat.is_dir():
            raise ValueError(f"{options.heat} is a file: --heat needs a folder")
        options.heat.mkdir(parents=True, exist_ok=True)
    found = published.predict(files, published.load(), len(files) > 64, number, options.all_pages, options.heat)
    if options.json:
        dataset = manifests.BRAIN_TUMOUR_MRI
        found = found.assign(**{name: found[name].map(text.printable) for name in ("file", "problem")})
        found = found.rename(columns=dict(zip(dataset.labels, dataset.classes, strict=True)))  # the columns that `score` takes
        print(found.to_json(orient="records", indent=2, force_ascii=False).replace("\\/", "/"))
    else:
        print(published.as_text(found))
    if options.heat:
        print(f"The heat maps are in {options.heat}", file=sys.stderr)
    if found["problem"].astype(bool).all():
        raise published.PredictionError(f"none of {len(found)} files can be read as an image: {found['problem'].iloc[0]}")


def _publish(options):
    from tumor_mri.datasets import manifests
    from tumor_mri.evaluation import benchmark
    from tumor_mri.site import documents
    from tumor_mri.study import publishing

    folder, manifest = publishing.publish(), manifests.load_manifest()
    documents.write_card(benchmark.table(manifest), manifest)
    print(f"The published network is in {folder}")


def _inspect(options):
    from tumor_mri.study import inspection

    inspection.record()
    print(f"The answers of both networks to clean and corrupted scans are in {inspection.FOLDER}")


def _reproduce(options):
    from tumor_mri.site import notebooks

    print(f"Open {notebooks.reproduce(_below_build(options.output, 'report'))}")


def _site(options):
    from tumor_mri.site import notebooks

    print(f"Open {notebooks.site(_below_build(options.output, 'site'))}")


def _slides(options):
    from tumor_mri.site import slides

    print(f"Open {slides.write(_below_build(options.output, 'slides'))}")


def _notebooks(options):
    from tumor_mri.site import notebooks

    notebooks.refresh(options.paths)


def _kaggle(options):
    from tumor_mri.site import kaggle

    output = _below_build(options.output, "kaggle")
    client = kaggle.connect() if options.push else None
    user = options.user or kaggle.user_name(client)
    if not user:
        print(f"No Kaggle account is known, {kaggle.PLACEHOLDER!r} stands in for it: name yours with --user")
    folders = kaggle.build(output, user or kaggle.PLACEHOLDER)
    print(f"{len(folders) - 1} notebooks and the dataset {folders[0].name} are in {output}")
    if client:
        kaggle.push(folders, client)


if __name__ == "__main__":
    sys.exit(main())
