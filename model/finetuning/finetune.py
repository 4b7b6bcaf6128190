"""Fine-tune on splits, save, and score the test subjects with what was saved."""

from __future__ import annotations

import copy
import logging
import shutil
from dataclasses import asdict, astuple, fields
from typing import TYPE_CHECKING, Any

import torch

from model.checkpoint import load_encoder, save_checkpoint
from model.errors import ConfigError
from model.figures import style
from model.figures.render import described, svg_bytes
from model.files.write import json_bytes, new_folder, tsv_bytes
from model.finetuning.predictor import (
    CHECKPOINT_FOLDER,
    HIDDEN,
    HeadCard,
    Predictor,
    load_predictor,
    make_predictor,
    save_head,
    scores_of,
)
from model.finetuning.study import open_study
from model.finetuning.train import Epoch, kept, train
from model.invocation.progress import Progress, listening
from model.probing.options import MAIN_METRIC
from model.probing.protocol import provenance, row_record
from model.probing.scoring import Row, by_key, measure_keys
from model.probing.summary import (
    answers_of,
    cautions,
    figure_svg,
    predictions_tsv,
    ratios_of,
    summarize,
    text_table,
)
from model.probing.unfinished import Unfinished, refuse_others

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.encoder import Encoder
    from model.finetuning.options import FinetuneConfig
    from model.finetuning.study import Study


_LOG = logging.getLogger(__name__)

METHOD = "finetuned"


TARGETS = r"blocks\.\d+\.(attention\.(qkv|proj)|mlp\.[02])"
"""The transformer's linear layers; tokenizers and norms stay as they are."""
SCALE = 2
"""Alpha over rank."""


def run_finetune(
    data: Path,
    participants: Path,
    out: Path,
    config: FinetuneConfig,
    *,
    checkpoint: Path | None = None,
    device: str = "cpu",
    overwrite: bool = False,
) -> str:
    """Fine-tune an encoder on a column of the participants table.

    Parameters
    ----------
    data, participants, checkpoint, device, overwrite
        As for `model.probing.probe.run_probe`; data is an output folder, the checkpoint is
        where to start, the device where to train.
    out
        New folder for ``results.json``, ``predictions.tsv``, ``results.svg``, and of each
        repetition ``checkpoint/``, the head, ``epochs.tsv`` and ``epochs.svg``: in a folder of
        its own, if there are several.

    Returns
    -------
    Test scores as text, beside those of the probe on the untouched encoder and the same split.

    Raises
    ------
    SemantoksError
        The input is not fit for the question, or training failed; nothing is written.
    """
    refuse_others(out, overwrite=overwrite)
    if config.lora_rank:
        require_library()
    encoder = load_encoder(checkpoint, device=device)
    study = open_study(data, participants, config, encoder)
    chosen = range(config.repetition, config.repetition + config.n_splits)
    studies = [study.at(number) for number in chosen]
    splits = [one.split for one in studies]
    warnings = cautions(study.labels, splits, are_drawn=config.are_drawn)
    for warning in warnings:
        _LOG.warning("%s", warning)
    record = provenance(data, participants, config, study.labels, splits)
    record |= {"data_sha256": study.data_sha256, "readout": list(study.readout)}
    record |= {"warnings": warnings} if warnings else {}
    pieces = Unfinished(out, _question(record, encoder), overwrite=overwrite)
    left = [one for one in studies if pieces.get(_name(one)) is None]
    n_done = len(studies) - len(left)
    with Progress(n_items=len(studies), n_done=n_done, size=len(left)) as progress:
        for one in left:
            # Epochs end before their number where training stops early.
            with listening(progress.at_work):
                _run_split(one, encoder, pieces, device=device)
            progress.tell(one.split.name)
    return _gather(out, record, studies, pieces)


def _question(record: dict[str, Any], encoder: Encoder) -> dict[str, Any]:
    """Return what a repetition depends on; how many there are may change from call to call."""
    which = ("repetition", "n_splits")
    config = {k: v for k, v in record["config"].items() if k not in which}
    kept = ("labels_sha256", "data_sha256", "splits_table_sha256", "readout", "software")
    weights = {"base": encoder.own_card().weights_sha256}
    return config | weights | {key: record[key] for key in kept if key in record}


