"""The command `semantoks-model`: the whole method, from checkpoints to scaling."""
