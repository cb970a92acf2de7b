"""The one room that speaks Ray Tune."""
