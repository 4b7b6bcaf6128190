"""Every parser of foreign bytes, with valid files for it: what `tools/fuzz.py` damages.

A parser is a line of `PARSERS`: its name, what writes valid files into a folder (and returns those
that are damaged, one at a time), and what reads one of them. Files beside it stay as they are.
"""

from __future__ import annotations

import gzip
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import builders
import grayordinate_builders as gray
import h5py
import numpy as np
import outputs
import pandas as pd
import probe_builders
import shard_builders
import torch

from bids_app.atlas.grayordinates import load_grayordinate_atlas
from bids_app.atlas.installed import InstalledAtlas
from bids_app.atlas.labels import check_label_table
from bids_app.atlas.volumes import installed_images, load_volume_atlas, read_sidecar
from bids_app.cli.app import main, resolve_options
from bids_app.embedder import open_embedder
from bids_app.files import read_table
from bids_app.group.load import load_embeddings
from bids_app.images.image import open_image
from bids_app.images.stream import count_frames
from bids_app.inputs.discovery import find_scans
from bids_app.inputs.entities import parse_name, split_name
from bids_app.inputs.locate import locate_derivative
from bids_app.inputs.selection import Selection, load_bids_filter
from bids_app.one_scan import Pipeline, embed_scan
from bids_app.options import SignalOptions
from bids_app.outputs.scan_tables import read_scan_tables
from bids_app.series.find import entities_of, find_series
from bids_app.series.foreign import read_series
from bids_app.signal.strategy import load_strategy
from bids_app.tasks.events import read_events
from model.checkpoint import load_encoder, read_tensors, stored_tensors
from model.cohort.outputs import denoised_series, embedded_scans, model_series
from model.cohort.record import read_record
from model.encoder import build_encoder
from model.evaluation.options import SourceOptions
from model.evaluation.source import read_source
from model.files.arrays import map_array, read_array
from model.files.read import read_json, read_text, read_toml
from model.files.tables import read_cells, read_columns
from model.finetuning.predictor import HeadCard, load_predictor, make_predictor, save_head
from model.networks import parcel_names
from model.partition.named import partition
from model.partition.table import read_groups
from model.pretraining.recipes import load_config, load_saved, shipped_recipes
from model.pretraining.run_folder import read_log
from model.probing.inputs import read_group_table
from model.probing.participants import read_labels
from model.published import read_published
from model.scaling.grid import load_plan
from model.shards.incoming import scans_of_hdf5
from model.shards.stored import Shards
from model.shards.subjects import read_lists
from model.spec import EncoderSpec, InputSpec, read_card

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL_PTH = Path(__file__).parents[1] / "golden" / "reference_model" / "small_ckpt.pth"


@dataclass(frozen=True)
class Parser:
    """Something that reads foreign bytes."""

    name: str
    seeds: Callable[[Path], list[Path]]
    """Writes valid files into a folder; returns those to damage."""
    read: Callable[[Path], object]
    """Reads the file at the path of a seed."""


def texts(**contents: str | bytes) -> Callable[[Path], list[Path]]:
    """Seeds of files that are given here: ``name_ext``."""

    def write(folder: Path) -> list[Path]:
        paths = []
        for name, content in contents.items():
            stem, _, ending = name.rpartition("_")
            path = folder / f"{stem}.{ending}"
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            paths.append(path)
        return paths

    return write


# A scan, from all of its files to its embedding.


@cache
def _checkpoint(folder: Path) -> Path:
    return builders.make_checkpoint(folder / "checkpoint")


def scan_seeds(folder: Path) -> list[Path]:
    builders.make_atlas(folder / "atlas")
    gray.make_atlas(folder / "atlas")
    _checkpoint(folder)
    data = builders.make_dataset(folder / "in", n_volumes=90, res="2")
    scan = data.scans[0]
    small = gzip.decompress(scan.bold.read_bytes())
    scan.bold.write_bytes(gzip.compress(small, 1, mtime=0))
    cifti = gray.write_scan(folder / "in", "02", scan, n_volumes=90)
    description = folder / "in" / "dataset_description.json"
    images = [scan.bold, scan.mask, cifti]
    return [*images, scan.sidecar, scan.confounds, scan.confounds_metadata, description]