def _name(study: Study) -> str:
    return f"repetition-{study.repetition}"


def _run_split(study: Study, encoder: Encoder, pieces: Unfinished, *, device: str) -> None:
    """Fine-tune on one split, and keep what comes of it."""
    probe = study.probe()
    predictor, epochs = fit(study, encoder)
    place = pieces.place(_name(study))
    with new_folder(place, replace=True) as folder:
        checkpoint = _save(folder, predictor, study, epochs)
        row = _score_saved(folder, study, epochs, device=device)
        (folder / "epochs.tsv").write_bytes(epochs_tsv(epochs))
        (folder / "epochs.svg").write_bytes(curves_svg(epochs, study))
    pieces.keep(
        _name(study), {"checkpoint": checkpoint, "rows": [asdict(one) for one in (probe, row)]}
    )


def _gather(
    out: Path, record: dict[str, Any], studies: Sequence[Study], pieces: Unfinished
) -> str:
    """Write the results of all repetitions; the weights of one lie in the folder itself."""
    labels, found = studies[0].labels, [pieces.get(_name(one)) for one in studies]
    rows = [Row(**row) for piece in found for row in piece["rows"]]
    rows.sort(key=lambda row: row.method == METHOD)
    splits = [one.split for one in studies]
    record["answers"] = answers = answers_of(rows, splits, labels)
    summary, differences = summarize(rows, labels.task, ratios=ratios_of(splits), answers=answers)
    record["summary"], record["probe_minus_method"] = summary, differences
    record["rows"] = [row_record(row) for row in rows]
    checkpoints = [piece["checkpoint"] for piece in found]
    record |= {"checkpoint": checkpoints[0]} if len(found) == 1 else {"checkpoints": checkpoints}
    with new_folder(out, replace=True) as folder:
        for study in studies:
            place = folder if len(studies) == 1 else folder / _name(study)
            shutil.copytree(pieces.place(_name(study)), place, dirs_exist_ok=True)
        (folder / "results.json").write_bytes(json_bytes(record))
        (folder / "predictions.tsv").write_bytes(predictions_tsv(rows, labels))
        (folder / "results.svg").write_bytes(figure_svg(rows, summary, labels))
    return text_table(summary, differences, labels.task, p_values={})


def fit(study: Study, encoder: Encoder) -> tuple[Predictor, list[Epoch]]:
    """Train copies of an encoder with new heads, one per learning rate; keep the best.

    Adapters are merged afterwards.
    """
    found = [
        _fit_rate(study, copy.deepcopy(encoder), rate) for rate in study.config.learning_rates
    ]
    return max(found, key=lambda one: kept(one[1], study.config).rank)


def _fit_rate(study: Study, encoder: Encoder, rate: float) -> tuple[Predictor, list[Epoch]]:
    config = study.config
    predictor = make_predictor(
        encoder,
        readout=study.readout,
        n_outputs=study.n_outputs,
        seed=config.seed,
        hidden=HIDDEN if config.head == "mlp" else (),
    ).to(encoder.cls_token.device)
    adapters = None
    if config.lora_rank:
        adapters = add_adapters(encoder, rank=config.lora_rank, seed=config.seed)
    else:
        encoder.requires_grad_(requires_grad=True)
    epochs = train(
        predictor,
        study.training_crops(),
        study.crops_of(study.split.validation),
        study.labels,
        config,
        learning_rate=rate,
        scale=study.scale,
        seed=study.seed,
    )
    if adapters is not None:
        predictor.encoder = merge_adapters(adapters)
    return predictor, epochs


