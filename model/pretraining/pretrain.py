"""Run a pretraining: folder, provenance, training, checkpoint; start, resume, adapt."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.checkpoint import save_checkpoint
from model.errors import ConfigError
from model.fitting.short import add_short_form
from model.fitting.whitening import whiten, without_fitted
from model.partition.groups import differences
from model.pretraining.adapt import (
    AdaptationError,
    check_size,
    compare,
    prepare_cohort,
    state_result,
)
from model.pretraining.batches import draw_held_out
from model.pretraining.learner import Learner
from model.pretraining.loop import train
from model.pretraining.parallel import assemble
from model.pretraining.recipes import load_config, load_parent, load_saved, recipe_path
from model.pretraining.run_folder import (
    CONFIG_FILE,
    SHARDS_FOLDER,
    TrainingError,
    claim,
    describe_data,
    describe_parent,
    read_log,
)
from model.pretraining.settings import BUNDLED, UNTRAINED
from model.pretraining.step import Trainer
from model.pretraining.untrained import fit_data, with_mixtures_of
from model.shards.crops import Cohort
from model.shards.pooled import open_shards
from model.shards.subjects import LISTS, first_subjects

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.encoder import Encoder
    from model.pretraining.settings import DataConfig, PretrainConfig
    from model.shards.subjects import SubjectList

CHECKPOINT_FOLDER = "checkpoint"
FINAL_STEPS = 50
"""The card's final losses are averages over this many last steps."""


def run_pretraining(
    recipe: Path | str,
    out: Path,
    overrides: tuple[str, ...] = (),
    *,
    data: Path | None = None,
    device: str = "cpu",
    report: Callable[[str], None] = lambda _line: None,
) -> Path:
    """Pretrain an encoder and write its checkpoint; continue where a killed run stopped.

    Parameters
    ----------
    recipe
        TOML as `model.pretraining.recipes.load_config` reads it, or the name of a shipped one.
    out
        Gets ``config.json`` and ``provenance.json`` before work starts, then ``log.jsonl``,
        ``state.pt`` and ``curves.png``, and in the end ``checkpoint/``.
    overrides
        ``section.key=value`` pairs.
    data
        Participant outputs or shards that stand for the recipe's; None: the recipe's own.
    device
        ``auto``, ``cpu`` or ``cuda``.
    report
        Gets lines of progress.

    Returns
    -------
    Folder of the checkpoint.

    Raises
    ------
    AdaptationError
        A run that went on from a checkpoint on stored series did not help. All is written.
    SemantoksError
        Settings, data or first weights are wrong, ``out`` holds another run, or a loss is not
        finite.
    """
    path = recipe_path(str(recipe))
    if data is not None:
        config = load_config(path, overrides=(*overrides, f"data.shards={out / SHARDS_FOLDER}"))
        folder = prepare_cohort(data, out, config.input, seed=config.run.seed, report=report)
        overrides = (*overrides, f"data.shards={folder}")
    config = load_config(path, overrides=overrides)
    return _run(config, out, device=device, report=report)


def resume_pretraining(
    out: Path, *, device: str = "cpu", report: Callable[[str], None] = lambda _line: None
) -> Path:
    """Go on with the run in ``out``, with its settings; as `run_pretraining`."""
    return _run(load_saved(out / CONFIG_FILE), out, device=device, report=report)


class Material:
    """Data and first weights of a run, opened and checked."""

    def __init__(self, config: PretrainConfig) -> None:
        self.config = config
        self.parent = _load_parent(config)
        self.cohorts: dict[str, Cohort] = {}
        self.data: dict[str, Any] | None = None
        wanted = config.fit is not None or config.run.whitening is not None
        self.fit = fit_data(config) if wanted else None
        if config.data is not None:
            self._open(config.data)

    def _open(self, data: DataConfig) -> None:
        shards = open_shards(data.folders)
        lists = shards.lists({name: getattr(data, name) for name in LISTS})
        if self.config.run.n_subjects is not None:
            lists["train"] = _chosen(lists["train"], self.config)
        self.data = describe_data(shards, lists)
        for name, found in lists.items():
            # Held-out subjects may have one session only: what is computed of them says so.
            views = self.config.views
            self.cohorts[name] = Cohort(
                shards,
                found.subjects,
                self.config.input,
                n_sessions=views.n_sessions if name != "test" else 1,
                all_have=views.pairing == "sessions",
            )
        if self.parent is not None:
            check_size(self.cohorts["test"])
        n_train, batch_size = len(lists["train"].subjects), self.config.run.batch_size
        if n_train < batch_size:
            raise ConfigError(
                f"expected at least run.batch_size {batch_size} subjects to train on, found "
                f"{n_train}.",
                hint=f"--set run.batch_size={n_train} or less.",
            )

    def verify(self) -> None:
        """Compare all scans that may be used with their hashes."""
        for cohort in self.cohorts.values():
            cohort.shards.verify(cohort.scans)
        if self.fit is not None:
            self.fit.verify()


