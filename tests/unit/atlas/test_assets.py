"""semantoks assets: sources verified, labels reordered, installation whole or not at all."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import subprocess
import sys
from types import SimpleNamespace
from urllib.error import URLError

import builders
import nibabel as nib
import numpy as np
import pytest
from atlas_source_builders import (
    GRAY,
    LIN6,
    LIN2009,
    TO_LIN6,
    complete_contents,
    synthetic_contents,
)
from click.testing import CliRunner
from itk_builders import composite

from bids_app.atlas.installed import InstalledAtlas
from bids_app.atlas.setup import fetch as atlas_fetch
from bids_app.atlas.setup import origins
from bids_app.atlas.setup.origins import all_sources, sources_of
from bids_app.atlas.volumes import (
    available_spaces,
    installed_images,
    load_volume_atlas,
    parcels_by_space,
)
from bids_app.cli.assets import main
from model.networks import parcel_names

N_PARCELS = len(parcel_names())


def test_every_space_needs_its_pinned_sources():
    assert [s.name.rpartition("_S3")[2] for s in sources_of(LIN6)] == [
        "_label.txt",
        "_MNI152NLin6Asym_1mm.nii",
        "_MNI152NLin6Asym_2mm.nii",
        "atl-Buckner7_space-MNI_dseg.nii",
    ]
    assert len(sources_of(LIN2009)) == 3
    assert [s.name for s in sources_of(GRAY)] == [
        "Schaefer2018_400Parcels_7Networks_order_Tian_Subcortex_S3.dlabel.nii",
        "atl-Buckner7_space-MNI_dseg.nii",
    ]


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def _no_templateflow(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("TEMPLATEFLOW_HOME", str(tmp_path_factory.mktemp("templateflow")))


@pytest.fixture
def source_folder(tmp_path, monkeypatch):
    """Synthetic sources under the original names, taken for the originals."""
    return write_sources(tmp_path / "sources", synthetic_contents(), monkeypatch)


@pytest.fixture
def complete_folder(tmp_path, monkeypatch):
    """Those of TemplateFlow too."""
    return write_sources(tmp_path / "sources", complete_contents(), monkeypatch)


def write_sources(folder, contents, monkeypatch):
    hashes = {hashlib.sha256(content).hexdigest(): pin.sha256 for pin, content in contents.items()}
    genuine = hashlib.sha256

    def as_published(content):
        """What hashes as the synthetic file counts as the original."""
        found = genuine(content).hexdigest()
        return SimpleNamespace(hexdigest=lambda: hashes.get(found, found))

    monkeypatch.setattr(atlas_fetch, "hashlib", SimpleNamespace(sha256=as_published))
    folder.mkdir()
    for pin, content in contents.items():
        (folder / pin.name).write_bytes(content)
    return folder


def listing(folder):
    return {p: p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


def test_command_installs_all_spaces_and_says_what_is_missing(tmp_path, source_folder):
    result = run("atlas", "--from", source_folder, "--home", tmp_path / "home")
    assert result.exit_code == 0, result.output
    assert "MNI152NLin2009cAsym 2 mm: 450 of 457 parcels; 7 missing (no Buckner" in result.stdout
    (left_out,) = [line for line in result.stdout.splitlines() if "left out:" in line]
    assert "tpl-MNI152NLin2009cAsym_from-MNI152NLin6Asym_mode-image" in left_out
    assert "cerebellar voxels keep" in result.stdout
    assert "CC BY-ND" in result.stdout
    folder = tmp_path / "home/atlas"
    assert available_spaces(folder) == (LIN6, GRAY, LIN2009)
    assert len(installed_images(folder)) == 4
    assert InstalledAtlas(folder).grayordinates("91k").absent == {}
    sidecar = json.loads(next(folder.glob("tpl-MNI152NLin6Asym/*res-2_dseg.json")).read_text())
    assert [f["Name"] for f in sidecar["SourceFiles"]] == [
        "Schaefer2018_400Parcels_7Networks_order_Tian_Subcortex_S3_MNI152NLin6Asym_2mm.nii",
        "atl-Buckner7_space-MNI_dseg.nii",
    ]


def test_command_completes_the_atlas_with_what_templateflow_has(tmp_path, complete_folder):
    result = run("atlas", "--from", complete_folder, "--home", tmp_path / "home")
    assert result.exit_code == 0, result.output
    assert "MNI152NLin2009cAsym 2 mm: 457 parcels" in result.stdout
    assert "fsLR 170k: 457 parcels" in result.stdout
    assert "Not found" not in result.stdout
    assert "TemplateFlow: the LICENSE file" in result.stdout
    folder = tmp_path / "home/atlas"
    assert parcels_by_space(folder) == dict.fromkeys(
        (LIN6, GRAY, "fsLR_den-170k", LIN2009), N_PARCELS
    )
    sidecar = json.loads(next(folder.glob(f"tpl-{LIN2009}/*res-2_dseg.json")).read_text())
    assert sidecar["AbsentParcels"] == {}
    assert sidecar["CerebellumWarp"] == {
        "Transform": "tpl-MNI152NLin2009cAsym_from-MNI152NLin6Asym_mode-image_xfm.h5",
        "From": LIN6,
        "Interpolation": "nearest",
        "MedianParcelDistanceBefore": 7.483,
        "MedianParcelDistanceAfter": 0.0,
    }
    assert "CerebellumWarp" not in next(folder.glob(f"tpl-{LIN6}/*res-2_dseg.json")).read_text()


def test_the_hash_tells_an_atlas_with_the_cerebellum_from_one_without(tmp_path, complete_folder):
    hashes = []
    for home, more in (("a", []), ("b", ["--without-templateflow"])):
        folder = tmp_path / home
        assert run("atlas", "--from", complete_folder, "--home", folder, *more).exit_code == 0
        hashes.append(InstalledAtlas(folder / "atlas").volume(LIN2009, affine=np.eye(4)).sha256)
        spaces = parcels_by_space(folder / "atlas")
        assert (spaces[LIN2009], len(spaces)) == ((457, 4) if home == "a" else (450, 3))
    assert hashes[0] != hashes[1]


def test_the_transform_of_the_opposite_name_is_refused_under_the_wanted_one(
    tmp_path, complete_folder
):
    """It has the same size, lattice and direction: nothing but the hash tells."""
    name = origins.CEREBELLUM_WARP[LIN2009].name
    (complete_folder / name).write_bytes(composite(translation=TO_LIN6 * 1.01))
    result = run("atlas", "--from", complete_folder, "--home", tmp_path / "home")
    assert result.exit_code == 78
    assert f"{name}: not the file" in result.stderr
    assert not (tmp_path / "home").exists()


def test_installing_twice_rewrites_nothing(tmp_path, source_folder):
    run("atlas", "--from", source_folder, "--home", tmp_path / "home")
    before = listing(tmp_path / "home")
    assert run("atlas", "--from", source_folder, "--home", tmp_path / "home").exit_code == 0
    assert listing(tmp_path / "home") == before
    assert len(before) == 14


def test_one_space_needs_only_its_own_sources(tmp_path, source_folder):
    (source_folder / "atl-Buckner7_space-MNI_dseg.nii").unlink()
    home = tmp_path / "home"
    refused = run("atlas", "--from", source_folder, "--home", home)
    assert refused.exit_code == 78
    assert "atl-Buckner7_space-MNI_dseg.nii" in refused.stderr
    assert not home.exists()
    assert (
        run("atlas", "--from", source_folder, "--home", home, "--for-space", LIN2009).exit_code
        == 0
    )
    assert available_spaces(home / "atlas") == (LIN2009,)


def test_environment_names_the_default_home(tmp_path, source_folder, monkeypatch):
    monkeypatch.setenv("SEMANTOKS_HOME", str(tmp_path / "x"))
    assert run("atlas", "--from", source_folder).exit_code == 0
    assert available_spaces(tmp_path / "x/atlas") == (LIN6, GRAY, LIN2009)


def test_home_that_cannot_be_written_ends_with_73(tmp_path, source_folder):
    (tmp_path / "home").write_text("a file")
    result = run("atlas", "--from", source_folder, "--home", tmp_path / "home/sub")
    assert result.exit_code == 73
    assert "cannot be written" in result.stderr


def test_verify_names_what_is_damaged_and_tells_of_all(tmp_path, source_folder):
    home = tmp_path / "home"
    nothing = run("verify", "--home", home)
    assert nothing.exit_code == 78
    assert "no atlas and no checkpoint in" in nothing.stderr
    run("atlas", "--from", source_folder, "--home", home)
    builders.make_checkpoint(home / "checkpoints/tiny")
    result = run("verify", "--home", home)
    assert result.exit_code == 0
    assert "MNI152NLin6Asym 1 mm: 457 parcels" in result.stdout
    assert "fsLR 91k: 457 parcels" in result.stdout
    assert "checkpoint tiny: " in result.stdout
    image = installed_images(home / "atlas")[0]
    image.write_bytes(image.read_bytes()[:100])
    damage(home / "checkpoints/tiny/weights.safetensors")
    result = run("verify", "--home", home)
    assert result.exit_code == 78
    assert result.stderr.count("DAMAGED") == 2
    assert "2 of 6 assets in" in result.stderr
    image.unlink()
    result = run("verify", "--home", home)
    assert f"DAMAGED: {image.with_name(image.name.partition('.')[0])}.json: the" in result.stderr
    assert "2 of 6 assets in" in result.stderr
    assert "fsLR 91k: 457 parcels" in result.stdout


def test_a_damaged_sidecar_does_not_keep_the_list_from_the_rest(tmp_path, source_folder):
    home = tmp_path / "home"
    run("atlas", "--from", source_folder, "--home", home, "--for-space", LIN6)
    image = installed_images(home / "atlas")[0]
    image.with_name(image.name.partition(".")[0] + ".json").write_text("{")
    builders.make_checkpoint(home / "checkpoints/tiny")
    listed = run("list", "--home", home)
    assert listed.exit_code == 0
    assert "atlas       DAMAGED: " in listed.stdout
    assert "checkpoint  tiny" in listed.stdout


def damage(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_list_has_every_address_with_its_hash(tmp_path, source_folder):
    home = tmp_path / "home"
    empty = run("list", "--home", home)
    assert empty.exit_code == 0
    assert "Nothing is installed in" in empty.stdout
    assert not home.exists()
    run("atlas", "--from", source_folder, "--home", home)
    builders.make_checkpoint(home / "checkpoints/tiny")
    lines = run("list", "--home", home).stdout.splitlines()
    assert "  atlas       MNI152NLin6Asym: 457 parcels" in lines
    assert "  checkpoint  tiny" in lines
    for source in all_sources():
        (line,) = (line for line in lines if line.endswith(f"\t{source.url}"))
        assert line.startswith(f"{source.sha256}\t{source.name}")
    assert sum("huggingface.co/SamGijsen/Brain-Semantoks" in line for line in lines) == 3
    addresses = run("list", "--addresses").stdout.split()
    assert addresses == [source.url for source in all_sources()]


def test_the_names_of_files_tell_them_apart_where_they_lie_side_by_side():
    names = [source.path.rpartition("/")[2] for source in all_sources()]
    assert len(names) == len(set(names)) == 13


def test_a_mirror_has_all_files_under_one_address(tmp_path, complete_folder, monkeypatch):
    asked = []

    def opened(url):
        asked.append(url)
        name = url.removeprefix("http://mirror.example/atlases/")
        return io.BytesIO((complete_folder / name.removesuffix(".gz")).read_bytes())

    monkeypatch.setattr(atlas_fetch, "_open_https", opened)
    mirror = "http://mirror.example/atlases/"
    result = run("atlas", "--from", mirror, "--home", tmp_path / "home")
    assert result.exit_code == 0, result.output
    assert available_spaces(tmp_path / "home/atlas") == (LIN6, GRAY, "fsLR_den-170k", LIN2009)
    assert len(asked) == len(all_sources())
    assert any(url.endswith("_xfm.h5") for url in asked)
    (complete_folder / "Atlas_ROIs.1.60.nii").unlink()
    result = run("atlas", "--from", mirror, "--home", tmp_path / "other")
    assert result.exit_code == 78
    assert "--without-templateflow leaves out what needs this file" in result.stderr
    (complete_folder / "atl-Buckner7_space-MNI_dseg.nii").write_bytes(b"<html>please log in")
    result = run("atlas", "--from", mirror, "--home", tmp_path / "other")
    assert result.exit_code == 78
    assert "mirror.example/atlases/atl-Buckner7_space-MNI_dseg.nii: not the file" in result.stderr


def test_files_as_they_are_published_are_found_and_skeletons_are_none(tmp_path, complete_folder):
    """Clones of the repositories, and TemplateFlow's folder, with what stands for other files."""
    clones = tmp_path / "clones"
    for source in all_sources():
        place = clones / source.origin.name.split()[0] / source.path
        place.parent.mkdir(parents=True, exist_ok=True)
        content = (complete_folder / source.name).read_bytes()
        place.write_bytes(gzip.compress(content) if place.suffix == ".gz" else content)
    buckner = clones / "Buckner-7/Buckner_2011/atl-Buckner7_space-MNI_dseg.nii"
    buckner.with_name("atl-Buckner7_space-SUIT_dseg.nii").write_bytes(b"in another space")
    archive = tmp_path / "clones/annexed/atl-Buckner7_space-MNI_dseg.nii"
    archive.parent.mkdir()
    archive.symlink_to("../.git/annex/objects/MD5E-s1--0.nii")
    (archive.parent / "tpl-fsLR_hemi-L_den-32k_sphere.surf.gii").touch()
    result = run("atlas", "--from", clones, "--home", tmp_path / "home")
    assert result.exit_code == 0, result.output
    assert "fsLR 170k: 457 parcels" in result.stdout
    sphere = clones / "TemplateFlow/tpl-fsLR/tpl-fsLR_hemi-L_den-32k_sphere.surf.gii"
    sphere.write_bytes(b"")
    result = run("atlas", "--from", clones, "--home", tmp_path / "less")
    assert result.exit_code == 0, result.output
    assert "left out: tpl-fsLR_hemi-L_den-32k_sphere.surf.gii" in result.stdout
    buckner.write_bytes(b"/annex/objects/MD5E-s37--5f.nii\n")
    result = run("atlas", "--from", clones, "--home", tmp_path / "none")
    assert result.exit_code == 78
    assert "1 source file is not below this folder" in result.stderr
    assert f"Without content, so not taken for files: {buckner}, {archive}" in result.stderr
    assert "datalad get" in result.stderr
    assert not (tmp_path / "none").exists()