def _save(folder: Path, predictor: Predictor, study: Study, epochs: list[Epoch]) -> dict[str, Any]:
    """Write checkpoint and head; return what the results say about the checkpoint."""
    base, labels, best = study.base, study.labels, kept(epochs, study.config)
    card = save_checkpoint(
        folder / CHECKPOINT_FOLDER,
        predictor.encoder,
        name=f"{base.name}-{labels.column}",
        version=base.version,
        input=base.input,
        readout=study.readout,
        source=f"{base.name} {base.version}, fine-tuned on {labels.column} of "
        f"{len(study.split.train)} subjects",
        licence=base.licence,
        training={
            "method": f"LoRA, rank {study.config.lora_rank}, merged"
            if study.config.lora_rank
            else "all weights",
            "base_weights_sha256": base.weights_sha256,
            "data_sha256": study.data_sha256,
            "split_sha256": study.split.sha256(),
            "labels_sha256": labels.sha256(),
            "kept_epoch": asdict(best),
        },
    )
    offset, spread = study.scale
    head = HeadCard(
        target=labels.column,
        task=labels.task,
        classes=labels.classes,
        readout=study.readout,
        offset=offset,
        spread=spread,
        encoder_sha256=card.weights_sha256,
        hidden=HIDDEN if study.config.head == "mlp" else (),
    )
    save_head(folder, predictor, head)
    return {
        "Name": card.name,
        "WeightsSHA256": card.weights_sha256,
        "BaseWeightsSHA256": base.weights_sha256,
    }


def _score_saved(folder: Path, study: Study, epochs: list[Epoch], *, device: str) -> Row:
    """Score the test subjects with the files as they were written."""
    predictor, card = load_predictor(folder, device=device)
    test, best = study.crops_of(study.split.test), kept(epochs, study.config)
    scores = scores_of(
        predictor, test.windows.values, test.masked, batch_size=study.config.batch_size
    )
    predicted = by_key(scores * card.spread + card.offset, test.windows.keys(study.labels))
    return Row(
        method=METHOD,
        split=study.split.name,
        status="ok",
        setting=float(best.epoch),
        validation=best.validation_score,
        scores=measure_keys(predicted, study.labels, of="test"),
        predictions=predicted,
    )


def require_library() -> None:
    """Raise `ConfigError` if peft cannot be imported."""
    try:
        import peft  # noqa: F401
    except ImportError as err:
        raise ConfigError(
            f"adapters need the library peft ({err}).",
            hint="In the checkout: pip install '.[lora]'",
        ) from err


def add_adapters(encoder: Encoder, *, rank: int, seed: int) -> Any:
    """Put adapters into an encoder, in place; nothing else of it learns any more.

    Returns
    -------
    peft's handle, for `merge_adapters`.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=rank, lora_alpha=SCALE * rank, target_modules=TARGETS)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return get_peft_model(encoder, config)


def merge_adapters(handle: Any) -> Encoder:
    """Add the adapters to the weights they stand beside: an ordinary encoder again."""
    encoder: Encoder = handle.merge_and_unload(safe_merge=True)
    return encoder


def epochs_tsv(epochs: Sequence[Epoch]) -> bytes:
    """Return one line per epoch."""
    return tsv_bytes([f.name for f in fields(Epoch)], [astuple(epoch) for epoch in epochs])


def curves_svg(epochs: Sequence[Epoch], study: Study) -> bytes:
    """Draw losses and validation score by epoch; a line marks the epoch that was kept."""
    from matplotlib.figure import Figure

    metric = MAIN_METRIC[study.labels.task]
    if study.labels.task == "regression" and study.config.regress_by == "mae":
        metric = "minus absolute error"
    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    number = [epoch.epoch for epoch in epochs]
    losses.plot(
        number, [epoch.train_loss for epoch in epochs], label="training", color=style.BEFORE
    )
    losses.plot(
        number, [epoch.validation_loss for epoch in epochs], label="validation", color=style.AFTER
    )
    losses.set(xlabel="epoch", ylabel="loss")
    losses.legend(frameon=False)
    scores.plot(number, [epoch.validation_score for epoch in epochs], color=style.SERIES[1])
    scores.set(xlabel="epoch", ylabel=f"validation {metric}")
    for axes in (losses, scores):
        axes.axvline(kept(epochs, study.config).epoch, color=style.QUIET, linestyle=":")
    alt = described("Losses and validation score by epoch", f"{len(epochs)} epochs")
    return svg_bytes(figure, alt=alt)