def _chosen(train: SubjectList, config: PretrainConfig) -> SubjectList:
    """Keep the number of training subjects that the run asks for."""
    n_subjects = config.run.n_subjects or len(train.subjects)
    return replace(
        train, subjects=first_subjects(train.subjects, n_subjects, seed=config.run.seed)
    )


def _load_parent(config: PretrainConfig) -> Encoder | None:
    """Load the first weights; they must fit the settings."""
    init = config.run.init
    if init in UNTRAINED:
        return None
    parent = load_parent(init)
    card = parent.own_card()
    if card.encoder.groups != config.encoder.groups:
        raise ConfigError(
            f"run.init {init}: the checkpoint's groups of parcels are not those of the settings: "
            f"{differences(card.encoder.groups, config.encoder.groups)}.",
            hint="Leave encoder.groups away, or start from a checkpoint of that partition.",
        )
    pairs = (
        (card.encoder, replace(config.encoder, short=card.encoder.short)),
        (card.input, config.input),
    )  # a short form is fitted last, and anew
    others = [
        f"{field.name} {getattr(has, field.name)!r}, not {getattr(asked, field.name)!r}"
        for has, asked in pairs
        for field in fields(has)
        if getattr(has, field.name) != getattr(asked, field.name)
    ]
    if others:
        raise ConfigError(
            f"run.init {init}: the checkpoint has {', '.join(others)} as in the settings.",
            hint="Leave the sections [encoder] and [input] away: they are on the card.",
        )
    return parent


def _run(config: PretrainConfig, out: Path, *, device: str, report: Callable[[str], None]) -> Path:
    folder = out / CHECKPOINT_FOLDER
    with assemble(device) as processes:
        processes.pieces(config.run.micro_batches)
        if processes.leads:
            material = Material(config)
            material.verify()
            provenance = _claim(out, config, material)
        processes.wait()
        if not processes.leads:
            material = Material(config)
        trainer = Trainer(Learner(config, material.parent), config, processes)
        try:
            seconds = train(
                trainer,
                out,
                cohort=material.cohorts.get("train"),
                validation=material.cohorts.get("validation"),
                report=report,
            )
        except OSError as err:
            raise TrainingError(
                f"{out}: cannot be written ({err}).",
                hint="Make room, or check permissions; semantoks-model resume goes on from the "
                "last saved state.",
            ) from err
        if processes.leads:
            provenance |= {"seconds": round(seconds, 1)}
            encoder, fit = _finished(trainer.learner.teacher.encoder, material)
            check = _check_adaptation(trainer, material, encoder)
            _save(folder, encoder, material, provenance | {"fit": fit} | check, out)
            _report_adaptation(check, folder, report)
    return folder


def _claim(out: Path, config: PretrainConfig, material: Material) -> dict[str, Any]:
    parent = None
    if material.parent is not None:
        parent = describe_parent(material.parent.own_card(), config.run.init)
    fit = None if material.fit is None else material.fit.describe()
    return claim(out, config, data=material.data, parent=parent, fit=fit)


def _check_adaptation(trainer: Trainer, material: Material, adapted: Encoder) -> dict[str, Any]:
    """Compare with the checkpoint that the run started from, if any, on held-out subjects.

    If the run was fitted in the end, so is that checkpoint: they differ by training alone.
    """
    config, parent = trainer.config, material.parent
    if parent is None or config.data is None:
        return {}
    test, (start, _) = material.cohorts["test"], _finished(parent, material)
    check = compare(start, adapted, test, config.run.readout)
    held_out = draw_held_out(config, test).to(trainer.processes.device)
    before = Trainer(Learner(config, parent), config, trainer.processes)
    losses = {"before_with_untrained_head": before, "after": trainer}
    found = {
        name: {k: round(float(v), 4) for k, v in each.evaluate(held_out).items()}
        for name, each in losses.items()
    }
    return {"held_out_check": check | {"losses": found}}


