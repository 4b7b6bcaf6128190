"""Denoising strategies: the named ones, and files of the user's own."""

import json

import pytest

from bids_app.errors import OptionsError
from bids_app.signal.strategy import Strategy, available_strategies, load_strategy


def test_every_named_strategy_loads_under_its_name():
    assert {load_strategy(name).name for name in available_strategies()} == set(
        available_strategies()
    )


def test_the_names_of_giga_connectome_and_xcp_d_are_there():
    giga = "simple simple+gsr scrubbing.2 scrubbing.2+gsr scrubbing.5 scrubbing.5+gsr"
    xcp_d = "24P 27P 36P acompcor acompcor_gsr aroma aroma_gsr gsr_only none"
    expected = {*giga.split(), "acompcor50", "icaaroma", *xcp_d.split(), "default"}
    assert set(available_strategies()) == expected


def test_a_file_of_the_user_s_own_is_a_strategy(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"motion": "basic", "columns": ["csf_wm"], "fd_threshold_mm": 0.3}')
    strategy = load_strategy(path)
    assert strategy == Strategy(
        name="mine", motion="basic", columns=("csf_wm",), fd_threshold_mm=0.3
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"motions": "full"}', "unknown keys ['motions']"),
        ('{"motion": 24}', "motion 24 (expected one of 'basic', 'derivatives', 'power2', 'full'"),
        ('{"wm_csf": ["full"]}', "wm_csf ['full'] (expected one of 'basic', "),
        ('{"global_signal": true}', "global_signal True (expected one of 'basic', "),
        ('{"compcor": "combined"}', "compcor 'combined' (expected one of 'anat_combined'"),
        ('{"n_compcor": 0}', "n_compcor 0 (expected a whole number at least 1 or nothing)"),
        ('{"n_compcor": 5.0}', "n_compcor 5.0 (expected a whole number at least 1 or nothing)"),
        ('{"aroma": 1}', "aroma 1 (expected true or false)"),
        ('{"cosine": null}', "cosine None (expected true or false)"),
        ('{"columns": "csf"}', "columns 'csf' (expected a list, each text)"),
        ('{"columns": {"csf": 1}}', "columns {'csf': 1} (expected a list, each text)"),
        ('{"columns": 3}', "columns 3 (expected a list, each text)"),
        ('{"columns": ["csf", 3]}', "columns ('csf', 3) (expected a list, each text)"),
        ('{"fd_threshold_mm": -1}', "fd_threshold_mm -1 (expected a finite number above 0 or"),
        ('{"fd_threshold_mm": true}', "fd_threshold_mm True (expected a finite number above 0"),
        ('{"fd_threshold_mm": NaN}', "fd_threshold_mm nan (expected a finite number above 0"),
        ('{"std_dvars_threshold": "2"}', "std_dvars_threshold '2' (expected a finite number"),
        ('{"std_dvars_threshold": Infinity}', "std_dvars_threshold inf (expected a finite"),
        ('{"min_segment_frames": 1.5}', "min_segment_frames 1.5 (expected a whole number"),
        ('{"description": 1}', "description 1 (expected text)"),
        ('{"name": "x"}', "key name is not allowed"),
        ("[1]", "expected a JSON object {…}, found a list"),
        ("{", "not readable as JSON"),
    ],
)
def test_a_mistake_in_a_strategy_file_is_told_with_file_key_expected_and_found(
    tmp_path, text, message
):
    path = tmp_path / "mine.json"
    path.write_text(text)
    with pytest.raises(OptionsError) as caught:
        load_strategy(path)
    assert caught.value.message.startswith(f"--denoise-strategy {path}: ")
    assert message in caught.value.message


def test_all_mistakes_in_a_strategy_file_are_told_at_once(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"motion": "24", "aroma": "no"}')
    with pytest.raises(OptionsError, match=r"motion '24' .*, aroma 'no' "):
        load_strategy(path)


def test_unknown_keys_are_refused_with_the_known_ones(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text('{"gsr": true}')
    with pytest.raises(OptionsError, match="global_signal"):
        load_strategy(path)


def test_an_unknown_strategy_lists_the_names():
    with pytest.raises(OptionsError, match="acompcor50"):
        load_strategy("simpel")


@pytest.mark.parametrize("pattern", ["cosine*", "trans_?", "rot_[xy]"])
def test_a_pattern_among_the_columns_is_refused_with_what_there_is_instead(tmp_path, pattern):
    (tmp_path / "mine.json").write_text(json.dumps({"columns": ["csf", pattern]}))
    with pytest.raises(OptionsError, match=r"no patterns\. Groups have keys .*\"cosine\": true"):
        load_strategy(tmp_path / "mine.json")