def _root(path: Path, name: str) -> Path:
    return next(parent for parent in path.parents if (parent / name).exists())


@cache
def _pipeline(root: Path, strategy: str) -> Pipeline:
    return Pipeline(
        atlas=InstalledAtlas(root / "atlas"),
        strategy=load_strategy(strategy),
        signal=SignalOptions(low_pass_hz=None),
        embedder=open_embedder(root / "checkpoint", device="cpu", batch_size=4),
        check_inputs="time",
    )


def read_scan(path: Path) -> object:
    root = _root(path, "checkpoint")
    derivative = locate_derivative(root / "in")
    selection = Selection()
    spaces = {builders.SPACE: 457, "fsLR": 457}
    strategy = "acompcor" if path.name.endswith("confounds_timeseries.json") else "simple"
    result = None
    for scan in find_scans(derivative, selection, preferred_spaces=spaces).scans:
        if path.parent.name == "func" and scan.entities.sub not in path.name:
            continue
        str(scan.problem)
        count_frames(scan.sources.data)
        pipeline = _pipeline(root, strategy)
        with open_image(scan, pipeline.atlas) as image:
            result = embed_scan(scan, image, pipeline, configuration="x-y").qc()
    return result


# The atlas.


def volume_seeds(folder: Path) -> list[Path]:
    builders.make_atlas(folder)
    (image,) = installed_images(folder)
    (table,) = folder.glob("*_dseg.tsv")
    return [image, image.with_name(image.name.replace(".nii.gz", ".json")), table]


def read_volume_atlas(path: Path) -> object:
    root = path.parent if path.suffix == ".tsv" else path.parents[1]
    (image,) = installed_images(root)
    check_label_table(next(root.glob("*_dseg.tsv")))
    read_sidecar(image)
    return load_volume_atlas(image)


def grayordinate_seeds(folder: Path) -> list[Path]:
    return list(gray.make_atlas(folder).rglob("*.dlabel.nii"))


# Outputs that are read back.