def _report_adaptation(found: dict[str, Any], folder: Path, report: Callable[[str], None]) -> None:
    if not found:
        return
    check = found["held_out_check"]
    sentence = state_result(check)
    if not check["helped"]:
        raise AdaptationError(
            f"{sentence}.",
            hint=f"Stay with the checkpoint that you started from; {folder} holds the result.",
        )
    report(sentence)


def _save(
    folder: Path, encoder: Encoder, material: Material, provenance: dict[str, Any], out: Path
) -> None:
    config = material.config
    save_checkpoint(
        folder,
        encoder,
        name=config.run.name,
        version=config.run.version,
        input=config.input,
        readout=config.run.readout,
        source=_tell_source(material, provenance["fit"]),
        licence="Apache-2.0" if material.parent is None else material.parent.own_card().licence,
        training=describe_training(config, out, provenance),
    )


def _tell_source(material: Material, fit: dict[str, Any] | None) -> str:
    """Say in one sentence what the weights come from, with the licences of stored series."""
    config, parent = material.config, material.parent
    if parent is None:
        begin = UNTRAINED[config.run.init]
    else:
        card = parent.own_card()
        begin = f"{card.name} {card.version}"
    steps = []
    if config.run.n_steps:
        learnt_from = "simulated series only"
        if material.data is not None:
            licence = material.data["licence"]
            learnt_from = f"stored parcel series (licence: {licence})"
        steps.append(f"trained by semantoks from {begin} on {learnt_from}")
    else:
        steps.append(f"made by semantoks of {begin}, without training")
    if fit is not None:
        fitted = [f"{n} (licence: {cohort['licence']})" for n, cohort in fit["cohorts"].items()]
        steps.append(f"fitted to {', '.join(fitted) or 'simulated series'}")
    return ", ".join(steps)


def _finished(encoder: Encoder, material: Material) -> tuple[Encoder, dict[str, Any] | None]:
    """Fit what the run asks for; also tell what it was fitted to, now or before.

    A short form of the start, which is of other vectors, is dropped.
    """
    config, data = material.config, material.fit
    encoder = without_fitted(encoder, whitening=False)
    if data is None:
        inherited = None if material.parent is None else material.parent.own_card().training
        return encoder, (inherited or {}).get("fit")
    if material.parent is not None:  # what rows weigh stays as it was
        data = with_mixtures_of(data, material.parent)
    told = data.describe()
    if config.run.whitening is not None:
        encoder, rows = whiten(encoder.cpu().eval(), data, shrinkage=config.run.whitening)
        told |= rows
    if data.config.short:
        encoder, short = add_short_form(encoder.cpu().eval(), data)
        told |= {"short": short}
    return encoder, told


def describe_training(
    config: PretrainConfig, out: Path, provenance: dict[str, Any]
) -> dict[str, Any]:
    """Say how the weights were made, for the card."""
    last = read_log(out)[-FINAL_STEPS:]
    names = sorted({name for row in last for name in row} - {"step"})
    final = {n: [row[n] for row in last if n in row] for n in names}
    objective = "self-distillation of Brain-Semantoks (arXiv 2512.11582), teacher kept"
    return {
        "objective": objective if config.run.n_steps else "none: nothing was trained",
        **provenance,
        "data": provenance["data"] or _simulated_scans(config),
        "config": _without_places(config.to_dict()),
        "final_losses": {n: round(sum(v) / len(v), 4) for n, v in final.items()},
    }


def _without_places(settings: dict[str, Any]) -> dict[str, Any]:
    """Name folders of shards by their last part: a card travels, and where they lay is private."""
    settings = json.loads(json.dumps(settings))
    if settings["run"]["init"] not in (*UNTRAINED, BUNDLED):
        settings["run"]["init"] = f"checkpoint {Path(settings['run']['init']).name}"
    for section in ("data", "fit"):
        for key in ("shards", "more_shards"):
            given = settings.get(section, {}).get(key)
            if isinstance(given, str):
                settings[section][key] = Path(given).name
            elif given:
                settings[section][key] = [Path(folder).name for folder in given]
    return settings


def _simulated_scans(config: PretrainConfig) -> str:
    n_drawn = config.run.n_steps * config.run.batch_size
    n_scans = min(config.run.n_subjects or n_drawn, n_drawn) * config.views.n_sessions
    if not n_scans:
        return "none"
    repeats = n_drawn * config.views.n_sessions / n_scans
    used = "each used once" if repeats == 1 else f"each used {repeats:g} times on average"
    return f"{n_scans} simulated scans, {used}; no real scan"
