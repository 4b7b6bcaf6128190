"""Parcel series of cohorts, stored for training."""