def test_without_internet_the_way_out_is_told(tmp_path, monkeypatch):
    def offline(_):
        raise URLError("Name or service not known")

    monkeypatch.setattr(atlas_fetch, "_open_https", offline)
    result = run("atlas", "--download", "--home", tmp_path / "home")
    assert result.exit_code == 78
    assert "Name or service not known" in result.stderr
    assert "semantoks assets atlas --from FOLDER" in result.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("extra", [[], ["--download", "--from", "."], ["--for-space", "MNI"]])
def test_wrong_usage_ends_with_2(extra):
    arguments = [*extra, "--download"] if "--for-space" in extra else extra
    assert run("atlas", *arguments).exit_code == 2


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom bids_app.cli.assets import main\n"
        "assert CliRunner().invoke(main, ['atlas', '--help']).exit_code == 0\n"
        "heavy = {'torch', 'numpy', 'nibabel', 'pandas', 'bids'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ------------------------------------------------------------------- real sources


@pytest.fixture(scope="module")
def real(shared_data, tmp_path_factory):
    """Folder of the atlas built from the real sources."""
    home = tmp_path_factory.mktemp("home")
    result = run("atlas", "--from", shared_data / "atlases", "--home", home)
    assert result.exit_code == 0, result.output
    return home / "atlas"


def counts(path):
    return np.bincount(np.asarray(nib.load(path).dataobj).astype(int).ravel(), minlength=458)