def output_seeds(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    stem = shard_builders.write_output(folder, "sub-01", rng.normal(size=(60, 457)))
    return [p for p in sorted(stem.parent.iterdir()) if "model_timeseries.tsv" not in p.name]


def _signed(path: Path) -> None:
    """Let the status say of a file what it is now: its hash is not what is damaged here."""
    (status,) = path.parent.glob(f"{path.name.partition('_task-rest')[0]}*_status.json")
    if path != status:
        outputs.sign(status, path)


def read_outputs(path: Path) -> object:
    _signed(path)
    (scan,) = embedded_scans(path.parents[2])
    return model_series(scan), denoised_series(scan), read_record(scan.status_path)


def cohort_seeds(folder: Path) -> list[Path]:
    status = outputs.write_run(folder / "out", "01", seed=1)
    outputs.write_run(folder / "out", "02", seed=2)
    return sorted(status.parent.iterdir())


def read_cohort(path: Path) -> object:
    _signed(path)
    return load_embeddings(path.parents[2])


def scan_table_seeds(folder: Path) -> list[Path]:
    """What a series of others leaves: status, tables, tokens."""
    from bids_app.series.options import SeriesOptions
    from bids_app.series.run import run_scan

    rng = np.random.default_rng(0)
    table = folder / "sub-01_task-rest_timeseries.tsv"
    pd.DataFrame(rng.normal(size=(120, 457)), columns=list(parcel_names())).to_csv(
        table, sep="\t", index=False
    )
    table.with_suffix(".json").write_text('{"RepetitionTime": 2.0}')
    for path in (table, table.with_suffix(".json")):  # the status tells their times
        os.utime(path, (1, 1))
    (scan,) = find_series([table])
    run_scan(
        scan,
        options=SeriesOptions(),
        embedder=open_embedder(_checkpoint(folder), device="cpu", batch_size=4),
        output_dir=folder / "out",
        log_dir=folder / "logs",
        check_inputs="time",
    )
    found = sorted((folder / "out").rglob("sub-*"))
    return [p for p in found if p.is_file() and p.suffix in (".json", ".tsv", ".npy")]


def read_tables(path: Path) -> object:
    (status,) = path.parent.glob("*_status.json")
    return read_scan_tables(status)


# Checkpoints and what training leaves.


def card_seeds(folder: Path) -> list[Path]:
    return [_checkpoint(folder) / "card.json"]


def scales_seeds(folder: Path) -> list[Path]:
    """Write a card that holds groups of parcels."""
    groups = partition(["networks", "brain:2"])
    spec = EncoderSpec(dim=16, depth=1, heads=2, groups=groups)
    return [builders.make_checkpoint(folder / "s", build_encoder(spec, seed=1)) / "card.json"]


def read_weights(path: Path) -> object:
    tensors = {key: torch.empty_like(t, device="cpu") for key, t in stored_tensors(path).items()}
    read_tensors(path, tensors)
    return tensors


def weight_seeds(folder: Path) -> list[Path]:
    return [_checkpoint(folder) / "weights.safetensors"]


def head_seeds(folder: Path) -> list[Path]:
    run = folder / "run"
    run.mkdir()
    _checkpoint(run)
    encoder = load_encoder(run / "checkpoint")
    readout = encoder.own_card().readout
    card = HeadCard(
        target="sex", task="classification", classes=("a", "b"), readout=readout,
        offset=0.0, spread=1.0, encoder_sha256=encoder.own_card().weights_sha256,
    )  # fmt: skip
    save_head(run, make_predictor(encoder, readout=readout, n_outputs=2, seed=0), card)
    return sorted(run.glob("head.*"))


def published_seeds(folder: Path) -> list[Path]:
    whole = torch.load(SMALL_PTH, weights_only=True)
    # What is not live is small, so that damage meets what is read.
    state = {
        key: value if key.startswith("teacher_encoder.") else value.flatten()[:1].clone()
        for key, value in whole["model_state_dict"].items()
    }
    content = {"model_state_dict": state, "epoch": 9, "config": {"model": {"num_heads": 4}}}
    torch.save(content, folder / "new.pth")
    torch.save(content, folder / "old.pth", _use_new_zipfile_serialization=False)
    return [folder / "new.pth", folder / "old.pth"]


def plan_seeds(folder: Path) -> list[Path]:
    recipe = min(shipped_recipes().values(), key=lambda path: path.stat().st_size)
    (folder / "recipe.toml").write_bytes(recipe.read_bytes())
    size = load_config(recipe).run.batch_size
    plan = folder / "plan.toml"
    plan.write_text(
        f'recipe = "recipe.toml"\nsizes = [{size}, {2 * size}]\nseeds = [0, 1]\n'
        'outputs = "out"\n[held_out]\nn_subjects = 4\nn_samples = 200\nseed = 3\n'
        '[[probe]]\nof = "outputs"\nparticipants = "people.tsv"\ntarget = "sex"\n'
        'task = "classification"\nshares = [0.6, 0.2, 0.2]\nrepetitions = 3\n'
    )
    return [plan, folder / "recipe.toml"]


def read_plan(path: Path) -> object:
    return load_plan(path) if path.name == "plan.toml" else load_config(path)


def saved_seeds(folder: Path) -> list[Path]:
    recipe = min(shipped_recipes().values(), key=lambda path: path.stat().st_size)
    (folder / "config.json").write_text(json.dumps(load_config(recipe).to_dict(), indent=1))
    return [folder / "config.json"]


# Series of others and shards.


def series_seeds(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(30, 400)).round(3)
    names = list(parcel_names())[:400]
    pd.DataFrame(values, columns=names).to_csv(folder / "sub-1.tsv", sep="\t", index=False)
    pd.DataFrame(values).to_csv(folder / "sub-2.csv", index=False, header=False)
    np.save(folder / "sub-3.npy", values.astype("f4"))
    np.savez_compressed(folder / "a.npz", one=values.T, two=values.astype(">f8"))
    np.savez(folder / "b.npz", three=np.asfortranarray(values))
    (folder / "sub-1.json").write_text('{"RepetitionTime": 2.0, "SamplingFrequency": 0.5}')
    published_layout(folder / "c.h5")
    return sorted(folder.iterdir())


def published_layout(path: Path) -> Path:
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as store:
        store["long_subject_id"] = [b"s1", b"s1"]
        store["ts_len"] = [20, 30]
        parts = {"schaefer400": 400, "buckner7": 7}
        for name, n in parts.items():
            values = rng.normal(size=(2, n, 30)).astype("f4")
            values[0, :, 20:] = np.nan
            store.create_dataset(
                f"timeseries/{name}", data=values, chunks=(1, n, 15), compression=1
            )
    return path


def hdf5_seeds(folder: Path) -> list[Path]:
    published_layout(folder / "a.h5")
    with h5py.File(folder / "b.h5", "w", libver="latest") as store:
        names = store.create_dataset("long_subject_id", (2,), h5py.string_dtype())
        names[:] = ["x", "y"]
        store["timeseries/schaefer400"] = np.ones((2, 400, 22), ">f8")
    return [folder / "a.h5", folder / "b.h5"]


def read_foreign(path: Path) -> object:
    data = path.with_suffix(".tsv") if path.suffix == ".json" else path
    found = []
    for scan in find_series([data]):
        if scan.problem is None:
            tr_s = None if path.suffix == ".json" else 2.0
            order = None if data.suffix == ".tsv" else "schaefer400x7"
            found.append(read_series(data, tr_s=tr_s, row=scan.sources.row, order=order))
    return found


def shard_seeds(folder: Path) -> list[Path]:
    shard_builders.make_shards(folder / "shards", 4)
    return sorted((folder / "shards").iterdir())


def read_shards(path: Path) -> object:
    folder = path.parent
    if path.name == "index.tsv":  # its hash stands beside it
        from model.files.write import file_sha256

        description = json.loads((folder / "shards.json").read_text())
        description["index_sha256"] = file_sha256(path)
        (folder / "shards.json").write_text(json.dumps(description))
    shards = Shards(folder)
    with suppress(IndexError):
        shards.read(shards.scans[0])
    lists = {name: folder / f"{name}.txt" for name in ("train", "validation", "test")}
    read_lists(lists, {scan.subject for scan in shards.scans})
    return shards.verify(shards.scans)


# Tables of people and of cohorts.


def group_seeds(folder: Path) -> list[Path]:
    from model.cohort.names import embedding_columns, parts_of
    from model.networks import NETWORKS

    names = embedding_columns(2, parts_of(NETWORKS))
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(4, len(names))).astype("f4"), columns=names)
    table.insert(0, "participant_id", [f"sub-{i}" for i in (1, 1, 2, 2)])
    table.insert(1, "session_id", ["ses-1", "ses-2"] * 2)
    table.to_csv(folder / "a.tsv", sep="\t", index=False)
    table.to_csv(folder / "b.csv", index=False)
    table.to_parquet(folder / "c.parquet")
    meta = {"Model": {"Name": "x"}, "EmbeddingDimension": 2, "ScanVector": ["networks"]}
    meta["Parts"] = dict.fromkeys(parts_of(NETWORKS), "x")
    tables = sorted(folder.iterdir())
    sidecars = [path.with_suffix(".json") for path in tables]
    for path in sidecars:
        path.write_text(json.dumps(meta))
    return [*tables, *sidecars]


