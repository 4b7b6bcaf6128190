"""From an fMRIPrep folder to scans: names, entities, companions, selection; no voxels."""
