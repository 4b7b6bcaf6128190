# The same two rules in a workflow of snakebids, which finds the participants (docs/howto/runners.md).
#     snakemake --snakefile snakebids.smk --configfile config.yaml --cores 4
from snakebids import generate_inputs

bold = generate_inputs(
    bids_dir=config["fmriprep_dir"],
    pybids_inputs={
        "bold": {
            "filters": {"suffix": "bold", "desc": "preproc", "extension": ".nii.gz", **config.get("bids_filter", {})},
            "wildcards": ["subject", "session", "task", "acquisition", "run", "space"],
        }
    },
    validate=False,
)["bold"]


module semantoks:
    snakefile:
        "Snakefile"
    config:
        config | {"participants": sorted(set(bold.entities["subject"]))}


use rule * from semantoks


rule tables:
    default_target: True
    input:
        rules.all.input,
