"""Fine-tune on one split, save, and score the test subjects with what was saved."""

from __future__ import annotations

from dataclasses import asdict, astuple, fields
from typing import TYPE_CHECKING, Any

import torch

from model.checkpoint import load_encoder, save_checkpoint
from model.errors import ConfigError
from model.files.figures import svg_bytes
from model.files.write import json_bytes, new_folder, tsv_bytes
from model.finetuning.predictor import (
    CHECKPOINT_FOLDER,
    HeadCard,
    Predictor,
    load_predictor,
    make_predictor,
    save_head,
    scores_of,
)
from model.finetuning.study import open_study
from model.finetuning.train import Epoch, best_of, train
from model.probing.options import MAIN_METRIC
from model.probing.protocol import provenance, row_record
from model.probing.scoring import Row, by_subject, measure_subjects
from model.probing.summary import predictions_tsv, summarize, text_table
from model.probing.unfinished import refuse_others

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.encoder import Encoder
    from model.finetuning.options import FinetuneConfig
    from model.finetuning.study import Study


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
        New folder for ``checkpoint/`` and the head, ``results.json``, ``predictions.tsv``,
        ``epochs.tsv`` and ``epochs.svg``.

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
    rows = [study.probe()]
    predictor, epochs = fit(study, encoder)
    record = provenance(data, participants, config, study.labels, [study.split])
    record |= {"data_sha256": study.data_sha256, "readout": list(study.readout)}
    with new_folder(out, replace=True) as folder:
        record["checkpoint"] = _save(folder, predictor, study, epochs)
        rows.append(_score_saved(folder, study, epochs, device=device))
        summary, differences = summarize(rows, [study.split], study.labels)
        record["rows"] = [row_record(row) for row in rows]
        metric = MAIN_METRIC[study.labels.task]
        (folder / "results.json").write_bytes(json_bytes(record))
        (folder / "predictions.tsv").write_bytes(predictions_tsv(rows, study.labels))
        (folder / "epochs.tsv").write_bytes(epochs_tsv(epochs))
        (folder / "epochs.svg").write_bytes(curves_svg(epochs, metric))
    return text_table(summary, differences, study.labels.task, p_values={})


def fit(study: Study, encoder: Encoder) -> tuple[Predictor, list[Epoch]]:
    """Train an encoder, in place, with a new head; adapters are merged afterwards."""
    config = study.config
    predictor = make_predictor(
        encoder, readout=study.readout, n_outputs=study.n_outputs, seed=config.seed
    ).to(encoder.cls_token.device)
    adapters = None
    if config.lora_rank:
        adapters = add_adapters(encoder, rank=config.lora_rank, seed=config.seed)
    else:
        encoder.requires_grad_(requires_grad=True)
    epochs = train(
        predictor,
        study.crops_of(study.split.train),
        study.crops_of(study.split.validation),
        study.labels,
        config,
        scale=study.scale,
    )
    if adapters is not None:
        predictor.encoder = merge_adapters(adapters)
    return predictor, epochs


def _save(folder: Path, predictor: Predictor, study: Study, epochs: list[Epoch]) -> dict[str, Any]:
    """Write checkpoint and head; return what the results say about the checkpoint."""
    base, labels, best = study.base, study.labels, best_of(epochs)
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
            "best_epoch": asdict(best),
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
    test, best = study.crops_of(study.split.test), best_of(epochs)
    scores = scores_of(
        predictor, test.windows.values, test.masked, batch_size=study.config.batch_size
    )
    predicted = by_subject(scores * card.spread + card.offset, test.windows.subjects)
    return Row(
        method=METHOD,
        split=study.split.name,
        status="ok",
        setting=float(best.epoch),
        validation=best.validation_score,
        scores=measure_subjects(predicted, study.labels, of="test"),
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


def curves_svg(epochs: Sequence[Epoch], metric: str) -> bytes:
    """Draw losses and validation score by epoch; a line marks the epoch that was kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 2.6), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    number = [epoch.epoch for epoch in epochs]
    losses.plot(number, [epoch.train_loss for epoch in epochs], label="training")
    losses.plot(number, [epoch.validation_loss for epoch in epochs], label="validation")
    losses.set(xlabel="epoch", ylabel="loss")
    losses.legend(frameon=False)
    scores.plot(number, [epoch.validation_score for epoch in epochs], color="C1")
    scores.set(xlabel="epoch", ylabel=f"validation {metric}")
    for axes in (losses, scores):
        axes.axvline(best_of(epochs).epoch, color="0.6", linestyle=":")
    return svg_bytes(figure)