def read_group(path: Path) -> object:
    (table,) = (p for p in path.parent.glob(f"{path.stem}.*") if p.suffix != ".json")
    if path.suffix != ".json":
        read_columns(path, text=("participant_id",))
        read_source(path, SourceOptions())
    return read_group_table(table, readout=(), entities=())


def people_seeds(folder: Path) -> list[Path]:
    return [probe_builders.write_participants(folder / "participants.tsv", 12)]


def read_people(path: Path) -> object:
    subjects = [f"sub-{i:02d}" for i in range(12)]
    shared: dict[str, Any] = {"subjects": subjects, "allow_missing": True}
    read_labels(path, "planted", task="classification", **shared)
    return read_labels(path, "number", task="regression", **shared)


def read_tabular(path: Path) -> object:
    return read_table(path), None if path.suffix == ".gz" else read_cells(path)


def read_config_file(path: Path) -> object:
    context = main.make_context(
        "semantoks", ["in", "out", "participant", "--config-file", str(path)]
    )
    return resolve_options(context.params)


def read_names(path: Path) -> object:
    for line in os.fsdecode(path.read_bytes()).splitlines():
        parse_name(line)
        split_name(line)
        entities_of(line)
    return None


_NAMES = "\n".join(
    (
        "sub-01_ses-2_task-rest_run-1_space-MNI152NLin6Asym_res-2_desc-preproc_bold.nii.gz",
        "sub-01_task-rest_space-fsLR_den-91k_bold.dtseries.nii",
        "100307_REST1",
    )
)
_CONFIG = 'task-id = ["rest"]\ntr = 2.0\nhigh-pass = 0.01\nn-cpus = 1\noverwrite = true\n'
_TOML = _CONFIG + "[x.y]\nz = {a = [1, 0x1f], b = 1979-05-27}\n"
_STRATEGY = {"motion": "full", "wm_csf": "basic", "columns": ["csf"], "fd_threshold_mm": 0.5}
_EVENTS = "onset\tduration\ttrial_type\n0\t10\trest\n12.5\t20\ttask\n"
_GROUPS = "parcel\tgroup\ttokens\n7Networks_LH_Vis_1\tA\t2\nBuckner_Network7\tB\t1\n"
_LOG = '{"step": 0, "total": 1.5, "gradient_norm": 2e-3}\n'
_JSON = '{"a": [1, 2.5e-3, null, true, "x\\u00e9", {"b": {}}], "RepetitionTime": 0.72}'
_TABLE = 'a\tb c\t"d"\n1\t2.5\tn/a\n-1e-3\t\ttext\n'