@pytest.mark.parametrize("space", [LIN6, LIN2009])
@pytest.mark.parametrize("mm", ["1", "2"])
def test_real_labels_have_the_voxels_of_their_sources(real, shared_data, space, mm):
    (original,) = (shared_data / "atlases/tian").glob(f"*_{space}_{mm}mm.nii.gz")
    atlas = load_volume_atlas(
        real / f"tpl-{space}/tpl-{space}_atlas-Semantoks457_res-{mm}_dseg.nii.gz"
    )
    built, expected = np.bincount(atlas.labels.ravel(), minlength=458), counts(original)
    np.testing.assert_array_equal(built[1:401], expected[51:451])
    np.testing.assert_array_equal(built[401:451], expected[1:51])
    np.testing.assert_array_equal(atlas.affine, nib.load(original).affine)
    assert sorted(atlas.absent) == ([] if space == LIN6 else list(range(451, 458)))


def test_real_cerebellum_has_the_voxels_of_buckner_less_the_overlap(real, shared_data):
    original = counts(shared_data / "atlases/buckner/atl-Buckner7_space-MNI_dseg.nii.gz")
    (path,) = real.glob("tpl-MNI152NLin6Asym/*res-1_dseg.nii.gz")
    overlap = json.loads(path.with_name(path.name.replace("nii.gz", "json")).read_text())
    built = counts(path)[451:458]
    assert (built <= original[1:8]).all()
    assert built.sum() == original[1:8].sum() - overlap["CerebellumOverlapVoxels"]
    (coarse,) = real.glob("tpl-MNI152NLin6Asym/*res-2_dseg.nii.gz")
    assert 40 <= counts(coarse)[451] <= 61  # Network 1, the smallest