PARSERS = (
    Parser("json", texts(a_json=_JSON), read_json),
    Parser("toml", texts(a_toml=_TOML), read_toml),
    Parser("text", texts(a_txt="sub-01\nsub-02\n", b_txt="\ufeffsub-01\r\n"), read_text),
    Parser("names", texts(names_txt=_NAMES), read_names),
    Parser("tables", texts(a_tsv=_TABLE, b_csv=_TABLE.replace("\t", ",")), read_tabular),
    Parser("packed tables", texts(**{"a.tsv_gz": gzip.compress(_TABLE.encode(), mtime=0)}),
           read_tabular),
    Parser("labels of participants", texts(a_txt="participant_id\tage\nsub-01\t3\nsub-02\t4\n"),
           lambda path: Selection(participant_labels=[str(path)])),
    Parser("filter", texts(a_json='{"bold": {"task": ["rest", null], "run": 1, "session": "*"}}'),
           load_bids_filter),
    Parser("strategy", texts(a_json=json.dumps(_STRATEGY)), load_strategy),
    Parser("config file", texts(a_toml=_CONFIG), read_config_file),
    Parser("scan", scan_seeds, read_scan),
    Parser("atlas of volumes", volume_seeds, read_volume_atlas),
    Parser("atlas of grayordinates", grayordinate_seeds, load_grayordinate_atlas),
    Parser("outputs", output_seeds, read_outputs),
    Parser("cohort", cohort_seeds, read_cohort),
    Parser("tables of a scan", scan_table_seeds, read_tables),
    Parser("card", card_seeds, lambda path: read_card(path.parent)),
    Parser("card of groups", scales_seeds, lambda path: read_card(path.parent)),
    Parser("partition", texts(a_tsv=_GROUPS, b_csv=_GROUPS.replace("\t", ",")), read_groups),
    Parser("safetensors", weight_seeds, read_weights),
    Parser("pth", published_seeds, lambda path: read_published(path, heads=None)),
    Parser("head", head_seeds, lambda path: load_predictor(path.parent)),
    Parser("recipe and plan", plan_seeds, read_plan),
    Parser("saved settings", saved_seeds, load_saved),
    Parser("log of a run", texts(log_jsonl=_LOG * 3), lambda path: read_log(path.parent)),
    Parser("series", series_seeds, read_foreign),
    Parser("hdf5", hdf5_seeds, lambda path: list(scans_of_hdf5(path, InputSpec(), tr_s=2.0))),
    Parser("npy", lambda folder: [p for p in series_seeds(folder) if p.suffix in (".npy", ".npz")],
           lambda path: (read_array(path), path.suffix == ".npy" and map_array(path))),
    Parser("shards", shard_seeds, read_shards),
    Parser("group table", group_seeds, read_group),
    Parser("participants", people_seeds, read_people),
    Parser("events", texts(a_tsv=_EVENTS), read_events),
)  # fmt: skip