def test_real_cortex_agrees_with_the_schaefer_release(real, shared_data):
    name = "Schaefer2018_400Parcels_7Networks_order_FSLMNI152_2mm.nii.gz"
    schaefer = nib.load(shared_data / "atlases/schaefer" / name)
    atlas = InstalledAtlas(real).volume(LIN6, affine=schaefer.affine)
    cortex = (atlas.labels > 0) & (atlas.labels <= 400)
    assert atlas.resolution == "2"
    np.testing.assert_array_equal(
        atlas.labels[cortex], np.asarray(schaefer.dataobj)[cortex].astype(int)
    )


def test_real_grid_of_fmriprep_takes_the_two_millimetre_atlas(real, shared_data):
    name = "tpl-MNI152NLin2009cAsym_res-02_desc-fMRIPrep_boldref.nii.gz"
    reference = nib.load(shared_data / "atlases/mni" / name)
    atlas = InstalledAtlas(real).volume(LIN2009, affine=reference.affine)
    assert (atlas.resolution, atlas.labels.shape) == ("2", reference.shape)


def test_pinned_files_are_those_of_the_manifest(shared_data):
    with (shared_data / "manifest.tsv").open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file, delimiter="\t")}
    for path, row in rows.items():
        name = path.rpartition("/")[2].removesuffix(".gz")
        for pinned in dict.fromkeys(
            s for space in (LIN6, GRAY, LIN2009) for s in sources_of(space)
        ):
            if pinned.name == name:
                stored = (shared_data / path).read_bytes()
                assert hashlib.sha256(stored).hexdigest() == row["sha256"]
                repository, _, commit = row["source"].removeprefix("github:").partition("@")
                assert pinned.origin.address.endswith(f"/{repository}/{commit}")
